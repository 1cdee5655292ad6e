"""Processes and devices: a stage in a process of its own, workers, locks of devices, progress."""
