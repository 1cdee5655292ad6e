"""Processes and devices: a stage in its own process, workers, messages, locks of devices, progress."""
