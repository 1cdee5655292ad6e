"""Train, evaluate and keep running a Non-local I3D action recogniser; works with and without Prefect."""

__version__ = "0.1.0"
