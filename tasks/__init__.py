"""Prefect tasks: retry, limit and log; the work is in nonlocal_core."""
