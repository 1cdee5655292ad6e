"""Look at the registry of a workspace, and change what its names point to.

    python -m nonlocal_core.registry list
    python -m nonlocal_core.registry show champion
    python -m nonlocal_core.registry compare v0001 v0002
    python -m nonlocal_core.registry promote v0002 --expect v0001
    python -m nonlocal_core.registry rollback
    python -m nonlocal_core.registry alias demo v0002
    python -m nonlocal_core.registry verify
    python -m nonlocal_core.registry export champion FOLDER
    python -m nonlocal_core.registry track --uri sqlite:///mlflow.db

workspace_dir=DIR names another workspace than `workspace`.  An entry is named by its version or by an alias.
docs/guides/registry.md says how entries are decided on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nonlocal_core import command
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.errors import DamagedError, InputError, few
from nonlocal_core.evaluation import headline
from nonlocal_core.registry import aliases, decision, mlflow_mirror
from nonlocal_core.registry.entries import entries, line_of, verify
from nonlocal_core.registry.facts import Settings
from nonlocal_core.registry.lineage import lineage, text_of
from nonlocal_core.registry.lookup import check_folder, find_entry
from nonlocal_core.registry.state_file import CHAMPION, FOLDER, PREVIOUS, State, read, resolve

COMMANDS = ("list", "show", "compare", "promote", "rollback", "alias", "verify", "track", "export")


def main(words: list[str]) -> int:
    """The command: its lines, and its exit code."""
    return command.show(_lines(_parser().parse_args(command.with_workspace(words, _was_first))))


def _was_first(words: list[str]) -> bool:
    """Whether the first word is the workspace: a folder, or no command but followed by one."""
    return words[0] not in COMMANDS and (Path(words[0]).is_dir() or any(word in COMMANDS for word in words[1:2]))


def _lines(args: argparse.Namespace) -> Iterator[str]:
    check_folder(args.workspace)
    yield from args.run(Workspace(args.workspace, only_read=True), args)


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("nonlocal_core.registry", __doc__)
    command.add_workspace(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def subcommand(
        name: str, run: Callable[[Workspace, Any], Iterator[str]], *entries: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=run.__doc__, description=run.__doc__, formatter_class=command.formatter
        )
        added.set_defaults(run=run)
        for entry in entries:
            metavar = entry.strip("[]")
            added.add_argument(metavar.lower(), metavar=metavar, nargs="?" if "[" in entry else None)
        return added

    subcommand("list", _list)
    subcommand("show", _show, "[ENTRY]")
    subcommand("compare", _compare, "FIRST", "SECOND")
    _expecting(subcommand("promote", _promote, "ENTRY"))
    _expecting(subcommand("rollback", _rollback))
    alias = _expecting(subcommand("alias", _alias, "[NAME]", "[ENTRY]"))
    alias.add_argument("--drop", action="store_true", help="forget the alias")
    subcommand("verify", _verify, "[ENTRY]")
    track = subcommand("track", _track)
    track.add_argument("--uri", help="address of MLflow; default: MLFLOW_TRACKING_URI")
    track.add_argument(
        "--name", default=mlflow_mirror.NAME, help="name of the experiment and of the model; default: %(default)s"
    )
    export = subcommand("export", _export, "ENTRY", "FOLDER")
    export.add_argument(
        "--formats", metavar="F,F", help="ckpt, safetensors, mindir, onnx; default: all that can be"
    )
    return parser


def _expecting(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--expect", metavar="VERSION", help="refuse if it points elsewhere by now (none: nowhere)")
    return parser


def _list(workspace: Workspace, args: argparse.Namespace) -> Iterator[str]:
    """Every entry: figures, line, names, and why it became the champion or not."""
    state = read(workspace)
    yield f"{'':6} {'top-1':>7} {'top-5':>7} {'scored':>11}  {'line':8}  names; decision"
    for version, facts in entries(workspace).items():
        scored, decision = facts.evaluation, state.decision(version)
        names = ", ".join(state.names(version))
        reason = decision.reason if decision else "not decided on: run the same command again"
        yield (
            f"{version:6} {scored.top1:7.2%} {scored.top5:7.2%} {scored.num_scored:>5} of"
            f" {scored.num_videos:<3} {line_of(facts):8}  {names + '; ' if names else ''}{reason}"
        )


def _show(workspace: Workspace, args: argparse.Namespace) -> Iterator[str]:
    """One entry (the champion, if none is named): figures, decision, labels, and where it comes from."""
    version, facts = find_entry(workspace, args.entry or CHAMPION)
    scored, labels = facts.evaluation, facts.label_names
    names = read(workspace).names(version)
    yield f"{version}{' (' + ', '.join(names) + ')' if names else ''}, {workspace.root / FOLDER / version}"
    yield from (f"  {name} {text}" for name, text in headline.of(scored).items())
    yield f"  {scored.coverage} ({facts.conditions})"
    yield f"  {len(labels)} labels: {few(labels, 8)}"
    for step in lineage(workspace, version):
        yield step.name
        for name, value in step.facts.items():
            yield f"  {name:24} {text_of(value)}"
    yield "config (what differs from the defaults)"
    for name, value in _settings(facts.config):
        yield f"  {name:24} {text_of(value)}"


def _settings(config: Settings) -> Iterator[tuple[str, object]]:
    from nonlocal_core.config.tree import Config

    defaults = Config().model_dump(mode="json")
    for section, leaves in config.items():
        for leaf, value in leaves.items():
            if value != defaults.get(section, {}).get(leaf):
                yield f"{section}.{leaf}", value


def _compare(workspace: Workspace, args: argparse.Namespace) -> Iterator[str]:
    """Two entries on the videos that were scored for both, with McNemar's test."""
    (first, first_facts), (second, second_facts) = (
        find_entry(workspace, name) for name in (args.first, args.second)
    )
    if first == second:
        raise InputError(f"both are {first}: name two entries")
    paired = decision.compared(workspace, first, second)
    if reasons := decision.differences(first_facts, second_facts):
        yield f"not of one line: {'; '.join(reasons)}"
    scored = f"{first_facts.evaluation.num_scored} and {second_facts.evaluation.num_scored}"
    if not paired.num_videos:
        raise InputError(
            f"{first} and {second} have no video in common: there is nothing to compare ({scored} scored)"
        )
    yield f"videos        {paired.num_videos} in both, of {scored} scored"
    yield f"top-1         {first} {paired.first_top1:.2%}, {second} {paired.second_top1:.2%}"
    yield f"both right    {paired.both}"
    yield f"only {first}    {paired.first_only}"
    yield f"only {second}    {paired.second_only}"
    yield f"none right    {paired.neither}"
    yield f"McNemar       p = {paired.p_value:.3g} (exact, two-sided)"


def _promote(workspace: Workspace, args: argparse.Namespace) -> Iterator[str]:
    """Make an entry the champion, and the best of its line."""
    yield _champion_line(read(workspace), aliases.promote(workspace, args.entry, args.expect))


def _rollback(workspace: Workspace, args: argparse.Namespace) -> Iterator[str]:
    """Make the previous champion the champion again."""
    yield _champion_line(read(workspace), aliases.rollback(workspace, args.expect))


def _champion_line(before: State, after: State) -> str:
    if after.champion == before.champion:
        return f"{before.champion} is the champion already: nothing was changed"
    return f"{CHAMPION} {after.champion}, {PREVIOUS} {after.aliases.get(PREVIOUS, 'none')}"


def _alias(workspace: Workspace, args: argparse.Namespace) -> Iterator[str]:
    """Every alias; or one with its history; or let one point to an entry."""
    if args.drop and args.entry is None and args.name:
        aliases.drop(workspace, args.name, args.expect)
        yield f"{args.name} is forgotten"
    elif args.drop:
        raise InputError("--drop takes one alias: alias NAME --drop")
    elif args.entry:
        state = aliases.move(workspace, args.name, args.entry, args.expect)
        yield f"{args.name} {state.aliases[args.name]}"
    else:
        state = read(workspace)
        shown = {name: to for name, to in sorted(state.aliases.items()) if args.name in (None, name)}
        steps = [step for step in state.moves if step.alias == args.name]
        if args.name and not steps:
            resolve(state, args.name)
        yield from (f"{name:12} {version}" for name, version in shown.items())
        for step in steps:
            yield f"  {step.moved_at}  {step.before or 'none'} -> {step.after or 'none'}: {step.reason}"


def _verify(workspace: Workspace, args: argparse.Namespace) -> Iterator[str]:
    """Compare every file with its digest: of one entry, or of all and of the stages."""
    state = read(workspace)
    registered = sorted(folder.name for folder in (workspace.root / FOLDER).glob("v*[0-9]"))
    versions = [resolve(state, args.entry)] if args.entry else registered
    wrong = [line for version in versions for line in verify(workspace, version, state)]
    if not args.entry:
        lost = {decision.version for decision in state.decisions} - set(registered)
        wrong += [f"{version} was decided on, and its folder is gone" for version in sorted(lost)]
        wrong += workspace.faults()
    yield from wrong
    if wrong:
        raise DamagedError(f"{len(wrong)} of the things above are not as they were made")
    yield f"as they were registered: {', '.join(versions)}"


def _export(workspace: Workspace, args: argparse.Namespace) -> Iterator[str]:
    """Write an entry for other programs to a new folder, each file compared with the entry."""
    from nonlocal_core.registry import export  # imports mindspore

    version = resolve(read(workspace), args.entry)
    yield from export.export(workspace, version, Path(args.folder), args.formats)


def _track(workspace: Workspace, args: argparse.Namespace) -> Iterator[str]:
    """Send MLflow the entries and aliases that it does not know."""
    yield from mlflow_mirror.track(workspace, args.uri, args.name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
