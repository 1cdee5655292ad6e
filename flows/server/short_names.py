"""`prefect deployment run nightly-train`, without the name of the flow.

Prefect's command line requires FLOW/DEPLOYMENT.  This start-up plug-in, registered in pyproject.toml, makes it
accept a bare name too, but only in commands that begin with `prefect deployment`.
"""

from __future__ import annotations

import sys
from typing import Any

from prefect.plugins import HookContext, register_hook

PREFECT_PLUGIN_API_REQUIRES = ">=0.1,<1"


@register_hook
def setup_environment(*, ctx: HookContext) -> None:
    """Let Prefect's commands find a deployment by its own name, if only one has it."""
    if sys.argv[1:2] not in (["deployment"], ["deployments"]):
        return
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName

    by_full_name = PrefectClient.read_deployment_by_name

    async def read_deployment_by_name(client: PrefectClient, name: str) -> Any:
        if "/" in name:
            return await by_full_name(client, name)
        named = DeploymentFilter(name=DeploymentFilterName(any_=[name]))
        deployments = await client.read_deployments(deployment_filter=named)
        if len(deployments) != 1:
            many = f"{len(deployments)} flows have" if deployments else "no flow has"
            raise SystemExit(f"error: {many} a deployment {name!r}: `prefect deployment ls` lists FLOW/DEPLOYMENT")
        return deployments[0]

    PrefectClient.read_deployment_by_name = read_deployment_by_name  # type: ignore[method-assign,assignment]
