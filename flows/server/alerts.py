"""Alerts from a Prefect server: a failed night, and a new champion.

python -m flows.server.alerts https://...     they are posted there as {"text": ...}
python -m flows.server.alerts mailtos://...   they are sent as e-mail
python -m flows.server.alerts -               the address is asked for, or read from standard input

An address with a password in it is asked for alone: other users see the arguments of a command.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from prefect.automations import AutomationCore, EventTrigger, Posture, ResourceSpecification
from prefect.blocks.notifications import SlackWebhook
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.events.actions import CallWebhook, SendNotification

from flows.server import login
from nonlocal_core import command
from nonlocal_core.errors import ConfigError
from tasks.report import NEW_CHAMPION

RUNS = ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]})
NIGHTS = ResourceSpecification({"prefect.resource.id": ["prefect.tag.nightly"]})


def tell(url: str) -> None:
    """Have the server send alerts of failed nights and new champions to a URL (a webhook or a mailbox).

    Raises: ConfigError if the URL is neither.
    """
    failed = EventTrigger(
        expect={f"prefect.flow-run.{state}" for state in ("Failed", "Crashed", "TimedOut")},
        match=RUNS,
        match_related=NIGHTS,
        posture=Posture.Reactive,
    )
    promoted = EventTrigger(expect={NEW_CHAMPION}, posture=Posture.Reactive)
    action = _message(url)
    text = 'flow_run.name ~ ": " ~ flow_run.state.name ~ ", " ~ flow_run.state.message'
    _put(AutomationCore(name="nonlocal: a night has failed", trigger=failed, actions=[action(text)]))
    text = '"new champion: " ~ event.payload.text'
    _put(AutomationCore(name="nonlocal: a new champion", trigger=promoted, actions=[action(text)]))


def _message(url: str) -> Callable[[str], CallWebhook | SendNotification]:
    """A function that makes, from a Jinja expression, an action that posts or mails its text."""
    scheme = urlsplit(url).scheme
    if scheme in ("http", "https"):
        hook = str(Webhook.model_validate({"url": url}).save("nonlocal-alerts", overwrite=True))
        return lambda text: CallWebhook.model_validate(
            {"block_document_id": hook, "payload": f'{{"text": {{{{ ({text}) | tojson }}}}}}'}
        )
    if scheme in ("mailto", "mailtos"):
        # Prefect has no block for a mail server.  This one hands any address that is not Slack's to Apprise.
        mail = str(SlackWebhook.model_validate({"url": url}).save("nonlocal-alerts-mail", overwrite=True))
        return lambda text: SendNotification.model_validate(
            {"block_document_id": mail, "subject": "nonlocal-i3d", "body": f"{{{{ {text} }}}}"}
        )
    raise ConfigError("this is no address: give one that begins with https://, or mailtos:// for e-mail")


def _put(automation: AutomationCore) -> None:
    with get_client(sync_client=True) as client:
        for old in client.read_automations_by_name(automation.name):
            client.delete_automation(old.id)
        client.create_automation(automation)


def main(words: list[str]) -> int:
    """The command, and its exit code."""
    parser = command.parser("flows.server.alerts", __doc__)
    parser.add_argument("address", nargs="*", help="https://..., mailtos://... for e-mail, or - to be asked")
    return command.show(_lines(parser.parse_args(words).address))


def _lines(words: list[str]) -> Iterator[str]:
    if len(words) != 1:
        raise ConfigError("name the address to tell, https://... or mailtos://...")
    url = words[0]
    if urlsplit(url).password is not None:
        raise ConfigError("other users see a password among the arguments of a command: give - to be asked for it")
    if url == "-":
        url = getpass.getpass("address: ") if sys.stdin.isatty() else sys.stdin.readline().strip()
    login.check()
    tell(url)
    yield "failed nights and new champions are told from now on"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
