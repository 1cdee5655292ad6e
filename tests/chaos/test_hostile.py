"""Files and names that are made to do harm: no code runs, nothing outside is opened, no connection is made."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import socket
import struct
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch_files import save, save_legacy, tensor

from nonlocal_core.artifacts import label_ids
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import IndexConfig
from nonlocal_core.config.tree import resolve
from nonlocal_core.data.layouts import detection
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.data.records import cache_table
from nonlocal_core.errors import NonlocalError
from nonlocal_core.stages.cache import cache
from nonlocal_core.stages.index import index
from tests.campaign import NAMED, SAME, WRONG, Tally
from tests.chaos.chain import SETTINGS

CONFIG = resolve("tiny", {**SETTINGS, "runtime.max_unreadable": 1.0})


@pytest.fixture
def connections() -> Iterator[list[str]]:
    """What connects to a server of this machine: nothing should."""
    found: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        found.append(str(server.getsockname()[1]))

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    found.append(str(server.accept()[1]))

        threading.Thread(target=accept, daemon=True).start()
        yield found
        server.shutdown(socket.SHUT_RDWR)


def playlists(port: str, secret: Path) -> dict[str, str]:
    """Files that name others, by what FFmpeg would take them for."""
    web = f"http://127.0.0.1:{port}/video.ts"
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"
    dash = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        '<Representation id="1" bandwidth="1" mimeType="video/mp4"><BaseURL>{}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>"
    )
    sdp = f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} TCP/RTP/AVP 96\n"
    made = {"an SDP file": sdp, "an ASX file": f'<asx version="3.0"><entry><ref href="{web}"/></entry></asx>'}
    for where, target in (
        ("the network", web),
        ("a file outside", str(secret)),
        ("a file: URI", f"file:{secret}"),
    ):
        made[f"an HLS list of {where}"] = hls.format(target)
        made[f"a DASH list of {where}"] = dash.format(target)
        made[f"a concat list of {where}"] = f"ffconcat version 1.0\nfile '{target}'\n"
    return made


@pytest.mark.short_campaign
def test_playlists_are_no_videos(connections: list[str], tally: Tally, tmp_path: Path) -> None:
    videos_dir = make_toy_videos(tmp_path / "videos", 12)
    secret = next(make_toy_videos(tmp_path / "secret", 4).rglob("*.mp4"))
    names = {}
    for number, (what, text) in enumerate(playlists(connections[0], secret).items()):
        for suffix in (".mp4", ".avi"):
            file = videos_dir / "falls" / f"{number}{suffix}"
            file.write_text(f"{text}{'#' * number}{suffix}")  # no two are alike
            names[f"falls/{file.name}"] = what
    workspace = Workspace(tmp_path / "w")
    cached = cache(index(videos_dir, CONFIG, workspace), CONFIG, workspace)
    rows = cache_table.read(workspace.path(cached) / "videos.parquet").set_index("path")
    for path, what in names.items():
        status, reason = rows.loc[path, "status"], rows.loc[path, "reason"]
        refused = status in ("unreadable", "duplicate") and reason
        tally.add(what, NAMED if refused else WRONG, f"{path}: {status}")
    assert connections[1:] == []
    tally.check()


ODD_NAMES = (
    "concat:a|b.mp4", "http:evil.mp4", "pipe:0.mp4", "data:,x.mp4", "-y.mp4", "%d.mp4", "$(touch canary).mp4",
    "`touch canary`.mp4", "a;touch canary;.mp4", "<img src=x onerror=alert(1)>.mp4", "\x1b]0;title\x07.mp4",
    "line\nend.mp4", "\u202egnp.mp4", "{{7*7}}.mp4", "a'b\"c.mp4", "=cmd|' C calc'!A0.mp4", "x" * 240 + ".mp4",
)  # fmt: skip


@pytest.mark.short_campaign
def test_videos_with_odd_names_are_read(tally: Tally, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is a name: FFmpeg and shells take none of them for anything else."""
    monkeypatch.chdir(tmp_path)
    videos_dir = make_toy_videos(tmp_path / "videos", 36)
    paths = sorted(videos_dir.glob("[fg]*/*.mp4"))
    for path, name in zip(paths, ODD_NAMES, strict=False):
        path.rename(path.with_name(name))
    workspace = Workspace(tmp_path / "w")
    cached = cache(index(videos_dir, CONFIG, workspace), CONFIG, workspace)
    rows = cache_table.read(workspace.path(cached) / "videos.parquet").set_index("path")
    for name in ODD_NAMES:
        found = rows[rows.index.str.endswith(f"/{name}")]
        good = len(found) == 1 and found["status"].iloc[0] == "ok"
        tally.add("odd names of videos", SAME if good else WRONG, f"{name!r}: {found['reason'].tolist()}")
    assert not list(tmp_path.rglob("canary"))
    tally.check()


def lists_and_maps(port: str, secret: Path) -> dict[str, str]:
    """Lines of a list that lead outside of the folder, or to the network."""
    places = (
        f"../secret/falls/{secret.name}", f"falls/../../secret/falls/{secret.name}", str(secret), f"file://{secret}",
        f"http://127.0.0.1:{port}/a.mp4", f"s3://127.0.0.1:{port}/a.mp4", f"//127.0.0.1:{port}/a.mp4",
        f"s3://a/b.mp4?endpoint_override=127.0.0.1:{port}&scheme=http",
    )  # fmt: skip
    return {place: f"{place} 0\nfalls/toy-0000.mp4 1\n" for place in places}


@pytest.mark.short_campaign
def test_lists_stay_inside_of_their_folder(connections: list[str], tally: Tally, tmp_path: Path) -> None:
    secret = next(make_toy_videos(tmp_path / "secret", 4).rglob("*.mp4"))
    for number, (place, text) in enumerate(lists_and_maps(connections[0], secret).items()):
        videos_dir = make_toy_videos(tmp_path / f"videos{number}", 4)
        (videos_dir / "train.txt").write_text(text)
        try:
            sources = detection.find(videos_dir, IndexConfig()).sources
        except NonlocalError as error:
            tally.add("lists that lead outside", NAMED if "train.txt:1" in str(error) else WRONG, str(error))
        else:
            missing = all(source.size_bytes < 0 for source in sources if "toy-0000" not in source.path)
            tally.add("lists that lead outside", SAME if missing else WRONG, f"{place}: {sources}")
    assert connections[1:] == []
    tally.check()


class Evil:
    """Unpickling it runs a command."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


def weights_files(folder: Path) -> dict[str, Path]:
    """Files of weights that are made to do harm."""
    made = {}
    evil = Evil(folder / "canary")
    for protocol in range(6):
        content = pickle.dumps({"state_dict": {"a": evil}}, protocol)
        made[f"a pickle that runs a command, protocol {protocol}"] = _written(
            folder / f"evil{protocol}.pkl", content
        )
        made[f"a zip with such a pickle, protocol {protocol}"] = save(folder / f"evil{protocol}.pth", content)
    legacy = "cos\nsystem\n(S'touch canary'\ntR"
    made["an old file with such a pickle"] = save_legacy(folder / "legacy.pth", legacy)
    many = tensor(0, 1, 0, (1,) * 200, (1,) * 200)
    made["a tensor of 200 dimensions"] = save(folder / "many.pth", f"(dS'a'\n{many}s")
    huge = tensor(0, 1 << 60, 0, (1 << 60,), (1,))
    made["a tensor of 2^60 numbers"] = save(folder / "huge.pth", f"(dS'a'\n{huge}s")
    made["brackets in brackets"] = save(folder / "deep.pth", "(" * 100_000 + "t" * 100_000)
    with zipfile.ZipFile(folder / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("some/data.pkl", bytes(3_000_000_000 // 10))
    made["a zip that grows a thousandfold"] = folder / "bomb.pth"
    with zipfile.ZipFile(folder / "outside.pth", "w") as archive:
        archive.writestr("../../canary", "x")
        archive.writestr("../../data.pkl", b"}.")
    made["a zip with names outside of it"] = folder / "outside.pth"
    for name, header in {
        "a safetensors header of 2^62 bytes": struct.pack("<Q", 1 << 62),
        "a safetensors header with brackets in brackets": _header("[" * 100_000),
        "a safetensors tensor outside of the file": _header(
            json.dumps({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}})
        ),
    }.items():
        made[name] = _written(folder / f"{name}.safetensors", header)
    made["an ONNX file"] = _written(folder / "net.onnx", b"\x08\x07\x12\x04evil" + bytes(64))
    return made


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _header(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_weights_run_no_code(tally: Tally, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nonlocal_core import import_weights

    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    for what, path in weights_files(tmp_path / "files").items():
        for profile in ("ours",) if path.suffix == ".safetensors" else ("mmaction2", "pyslowfast"):
            errors = io.StringIO()
            try:
                with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
                    code = import_weights.main([str(path), "--profile", profile])
            except Exception as error:
                tally.add("weights", WRONG, f"{what}: {error!r}")
                continue
            said = errors.getvalue()
            good = code == 3 and said.count("\n") == 1 and path.name in said and "failed" not in said
            tally.add("weights", NAMED if good else WRONG, f"{what}, {profile}: {code} {said[-300:]}")
    assert not list(tmp_path.rglob("canary"))
    tally.check()


@pytest.mark.short_campaign
def test_label_maps_are_data(tally: Tally, tmp_path: Path) -> None:
    """A label map is read as JSON, whatever else it might be."""
    path = tmp_path / "labels.json"
    for content in (
        b"!!python/object/apply:os.system ['touch canary']", b"&a [*a]", b"[" * 200_000, b'{"a": ' * 100_000,
        b'{"a": 1e999, "b": 0}', b'{"a": ' + b"9" * 100_000 + b"}", b'{"a": NaN}', b"\xff\xfe\x00", b'["a", "a"]',
        b'{"\\ud800": 0}', b'{"a": true, "b": 0}', pickle.dumps({"a": 0}),
    ):  # fmt: skip
        path.write_bytes(content)
        try:
            labels = label_ids.read(path)
        except NonlocalError as error:
            one_line = "\n" not in str(error) and path.name in str(error)
            tally.add("label maps", NAMED if one_line else WRONG, str(error)[:200])
        except Exception as error:
            tally.add("label maps", WRONG, f"{content[:40]!r}: {error!r:.200}")
        else:
            tally.add("label maps", WRONG, f"{content[:40]!r}: {labels!r:.200}")
    assert not list(tmp_path.rglob("canary"))
    tally.check()
