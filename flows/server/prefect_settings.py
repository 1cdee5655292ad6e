"""Prefect's settings for our commands, wherever they are started.

Prefect reads `[tool.prefect]` of the current folder alone.  There, the same stand for the command `prefect`.
"""

from __future__ import annotations

import os

from prefect.context import refresh_global_settings_context

SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "nonlocal_core",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "7776000",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}
"""what a person has set in the environment counts more"""


def apply() -> None:
    """Let these settings hold in this process and in those that it starts."""
    for name, value in {**SETTINGS, "DO_NOT_TRACK": "1"}.items():
        os.environ.setdefault(name, value)
    refresh_global_settings_context()
