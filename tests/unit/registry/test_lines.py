from __future__ import annotations

import json
import re
from typing import Any

import pytest
from registered import LABELS, NUM_VIDEOS, add, facts, ranks, scored

from nonlocal_core import registry
from nonlocal_core.artifacts.keys import digest_of
from nonlocal_core.config.sections import CacheConfig, RegistryConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.registry.entries import line_of

MORE = {**LABELS, "jumps": 2}
OTHER_LINES: dict[str, dict[str, Any]] = {
    "labels added: jumps": {"labels": MORE},
    "labels gone: grows": {"labels": {"falls": 0}},
    "labels added: rises; labels gone: grows": {"labels": {"falls": 0, "rises": 1}},
    "labels numbered anew": {"labels": {"grows": 0, "falls": 1}},
    "other val videos": {"split_digest": "others"},
    "another protocol: val, 1 view, not val, 30 views": {"protocol": "val, 1 view"},
    "other frames: resized by auto, JPEG 60, not resized by auto, JPEG 90": {"frames": "resized by auto, JPEG 60"},
    "labels added: jumps; other val videos": {"labels": MORE, "split_digest": "others"},
}


def champion(workspace):
    return registry.read(workspace).champion


def lines(workspace):
    return {line_of(facts) for facts in registry.entries(workspace).values()}


@pytest.mark.parametrize("how", OTHER_LINES)
def test_another_line_is_begun_and_said(workspace, how):
    add(workspace, "a", 0.5)
    entry = add(workspace, "b", 0.9, **OTHER_LINES[how])
    decision = registry.read(workspace).decision("v0002")
    assert len(lines(workspace)) == 2
    assert decision.leads
    assert decision.reason.startswith(f"starts the new line {decision.line} ({how})")
    moves = how in ("labels added: jumps", "labels numbered anew")
    assert (entry.is_champion, decision.promoted, entry.is_open) == (moves, moves, not moves)
    if not moves:
        assert entry.reason.endswith(
            "; the champion v0001 stays, as the two cannot be compared: `promote v0002` changes it"
        )
    assert registry.read(workspace).lines == {
        registry.read(workspace).decision("v0001").line: "v0001",
        decision.line: "v0002",
    }


@pytest.mark.parametrize(("top1", "moves"), [(0.49, False), (0.5, True), (0.51, True)])
def test_with_a_label_added_the_champion_moves_if_nothing_gets_worse(workspace, top1, moves):
    add(workspace, "a", 0.5)
    entry = add(workspace, "b", top1, labels=MORE, rule=RegistryConfig(min_gain=0.1))
    assert (champion(workspace) == "v0002", entry.is_champion, entry.is_open) == (moves, moves, not moves)
    figures = f"top-1 {top1:.2%} against 50.00% of v0001, 100 videos"
    expected = (
        f"is as good on its videos: {figures}"
        if moves
        else f"as it is better: {figures}; `promote v0002` changes it"
    )
    assert entry.reason.endswith(expected)


def test_a_new_line_goes_on_by_itself_until_an_entry_of_it_is_promoted(workspace):
    add(workspace, "a", 0.8)
    for name, top1 in (("b", 0.5), ("c", 0.4), ("d", 0.6)):
        add(workspace, name, top1, split_digest="others")
    state = registry.read(workspace)
    assert [decision.leads for decision in state.decisions] == [True, True, False, True]
    assert "not better: top-1 40.00% against 50.00% of v0002" in state.decision("v0003").reason
    assert "better: top-1 60.00% against 50.00% of v0002" in state.decision("v0004").reason
    assert (state.champion, set(state.lines.values())) == ("v0001", {"v0001", "v0004"})
    registry.promote(workspace, "v0004")
    assert add(workspace, "e", 0.7, split_digest="others").is_champion
    assert not add(workspace, "f", 0.9).is_champion  # the old line is another one now
    assert champion(workspace) == "v0005"


def test_within_the_new_line_of_an_added_label_the_champion_moves_once_nothing_gets_worse(workspace):
    add(workspace, "a", 0.5)
    assert not add(workspace, "b", 0.4, labels=MORE).is_champion
    assert not add(workspace, "c", 0.45, labels=MORE).is_champion
    assert not add(workspace, "d", 0.42, labels=MORE).is_champion
    assert add(workspace, "e", 0.5, labels=MORE).is_champion
    assert add(workspace, "f", 0.51, labels=MORE).is_champion


def test_the_champions_own_weights_stand_for_it_in_another_line(workspace):
    add(workspace, "a", 0.9, weights="w")
    entry = add(workspace, "b", 0.3, split_digest="others", weights="w")
    line = registry.read(workspace).decision("v0002").line
    told = f"the weights of the champion v0001 in line {line} (other val videos)"
    assert entry.reason == f"{told}: later entries of the line are compared with it"
    assert (champion(workspace), registry.read(workspace).lines[line]) == ("v0001", "v0002")
    assert add(workspace, "c", 0.3, split_digest="others").reason.startswith("not better: top-1 30.00% against")
    assert champion(workspace) == "v0001"
    better = add(workspace, "d", 0.4, split_digest="others")
    assert (better.is_champion, better.reason) == (
        True,
        "better: top-1 40.00% against 30.00% of v0002, 100 videos, which has the weights of the champion v0001",
    )


def test_a_line_that_had_a_better_entry_before_the_champion_was_scored_there_says_so(workspace):
    add(workspace, "a", 0.9, weights="w")
    add(workspace, "b", 0.8, split_digest="others")
    entry = add(workspace, "c", 0.3, split_digest="others", weights="w")
    assert entry.reason.endswith(
        "; v0002 is better: top-1 80.00% against 30.00% of v0003, 100 videos: `promote v0002` changes the champion"
    )
    assert entry.is_open
    assert not add(workspace, "d", 0.4, split_digest="others").is_champion  # v0002 is the one to beat
    assert champion(workspace) == "v0001"
    last = add(workspace, "e", 0.85, split_digest="others")
    assert last.is_champion
    assert last.reason.endswith("against 30.00% of v0003, 100 videos, which has the weights of the champion v0001")


def test_a_champion_that_was_also_scored_otherwise_is_still_challenged_as_before(workspace):
    add(workspace, "a", 0.5, weights="w")
    add(workspace, "b", 0.4, protocol="val, 1 view", weights="w")
    assert champion(workspace) == "v0001"
    assert add(workspace, "c", 0.6).is_champion


def test_after_a_rollback_the_challenger_is_compared_with_the_champion_of_today(workspace):
    for name, top1 in (("a", 0.5), ("b", 0.9)):
        add(workspace, name, top1)
    registry.rollback(workspace)
    entry = add(workspace, "c", 0.6)
    assert (entry.is_champion, entry.reason) == (True, "better: top-1 60.00% against 50.00% of v0001, 100 videos")


def right_on(*numbers: int) -> list[bool]:
    return [number in numbers for number in range(NUM_VIDEOS)]


@pytest.mark.parametrize(
    ("won", "lost", "promoted", "said"),
    [
        (6, 0, True, "better: .*; 6 videos won, 0 lost, p = 0.031 by McNemar's test"),
        (5, 0, False, "not better: .*, but 5 videos won, 0 lost, p = 0.062 by .*, which needs at most 0.05"),
        (12, 3, True, "better: .*; 12 videos won, 3 lost, p = 0.035"),
        (11, 3, False, "not better: .*, but 11 videos won, 3 lost, p = 0.057"),
        (0, 6, False, "not better: top-1 44.00% against 50.00% of v0001"),
    ],
)
def test_by_mcnemars_rule_a_gain_must_be_significant(workspace, won, lost, promoted, said):
    rule = RegistryConfig(rule="mcnemar")
    add(workspace, "a", 0.5, right=right_on(*range(50)), rule=rule)
    right = right_on(*range(lost, 50 + won))
    top1 = sum(right) / NUM_VIDEOS
    entry = add(workspace, "b", top1, right=right, rule=rule)
    assert entry.is_champion == promoted
    assert re.match(said, entry.reason), entry.reason
    assert registry.read(workspace).decision("v0002").rule == (
        "mcnemar: a gain in top-1 above 0.00%, and McNemar's p at most 0.05"
    )


def test_by_mcnemars_rule_min_gain_counts_too(workspace):
    rule = RegistryConfig(rule="mcnemar", min_gain=0.1)
    add(workspace, "a", 0.5, rule=rule)
    assert add(workspace, "b", 0.6, rule=rule).reason.endswith("which needs a gain above 10.00%")
    assert add(workspace, "c", 0.61, rule=rule).is_champion


def test_the_evaluations_may_be_deleted(workspace):
    for name, top1 in (("a", 0.5), ("b", 0.6)):
        add(workspace, name, top1)
    assert not (workspace.root / "evaluate").exists()
    assert add(workspace, "c", 0.7).reason == "better: top-1 70.00% against 60.00% of v0002, 100 videos"


def entry_of_before(workspace, name, top1, cache, **overrides):
    """An entry whose evaluation says nothing of frames, as earlier versions wrote it."""
    checkpoint, evaluation = scored(workspace, name, top1, **overrides)
    content = facts(checkpoint, evaluation, config=Config(cache=cache))
    registry.add(workspace, content, ranks([number < 100 * top1 for number in range(100)]), RegistryConfig())
    return content


def test_an_entry_of_before_has_the_frames_of_its_cache(workspace):
    """Its line has the name of before where frames are as they are by default, another one where they are not."""
    default = entry_of_before(workspace, "a", 0.5, CacheConfig())
    assert default.evaluation.frames == ""
    assert default.conditions == (
        "val, 30 views, frames resized by auto, JPEG 90 (as its cache says: an earlier version scored)"
    )
    labels = json.dumps(LABELS, sort_keys=True)
    assert line_of(default) == digest_of(labels, "videos", "val, 30 views")[:8]
    add(workspace, "b", 0.6, frames="resized by auto, JPEG 90")
    assert champion(workspace) == "v0002", "the same line, and better"
    rough = entry_of_before(workspace, "c", 0.9, CacheConfig(jpeg_quality=30))
    assert line_of(rough) != line_of(default)
    assert champion(workspace) == "v0002", "what was scored on other pixels is no better by itself"
    reason = registry.read(workspace).decision("v0003").reason
    assert "other frames: resized by auto, JPEG 30, not resized by auto, JPEG 90" in reason
    assert "the champion v0002 stays, as the two cannot be compared" in reason


def test_a_label_more_does_not_let_other_frames_pass(workspace):
    add(workspace, "a", 0.5, frames="resized by auto, JPEG 90")
    add(workspace, "b", 0.9, labels=MORE, frames="resized by bilinear, no JPEG")
    assert champion(workspace) == "v0001"
