"""Alerts from a Prefect server: nights that fail, are skipped, late or missing, or need a person; a new champion.

python -m flows.server.alerts https://...     they are posted there as {"text": ...}
python -m flows.server.alerts mailtos://...   they are sent as e-mail
python -m flows.server.alerts -               addresses are asked for, or read from standard input, one a line

Several addresses are all told; those of an earlier call no more.  One with a password in it is asked for alone:
other users see the arguments of a command.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

from prefect.automations import AutomationCore, EventTrigger, Posture, ResourceSpecification
from prefect.blocks.notifications import SlackWebhook
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.events.actions import ActionTypesOrUnknown, CallWebhook, SendNotification

from flows.server import login, nights
from nonlocal_core import command
from nonlocal_core.errors import ConfigError
from tasks.report import DECISION, NEW_CHAMPION

RUNS = ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]})
HOOKS, MAILBOXES = ("http", "https"), ("mailto", "mailtos")
"""schemes of addresses"""
PROMPT = "address (empty: no more): "
FAILED = ("Failed", "Crashed", "TimedOut")
NIGHTS = (f"prefect.tag.{nights.TAG}",)
BY_ITSELF = (*NIGHTS, "prefect.tag.prune")
"""tags of what runs while nobody looks"""
STATE = (
    'flow_run.name ~ ": " ~ flow_run.state.name'
    ' ~ (", " ~ flow_run.state.message if flow_run.state.message else "")'
)
SAID = "event.payload.text"
LINK = '("\\n" ~ (flow_run | ui_url) if flow_run and (flow_run | ui_url) else "")'
"""the page of the run, if the server knows the address of its UI"""


class Alert(NamedTuple):
    """What is told, and when."""

    name: str
    events: set[str]
    text: str
    """Jinja expression"""
    tags: tuple[str, ...] = ()
    """tags of the runs whose events are meant; none: those that our own events name"""


ALERTS = (
    Alert("a night has failed", {f"prefect.flow-run.{name}" for name in FAILED}, STATE, BY_ITSELF),
    Alert("a night needs a decision", {f"prefect.flow-run.{DECISION}"}, STATE, NIGHTS),
    Alert("a night was skipped", {"prefect.flow-run.Cancelled"}, f'"no night: " ~ {STATE}', NIGHTS),
    Alert("a night is late", {nights.LATE}, SAID),
    Alert("no night has completed", {nights.MISSING}, SAID),
    Alert("a new champion", {NEW_CHAMPION}, f'"new champion: " ~ {SAID}'),
)


def tell(urls: Sequence[str]) -> None:
    """Have the server send alerts to URLs, each of a webhook or a mailbox.

    Raises: ConfigError if a URL is neither.
    """
    for url in urls:
        if urlsplit(url).scheme not in (*HOOKS, *MAILBOXES):
            raise ConfigError("this is no address: give one that begins with https://, or mailtos:// for e-mail")
    actions = [_message(url, number) for number, url in enumerate(urls, 1)]
    for alert in ALERTS:
        related = ResourceSpecification({"prefect.resource.id": list(alert.tags)} if alert.tags else {})
        trigger = EventTrigger(
            expect=alert.events,
            match=RUNS if alert.tags else ResourceSpecification({}),
            match_related=related,
            posture=Posture.Reactive,
        )
        notifications: list[ActionTypesOrUnknown] = [action(f"{alert.text} ~ {LINK}") for action in actions]
        _put(AutomationCore(name=f"nonlocal: {alert.name}", trigger=trigger, actions=notifications))


def _message(url: str, number: int) -> Callable[[str], CallWebhook | SendNotification]:
    """A function that makes, from a Jinja expression, an action that posts or mails its text.

    The address is kept in a block of the server, which has the number of the address in its name.
    """
    ending = "" if number == 1 else f"-{number}"
    if urlsplit(url).scheme in HOOKS:
        hook = str(Webhook.model_validate({"url": url}).save(f"nonlocal-alerts{ending}", overwrite=True))
        return lambda text: CallWebhook.model_validate(
            {"block_document_id": hook, "payload": f'{{"text": {{{{ ({text}) | tojson }}}}}}'}
        )
    # Prefect has no block for a mail server.  This one hands any address that is not Slack's to Apprise.
    mail = str(SlackWebhook.model_validate({"url": url}).save(f"nonlocal-alerts-mail{ending}", overwrite=True))
    return lambda text: SendNotification.model_validate(
        {"block_document_id": mail, "subject": "nonlocal-i3d", "body": f"{{{{ {text} }}}}"}
    )


def _put(automation: AutomationCore) -> None:
    with get_client(sync_client=True) as client:
        for old in client.read_automations_by_name(automation.name):
            client.delete_automation(old.id)
        client.create_automation(automation)


def main(words: list[str]) -> int:
    """The command, and its exit code."""
    parser = command.parser("flows.server.alerts", __doc__)
    parser.add_argument(
        "address", nargs="*", help="https://..., mailtos://... for e-mail, or - to be asked; any number"
    )
    return command.show(_lines(parser.parse_args(words).address))


def _lines(words: list[str]) -> Iterator[str]:
    if any(urlsplit(word).password is not None for word in words):
        raise ConfigError("other users see a password among the arguments of a command: give - to be asked for it")
    urls = [url for word in words for url in (_read_urls() if word == "-" else [word])]
    if not urls:
        raise ConfigError("name an address to tell, https://... or mailtos://...")
    login.check()
    tell(urls)
    yield f"told from now on, to {len(urls)} address{'es' if len(urls) > 1 else ''}:"
    yield from (f"  {alert.name}" for alert in ALERTS)
    yield "who looks for nights that are late or missing is make serve, or python -m flows.server.dead_runs"


def _read_urls() -> list[str]:
    """Addresses from standard input; somebody at a terminal is asked until the answer is empty."""
    ask = partial(getpass.getpass, PROMPT) if sys.stdin.isatty() else sys.stdin.readline
    return list(iter(lambda: ask().strip(), ""))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
