"""What a Prefect server tells a webhook by itself: a night that failed, and a new champion.

python -m flows.alerts URL    a failed night and a new champion are posted to URL as {"text": ...}
"""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

from prefect.automations import AutomationCore, EventTrigger, Posture, ResourceSpecification
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.events.actions import CallWebhook

from nonlocal_core.errors import ConfigError, NonlocalError
from tasks.report import NEW_CHAMPION

ENDED = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut")}
RUNS = ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]})
NIGHTS = ResourceSpecification({"prefect.resource.id": ["prefect.tag.nightly"]})


def tell(url: str) -> None:
    """Nothing; from now on the server posts failed nights and new champions to a URL.

    Raises: ConfigError if it is none.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ConfigError(f"{url!r} is no address: give one that begins with https://")
    block = Webhook.model_validate({"url": url}).save("nonlocal-alerts", overwrite=True)
    failed = EventTrigger(
        expect=ENDED - {"prefect.flow-run.Completed", "prefect.flow-run.Cancelled"},
        match=RUNS,
        match_related=NIGHTS,
        posture=Posture.Reactive,
    )
    text = '{"text": {{ (flow_run.name ~ ": " ~ flow_run.state.name ~ ", " ~ flow_run.state.message) | tojson }}}'
    _put(_call("nonlocal: a night has failed", failed, str(block), text))
    promoted = EventTrigger(expect={NEW_CHAMPION}, posture=Posture.Reactive)
    text = '{"text": {{ ("new champion: " ~ event.payload.text) | tojson }}}'
    _put(_call("nonlocal: a new champion", promoted, str(block), text))


def _call(name: str, trigger: EventTrigger, block_id: str, payload: str) -> AutomationCore:
    action = CallWebhook.model_validate({"block_document_id": block_id, "payload": payload})
    return AutomationCore(name=name, trigger=trigger, actions=[action])


def _put(automation: AutomationCore) -> None:
    with get_client(sync_client=True) as client:
        for old in client.read_automations_by_name(automation.name):
            client.delete_automation(old.id)
        client.create_automation(automation)


def main(words: list[str]) -> int:
    """The command, and its exit code."""
    try:
        if len(words) != 1:
            raise ConfigError("name the address to tell: python -m flows.alerts https://...")
        tell(words[0])
    except NonlocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"failed nights and new champions are posted to {words[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
