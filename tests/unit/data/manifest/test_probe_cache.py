from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from small import python

from nonlocal_core.data.manifest import probe_cache


def file(place: str, stamp: int = 1, tries: int = 0, is_settled: bool = True, **more: Any) -> dict[str, Any]:
    facts = {
        "is_settled": is_settled,
        "sha256": f"sha-{place}-{stamp}",
        "status": "ok",
        "reason": "",
        "num_frames": 5,
        "codec": "h264",
    }
    return {"place": place, "size_bytes": len(place), "stamp": stamp, "tries": tries, **facts, **more}


NEW = (False, 0, "", 0)


def recalled(folder: Path, *files: dict[str, Any]) -> list[tuple[bool, int, str, int]]:
    listed = pd.DataFrame([{name: row[name] for name in probe_cache.IDENTITY} for row in files])
    rows = probe_cache.look_up(folder, listed)
    assert rows[probe_cache.IDENTITY].equals(listed)
    assert {name: str(rows[name].dtype) for name in ("num_frames", "seek_safe", "fps", "tries")} == {
        "num_frames": "int32", "seek_safe": "bool", "fps": "float64", "tries": "int32"
    }  # fmt: skip
    return list(zip(rows["is_settled"], rows["tries"], rows["sha256"], rows["num_frames"], strict=True))


def test_a_file_is_known_by_place_size_and_time(tmp_path: Path) -> None:
    assert recalled(tmp_path / "none", file("/a")) == [NEW]
    probe_cache.add(tmp_path, "one", [file("/a"), file("/b")])
    other_size = {**file("/b"), "size_bytes": 9}
    assert recalled(tmp_path, file("/b"), file("/a", stamp=2), other_size, file("/c"), file("/a")) == [
        (True, 0, "sha-/b-1", 5), NEW, NEW, NEW, (True, 0, "sha-/a-1", 5)
    ]  # fmt: skip


def test_success_counts_more_than_failure_in_whatever_order(tmp_path: Path) -> None:
    for number, tries in enumerate([1, 3, 2, 1]):
        probe_cache.add(tmp_path / "a", f"{number}", [file("/a", 1, tries, number == 2, sha256=f"{number}")])
        probe_cache.add(tmp_path / "b", f"{number}", [file("/a", 1, tries, False)])
    assert recalled(tmp_path / "a", file("/a")) == [(True, 3, "2", 5)]
    assert recalled(tmp_path / "b", file("/a")) == [(False, 3, "sha-/a-1", 5)]


def test_contents_are_known_wherever_they_lie(tmp_path: Path) -> None:
    bad = file("/bad", status="unreadable", reason="cut short", num_frames=0)
    lost = file("/lost-place", 1, 1, False, sha256="lost")
    probe_cache.add(tmp_path, "one", [file("/good"), bad, lost])
    assert probe_cache.known_sizes(tmp_path) == {len("/bad"), len("/good")}
    found = probe_cache.look_up_contents(tmp_path, {"sha-/good-1", "sha-/bad-1", "lost", "other", ""})
    assert found.keys() == {"sha-/good-1", "sha-/bad-1"}
    assert found["sha-/good-1"]["num_frames"] == 5
    assert (found["sha-/bad-1"]["status"], found["sha-/bad-1"]["reason"]) == ("unreadable", "cut short")
    probe_cache.add(tmp_path, "two", [file("/moved") | found["sha-/good-1"]])
    assert recalled(tmp_path, file("/moved")) == [(True, 0, "sha-/good-1", 5)]


def test_of_a_part_without_the_content_nothing_else_is_read(tmp_path: Path) -> None:
    """Else each shard of a first night would read all that the shards before it have found out."""
    probe_cache.add(tmp_path, "one", [file("/a")])
    probe_cache.add(tmp_path, "two", [file("/b"), file("/b", stamp=2)])
    part = probe_cache.part_path(tmp_path, "one")
    content = part.read_bytes()
    place = content.index(b"h264")
    part.write_bytes(content[:place] + b"x" + content[place + 1 :])
    assert probe_cache.look_up_contents(tmp_path, {"sha-/b-2"}).keys() == {"sha-/b-2"}
    assert probe_cache.known_sizes(tmp_path) == {2}
    assert part.exists(), "the damage of what was not read is not seen"
    assert probe_cache.look_up_contents(tmp_path, {"sha-/a-1"}) == {}
    assert not part.exists()


def test_many_parts_become_one_that_says_the_same(tmp_path: Path) -> None:
    files = [file(f"/{number}", 1, number % 3, number % 2 == 0) for number in range(probe_cache.MANY_PARTS + 5)]
    for number, row in enumerate(files[: probe_cache.MANY_PARTS]):
        probe_cache.add(tmp_path, f"{number}", [row])
    probe_cache.join_parts(tmp_path)
    assert len(list(tmp_path.iterdir())) == probe_cache.MANY_PARTS
    for number, row in enumerate(files[probe_cache.MANY_PARTS :]):
        probe_cache.add(tmp_path, f"more-{number}", [row])
    before = recalled(tmp_path, *files, file("/none"))
    probe_cache.join_parts(tmp_path)
    (joined,) = tmp_path.iterdir()
    assert pq.read_table(joined).num_rows == len(files)
    assert recalled(tmp_path, *files, file("/none")) == before


@pytest.mark.parametrize("damage", ["cut", "flip", "version"])
def test_a_damaged_part_is_forgotten(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    probe_cache.add(tmp_path, "one", [file("/a")])
    probe_cache.add(tmp_path, "two", [file("/b")])
    part = probe_cache.part_path(tmp_path, "one")
    content = part.read_bytes()
    if damage == "cut":
        part.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        place = content.index(b"sha-/a-1")
        part.write_bytes(content[:place] + b"x" + content[place + 1 :])
    else:
        table = pq.read_table(part)
        pq.write_table(table.replace_schema_metadata({"nonlocal_core.known": "0"}), part)
    assert recalled(tmp_path, file("/a"), file("/b")) == [NEW, (True, 0, "sha-/b-1", 5)]
    assert "part-one.parquet" in caplog.text
    assert not part.exists()


def test_a_part_that_is_gone_while_all_are_read_is_no_end(tmp_path: Path) -> None:
    """Another run has joined it with others since it was listed: a link to nothing acts the same."""
    gone = probe_cache.part_path(tmp_path, "gone")
    gone.symlink_to("nothing")
    probe_cache.add(tmp_path, "one", [file("/a")])
    timer = threading.Timer(0.3, gone.unlink)
    timer.start()
    assert recalled(tmp_path, file("/a")) == [(True, 0, "sha-/a-1", 5)]
    timer.join()


WRITER = """
from pathlib import Path
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data.manifest import probe_cache
workspace = Workspace({root!r})
for number in range(45):
    row = dict(place=f"/{name}/{{number}}", size_bytes=1, stamp=1, tries=0, is_settled=True, sha256="x")
    row |= dict(status="ok", reason="")
    probe_cache.add(Path({folder!r}), f"{name}-{{number}}", [row])
    if number % 10 == 9:
        with workspace.locked("index-known"):
            probe_cache.join_parts(Path({folder!r}))
"""


def test_two_runs_may_write_and_join_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "known"
    writers = [python(WRITER.format(root=str(tmp_path), folder=str(folder), name=name)) for name in ("one", "two")]
    num_read = 0
    started_s = time.monotonic()
    while any(writer.poll() is None for writer in writers):
        rows = probe_cache.look_up(folder, pd.DataFrame({"place": ["/one/0"], "size_bytes": [1], "stamp": [1]}))
        assert num_read == 0 or rows["is_settled"].iloc[0], "what was there once is there for ever"
        num_read += int(rows["is_settled"].iloc[0])
        assert time.monotonic() - started_s < 60
    assert [writer.communicate()[1] for writer in writers] == ["", ""]
    assert num_read > 0
    files = [file(f"/{name}/{number}", size_bytes=1) for name in ("one", "two") for number in range(45)]
    assert {settled for settled, *_ in recalled(folder, *files)} == {True}
    assert len(list(folder.iterdir())) <= probe_cache.MANY_PARTS + 20
