"""Train, evaluate and keep running a Non-local I3D action recogniser; works with and without Prefect."""

import os

__version__ = "0.1.0"

# Before anything imports mindspore: it logs every missing GPU library as a warning.
os.environ.setdefault("GLOG_v", "3")
