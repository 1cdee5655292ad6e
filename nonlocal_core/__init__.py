"""Train, evaluate and keep running a Non-local I3D action recogniser; works with and without Prefect."""

import os

__version__ = "0.1.0"

# Before anything imports mindspore.  On CPUs with AVX-512 the oneDNN inside MindSpore takes a path for 3-D
# convolutions that is some 50 times slower than its AVX2 one; devices other than the CPU do not read this.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
# MindSpore logs every missing GPU library as a warning.
os.environ.setdefault("GLOG_v", "3")
