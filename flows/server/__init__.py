"""A Prefect server on this machine: the server itself, its alerts, its login, and a watch for dead runs."""
