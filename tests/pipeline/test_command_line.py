"""Mistakes of a person at the command line: one clear line, an exit code, no traceback, and nothing lost."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pyarrow.parquet as pq
import pytest

from flows.catalogue import COMMANDS
from flows.prepare import prepare
from nonlocal_core.artifacts import Manifest
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.escaping import one_line
from tests.commands import Warm

REPOSITORY = Path(__file__).parents[2]
FULL = [sys.executable, str(REPOSITORY / "flows" / "full.py")]
LONG = ("train.epochs=1000", "train.val_epochs=0", "model.width=4", "model.nl_res3=[]", "model.nl_res4=[]")
"""settings of a training that is stopped, and has neither a second network nor blocks to compile"""


@pytest.fixture
def videos_dir(tmp_path: Path) -> Path:
    return make_toy_videos(tmp_path / "videos", num_videos=8)


def fails(warm: Warm, *words: str) -> tuple[int, str]:
    return failed(warm.run("full", *words))


def failed(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode != 0
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stderr.rstrip().endswith(errors[0]), "the error is the last line"
    return done.returncode, errors[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tinny"], "there is no preset 'tinny': did you mean tiny?"),
        (["tiny", "train.epoch=2"], "there is no setting 'train.epoch': did you mean train.epochs"),
        (["video_dir=videos"], "there is no parameter 'video_dir': did you mean videos_dir?"),
        (["epochs=2"], "there is no setting 'epochs': did you mean train.epochs"),
        (["train.epochs=many"], "train.epochs=many does not fit"),
        (["train.crop_size=100"], "train.crop_size=100 is larger than a cached frame"),
        (["clip.clip_len=1"], "clip.clip_len=1 is too short"),
        (["tiny", "epochs"], "'epochs' is not of the form key=value"),
        (["tiny", "--epochs", "3"], "settings are words without dashes: train.epochs=3"),
        (["--train.epochs=3"], "settings are words without dashes: train.epochs=3"),
        (["--short-side=64"], "settings are words without dashes: cache.short_side=64"),
        (["--nothing", "1"], "there is no option --nothing: settings are words such as train.epochs=3"),
        (["--config", "/no/run.yaml"], "--config /no/run.yaml cannot be read: No such file or directory"),
        (["train.epochs=2", "train.seed=1", "train.epochs=3"], "train.epochs is given twice, '2' and '3'"),
    ],
)
def test_wrong_settings(warm: Warm, words: list[str], said: str) -> None:
    code, error = fails(warm, *words)
    assert code == 2
    assert said in error


def test_a_file_of_settings_counts_less_than_the_command_line(warm: Warm, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("preset: tiny\ntrain:\n  epochs: 0\n  seed: -1\n")
    assert "train.epochs=0 does not fit" in fails(warm, "--config", str(file), "train.seed=1")[1]
    assert "train.seed=-1 does not fit" in fails(warm, "train.epochs=2", "--config", str(file))[1]
    file.write_text(f"preset: nl_i3d_r50_8x8\nworkspace_dir: {tmp_path}\n")
    assert "videos_dir=DIR" in fails(warm, "--config", str(file))[1]


def test_videos_are_asked_for(warm: Warm, tmp_path: Path) -> None:
    code, error = fails(warm, "nl_i3d_r50_8x8", f"workspace_dir={tmp_path}")
    assert code == 3
    assert "videos_dir=DIR" in error


def test_a_prefect_server_that_does_not_answer(environment: dict[str, str], tmp_path: Path) -> None:
    nobody = {**environment, "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    command = [FULL[0], "-X", "importtime", FULL[1], f"workspace_dir={tmp_path}"]
    done = subprocess.run(command, cwd=REPOSITORY, env=nobody, capture_output=True, text=True, timeout=120)
    assert "no Prefect server answers at http://127.0.0.1:9/api" in failed(done)[1]
    before, after = done.stderr.split("full tiny: Prefect starts\n")
    assert imported(before).isdisjoint(SLOW), "the first line comes before them"
    assert imported(after) >= {"prefect", "rich"}


SLOW = {"prefect", "mindspore", "pandas", "pyarrow", "numpy", "scipy", "cv2", "rich"}


def imported(listing: str) -> set[str]:
    """The packages in what `python -X importtime` prints."""
    lines = (line.split("|")[-1].strip() for line in listing.splitlines() if line.startswith("import time:"))
    return {name.partition(".")[0] for name in lines}


@pytest.mark.parametrize(
    "words",
    [
        ["full.py", "tiny", "train.epoch=2"],
        ["ablate.py", "2a", "train.epoch=2"],
        ["evaluate.py", "evaluate.clips=2"],
        ["predict.py", "video.mp4", "evaluate.clips=2"],
    ],
)
def test_a_mistyped_key_waits_for_nothing_slow(words: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", f"flows/{words[0]}", *words[1:]]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert "did you mean" in failed(done)[1]
    assert imported(done.stderr).isdisjoint(SLOW)


@pytest.mark.parametrize("words", [["full.py", "probe"], ["prepare.py"], ["crossval.py", "tiny"]])
def test_a_dry_run_says_what_is_there_and_needs_no_prefect(words: list[str], tmp_path: Path) -> None:
    for path in ("run/a.m4v", "jump/b.MTS", "jump/c.srt"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("no video")
    command = [sys.executable, "-X", "importtime", f"flows/{words[0]}", *words[1:], "--dry-run"]
    done = subprocess.run([*command, f"videos_dir={tmp_path}"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.splitlines()[1:] == [
        "files seen: 3; videos, also as folders of pictures: 2",
        "not taken, since they are no video by their name: 1 .srt; e.g. jump/c.srt",
        "2 videos: to be drawn 2",
        "2 labels: jump 1, run 1",
    ]
    assert imported(done.stderr).isdisjoint({"prefect", "mindspore", "av"})
    done = subprocess.run(command[:1] + command[3:], cwd=REPOSITORY, capture_output=True, text=True)
    assert "name it with videos_dir=DIR" in failed(done)[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_takes_the_parameters_of_its_flow(name: str) -> None:
    flow = getattr(importlib.import_module(f"flows.{name}"), COMMANDS[name].flow)
    others = {"preset", "names", "source", "overrides", "only_new", "defaults"}
    assert {*COMMANDS[name].parameters} == {*inspect.signature(flow).parameters} - others


def test_no_videos(warm: Warm, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "missing", "a\x1b[31m\nb"):
        code, error = fails(warm, f"videos_dir={tmp_path / folder}", f"workspace_dir={tmp_path / 'w'}")
        assert code == 3
        assert one_line(folder) in error


def test_one_class(warm: Warm, videos_dir: Path) -> None:
    for label in ("falls", "rises", "grows"):
        shutil.rmtree(videos_dir / label)
    code, error = fails(warm, f"videos_dir={videos_dir}", f"workspace_dir={videos_dir.parent / 'w'}")
    assert code == 3
    assert "shrinks" in error


def test_a_train_split_of_copies_of_val(warm: Warm, videos_dir: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        shutil.copytree(videos_dir, tmp_path / "split" / split)
    code, error = fails(warm, f"videos_dir={tmp_path / 'split'}", f"workspace_dir={tmp_path / 'w'}")
    assert code == 3
    assert "the train split has no video that can be used (8 are copies of videos of val or test)" in error


def test_one_video_a_class(warm: Warm, videos_dir: Path) -> None:
    for video in videos_dir.glob("*/*.mp4"):
        if int(video.stem.removeprefix("toy-")) >= 4:
            video.unlink()
    code, error = fails(warm, f"videos_dir={videos_dir}", f"workspace_dir={videos_dir.parent / 'w'}")
    assert code == 3
    assert "no label has two different videos" in error


def test_a_list_with_a_mistake(warm: Warm, videos_dir: Path) -> None:
    (videos_dir / "train.txt").write_text("falls/toy-0000.mp4 0\nfalls/toy-0004.mp4 0 0.9 0.1\n")
    code, error = fails(warm, f"videos_dir={videos_dir}", f"workspace_dir={videos_dir.parent / 'w'}")
    assert code == 3
    assert "train.txt:2: from 0.9 to 0.1 is no part of a video" in error


def test_an_empty_val_split(warm: Warm, videos_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(videos_dir, tmp_path / "split" / "train")
    (tmp_path / "split" / "val" / "falls").mkdir(parents=True)
    code, error = fails(warm, f"videos_dir={tmp_path / 'split'}", f"workspace_dir={tmp_path / 'w'}")
    assert code == 3
    assert "val" in error


def test_a_workspace_that_cannot_be_written(warm: Warm, videos_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    code, error = fails(warm, f"videos_dir={videos_dir}", f"workspace_dir={tmp_path / 'file' / 'workspace'}")
    assert code == 4
    assert "workspace_dir=DIR" in error


def test_a_mistake_leaves_finished_work_alone(warm: Warm, videos_dir: Path, tmp_path: Path) -> None:
    """Too many bad videos stop the run; allowing them goes on with what was found out."""
    for number in range(4):
        (videos_dir / "falls" / f"bad{number}.mp4").write_text("text")
    words = (f"videos_dir={videos_dir}", f"workspace_dir={tmp_path / 'w'}")
    _, error = fails(warm, *words)
    assert "4 of 12" in error
    assert "runtime.max_unreadable=" in error
    (part,) = (tmp_path / "w" / "index" / "known").iterdir()
    known = pq.read_table(part)
    row = known["status"].to_pylist().index("ok")
    marked = known["place"][row].as_py().removeprefix(f"{videos_dir}/")
    # No file has this rate: who finds it in the manifest knows that nothing was probed again.
    rates = [12.25 if number == row else rate for number, rate in enumerate(known["fps"].to_pylist())]
    pq.write_table(known.set_column(known.schema.get_field_index("fps"), "fps", [rates]), part)
    allowed = error.split("runtime.max_unreadable=")[1].split()[0].rstrip(".,;)")
    made = prepare("tiny", {"runtime.max_unreadable": allowed}, videos_dir, tmp_path / "w").cache
    assert made.num_videos - made.num_ok == 4
    (rows,) = (tmp_path / "w").glob(f"index/*/{Manifest.ROWS}")
    manifest = pq.read_table(rows).to_pandas()
    assert manifest.set_index("video_id")["fps"][marked] == 12.25


def test_ctrl_c_keeps_the_work(environment: dict[str, str], videos_dir: Path, tmp_path: Path) -> None:
    """Ctrl-C at a terminal reaches every process of the command."""
    words = [f"videos_dir={videos_dir}", f"workspace_dir={tmp_path / 'w'}", *LONG]
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        [*FULL, *words],
        cwd=REPOSITORY,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.set_blocking(terminal, False)
    started_s, interrupted, seen = time.monotonic(), False, b""
    while process.poll() is None:
        assert time.monotonic() - started_s < 120
        try:
            seen += os.read(terminal, 65536)
        except (BlockingIOError, OSError):
            time.sleep(0.1)
        logs = list((tmp_path / "w").glob("train/*.partial/log.jsonl"))
        if not interrupted and logs and logs[0].read_text().count("\n") > 3:
            os.killpg(process.pid, signal.SIGINT)
            interrupted = True
    with contextlib.suppress(OSError):  # what it has said since the last look
        while more := os.read(terminal, 65536):
            seen += more
    os.close(terminal)
    assert process.returncode == 130
    assert b"nothing is lost" in seen
    assert b"Traceback" not in seen
    assert list((tmp_path / "w").glob("train/*.partial/step-*.safetensors"))


@pytest.mark.campaign("faults")
def test_two_first_runs_at_once_make_the_toy_videos_once(environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "flows" / "prepare.py"), "tiny", f"workspace_dir={tmp_path / 'w'}"]
    runs = [
        subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [run.communicate(timeout=200)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert all("240 used, 0 quarantined" in text for text in said)
    assert len(list((tmp_path / "w").glob("cache/*/artifact.json"))) == 1


@pytest.mark.campaign("kill")
def test_sigterm_to_the_whole_group_is_one_stop(
    environment: dict[str, str], videos_dir: Path, tmp_path: Path
) -> None:
    """What a machine that shuts down sends: the child must not die before its parent tells it to stop."""
    words = [f"videos_dir={videos_dir}", f"workspace_dir={tmp_path / 'w'}", *LONG]
    with subprocess.Popen(
        [*FULL, *words], cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        started_s = time.monotonic()
        while not any("\n" in log.read_text() for log in (tmp_path / "w").glob("train/*.partial/log.jsonl")):
            assert process.poll() is None
            assert time.monotonic() - started_s < 120
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "etry" not in said
    assert list((tmp_path / "w").glob("train/*.partial/step-*.safetensors"))


def test_the_server_of_a_command_is_its_own_and_ends_with_it_also_when_it_is_killed(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= {"PREFECT_HOME": str(tmp_path / "prefect")}
    code = (
        "import os, signal\nfrom flows import session\nsession.start_server()\n"
        "from prefect.server.api.server import SubprocessASGIServer as server\n"
        "from prefect.client.orchestration import get_client\n"
        "(one,) = server._instances.values()\n"
        "client = get_client(sync_client=True)\nclient.create_flow_from_name('ours')\n"
        "told = os.environ['PREFECT_API_URL']\n"
        "print(one.server_process.pid, one.api_url, len(client.read_flows()), told, flush=True)\n"
        "input()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    server, api, num_flows, told = process.stdout.readline().split()
    assert num_flows == "1", "the command itself is answered"
    assert told == api, "each process of a pool would start one too"
    for path, body in (("block_types/slug/secret", None), ("flows/filter", b"{}")):
        with pytest.raises(HTTPError) as refused:
            urlopen(Request(f"{api}/{path}", body, {"content-type": "application/json"}), timeout=30)
        with refused.value:
            assert refused.value.code in (401, 403)
    process.communicate("\n", timeout=60)
    assert process.returncode == -signal.SIGKILL
    started_s = time.monotonic()
    while Path(f"/proc/{server}").exists() and "zombie" not in Path(f"/proc/{server}/status").read_text():
        assert time.monotonic() - started_s < 60
        time.sleep(0.1)


def test_no_empty_paths_and_no_workspace_among_the_videos(warm: Warm, videos_dir: Path) -> None:
    assert "videos_dir= has no value" in fails(warm, "videos_dir=")[1]
    assert "there is no runner 'thread'" in fails(warm, "runner=thread")[1]
    _, error = fails(warm, f"videos_dir={videos_dir}", f"workspace_dir={videos_dir / 'workspace'}")
    assert "lies inside" in error
