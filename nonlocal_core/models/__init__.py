"""The network of the paper: its parts, checkpoints, inference, devices and cost; published weights."""
