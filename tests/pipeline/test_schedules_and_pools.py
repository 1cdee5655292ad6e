"""What a server makes of our schedules and work pools, without starting one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from prefect.server.schemas.actions import DeploymentScheduleCreate
from prefect.utilities.templating import apply_values
from prefect.workers.process import ProcessJobConfiguration

from flows.server import login
from flows.server.serve import pool_template

DEPLOYMENTS = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text())["deployments"]
SCHEDULES = {
    f"{one['name']}/{schedule['slug']}": schedule for one in DEPLOYMENTS for schedule in one.get("schedules", [])
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_server_of_the_locked_prefect_makes_runs_of_our_schedules(name: str) -> None:
    """As its scheduler does: Prefect 3.9.1 makes none of a cron with Python 3.11 and 3.12."""
    described = {key: value for key, value in SCHEDULES[name].items() if key != "slug"}
    schedule = DeploymentScheduleCreate.model_validate({"schedule": described}).schedule
    began = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
    days = 7 if name.startswith("prune/") else 1
    dates = anyio.run(schedule.get_dates, 2, began)
    assert [date.hour for date in dates] == [12 if name.startswith("prune/") else 2] * 2
    assert dates[1] - dates[0] == timedelta(days=days)


def test_a_run_names_neither_a_command_nor_variables_of_its_process() -> None:
    """A run, a deployment or an automation may name them: they are values of its template."""
    given: dict[str, Any] = {"command": "touch here", "env": {"PYTHONPATH": "/tmp"}, "name": "a run"}
    made = ProcessJobConfiguration.model_validate(apply_values(pool_template()["job_configuration"], given))
    assert (made.command, made.env, made.name) == (None, {}, "a run")


def test_a_server_asks_for_login_and_token_and_knows_its_own_page_alone() -> None:
    assert login.environment("http://127.0.0.1:4200", "a:b") == {
        "PREFECT_SERVER_API_AUTH_STRING": "a:b",
        "PREFECT_API_AUTH_STRING": "a:b",
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "true",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "http://127.0.0.1:4200,http://localhost:4200",
    }
