"""Schedules, the loop and checkpoints."""
