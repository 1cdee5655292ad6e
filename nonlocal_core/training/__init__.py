"""Training a network: the loop and its steps, schedules, checkpoints, validation, one or several devices."""
