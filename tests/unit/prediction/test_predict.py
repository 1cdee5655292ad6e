"""Predictions of the registered run, beside its own evaluation and on videos that nobody has seen."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import mindspore as ms
import numpy as np
import pyarrow.parquet as pq
import pytest
import second_host
from PIL import Image
from small import small_config
from video_files import SLOW_THEN_FAST, encode_timed, frames_by_pyav, times_by_pyav

from nonlocal_core.data import transforms
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.data.records import encoding
from nonlocal_core.data.video import decoding
from nonlocal_core.errors import ConfigError, InputError
from nonlocal_core.evaluation import views
from nonlocal_core.models.normalise import normalise
from nonlocal_core.prediction import predict as predicting
from nonlocal_core.prediction import windows
from nonlocal_core.prediction.predict import find_videos, predict
from nonlocal_core.prediction.results import Request, check, check_out, write
from nonlocal_core.process import progress, shares
from nonlocal_core.registry import trained_network
from nonlocal_core.report import video_files

CPU = {"runtime.device": "CPU"}
QUICK = {"runtime.engine": "mindspore", "runtime.compile": "never"}


def request_of(registered, source, **others):
    others["overrides"] = {**CPU, **others.get("overrides", {})}
    return Request(source=source, workspace_dir=registered.workspace.root, **others)


@pytest.fixture(scope="module")
def predicted(registered):
    """All videos of the run: what was trained on, what was scored, what is broken."""
    return predict(request_of(registered, registered.videos_dir))


def test_scores_are_those_of_the_evaluation(registered, predicted):
    folder = registered.workspace.path(registered.evaluation)
    scored = pq.read_table(folder / "scores.parquet", use_threads=False).to_pandas(use_threads=False)
    labels = json.loads((registered.workspace.path(registered.manifest) / "labels.json").read_text())
    said = {one.video: one for one in predicted.videos}
    assert len(scored) >= 4
    for row in scored.itertuples():
        guesses = {guess.label: guess.score for guess in said[row.video_id].guesses}
        for label, label_id in labels.items():
            assert guesses[label] == pytest.approx(np.asarray(row.scores)[label_id], abs=1e-5)
    assert predicted.entry == "v0001"
    assert predicted.protocol == "2 clips x 1 crops of 4x3, 32 px"


def test_broken_videos_are_rows(predicted):
    broken = {one.video: (one.status, one.reason) for one in predicted.videos if one.status != "ok"}
    assert set(broken) == {'a <b>"fall" & more/<img src=x>.mp4', "rises/cut.mp4"}
    assert {status for status, _ in broken.values()} == {"unreadable"}
    assert all(reason for _, reason in broken.values())
    text = str(predicted)
    assert "16 of 18 predicted" in text
    assert "unreadable: " in text


def test_written_as_parquet_and_json(predicted, tmp_path):
    for name in ("p.parquet", "p.json"):
        write(predicted, tmp_path / "new" / name)
    table = pq.read_table(tmp_path / "new/p.parquet", use_threads=False)
    assert table.schema.metadata[b"entry"] == b"v0001"
    rows = {row["video"]: row for row in table.to_pylist()}
    listed = json.loads((tmp_path / "new/p.json").read_text(encoding="utf-8"))["videos"]
    assert len(rows) == len(listed) == 18
    for one in listed:
        row = rows[one["video"]]
        assert (row["status"], row["reason"]) == (one["status"], one["reason"])
        assert row["labels"] == [guess["label"] for guess in one["guesses"]]
        assert row["scores"] == [guess["score"] for guess in one["guesses"]]


def by_hand(registered, file, clips):
    """The mean scores of clips of a video, each given by the numbers of its frames."""
    found = trained_network.find("v0001", registered.workspace)
    cache, net = found.described.cache, found.network()
    frames = [encoding.resized(frame, cache) for frame in decoding.read(file)]
    stored = [np.frombuffer(encoding.encode(frame, cache.jpeg_quality), np.uint8) for frame in frames]
    scores = []
    for numbers in clips:
        kept = [encoding.decode(stored[number], *frames[0].shape[:2]) for number in numbers]
        view = transforms.test_views(kept, found.evaluate.crop_size, 1, "ends")
        scores.append(views.softmax(net(normalise(ms.Tensor(view), net.model)).asnumpy())[0])
    return dict(zip(found.described.labels, np.mean(scores, axis=0).tolist(), strict=True))


def assert_scores(window, expected):
    assert {guess.label: guess.score for guess in window.guesses} == pytest.approx(expected, abs=1e-5)


def test_sliding_windows_and_what_is_drawn(registered, tmp_path):
    """A video of two others: each half is said what its own video is, on the frames and in the timeline."""
    toy = sorted(make_toy_videos(tmp_path / "toy", 4).glob("*/*.mp4"))
    frames = [list(decoding.read_frames(path)) for path in toy[:2]]
    size = frames[0][0].shape[1::-1]
    both = [np.asarray(Image.fromarray(frame).resize((size[0], size[1]))) for part in frames for frame in part]
    (tmp_path / "in/sub").mkdir(parents=True)
    video_files.write_mp4(tmp_path / "in/sub/both.mp4", both, 15.0)
    shutil.copytree(tmp_path / "toy", tmp_path / "ignored")
    settings = {"window_s": 1.0, "hop_s": 0.5, "draw_dir": tmp_path / "drawn"}
    (one,) = predict(request_of(registered, tmp_path / "in", **settings)).videos
    duration = len(both) / 15
    assert [window.start_s for window in one.windows][:3] == [0.0, 0.5, 1.0]
    assert one.windows[-1].end_s == pytest.approx(duration, abs=2e-3)
    # 15 frames, and a clip of 4x3 has 10 of them: one from the start, one to the end.
    file, start = tmp_path / "in/sub/both.mp4", len(both) - 15
    clips = [[start + first + 3 * k for k in range(4)] for first in (0, 5)]
    assert_scores(one.windows[-1], by_hand(registered, file, clips))
    (middle,) = predict(
        request_of(registered, file, window_s=1.0, hop_s=0.5, overrides={"evaluate.num_clips": 1})
    ).videos
    assert_scores(middle.windows[-1], by_hand(registered, file, [[start + 2 + 3 * k for k in range(4)]]))
    mean = np.mean([{g.label: g.score for g in window.guesses}["rises"] for window in one.windows])
    assert {guess.label: guess.score for guess in one.guesses}["rises"] == pytest.approx(mean, abs=1e-6)
    assert one.drawn == str(tmp_path / "drawn/sub/both.mp4")
    probed = decoding.probe(tmp_path / "drawn/sub/both.mp4")
    assert (probed.codec, probed.num_frames) == ("h264", len(both))
    band = next(decoding.read_frames(tmp_path / "drawn/sub/both.mp4"))[-8:]
    assert band.astype(int).mean() < both[0][-8:].mean() - 15
    with Image.open(tmp_path / "drawn/sub/both.png") as picture:
        assert picture.size[0] > 600


def test_windows_go_by_time_stamps_where_the_rate_varies(registered, tmp_path):
    """10 seconds at 1 frame a second, then 2 at 30: a window from 2 to 4 s has the frames 2 and 3."""
    file = encode_timed(tmp_path / "in.mp4", SLOW_THEN_FAST)
    request = request_of(registered, file, window_s=2.0, hop_s=2.0, draw_dir=tmp_path / "drawn")
    made = predict(request)
    (one,) = made.videos
    assert made.protocol == "clips over all of each window x 1 crops of 4x3, 32 px, windows of 2 s"
    assert [(window.start_s, window.end_s) for window in one.windows[:5]] == [
        (0.0, 2.0), (2.0, 4.0), (4.0, 6.0), (6.0, 8.0), (8.0, 10.0)
    ]  # fmt: skip
    assert_scores(one.windows[1], by_hand(registered, file, [[2, 3, 3, 3]]))
    assert_scores(one.windows[4], by_hand(registered, file, [[8, 9, 9, 9]]))
    # From 10 to 12 s, all 60: five clips of 4x3 cover them.
    clips = [[10 + start + 3 * k for k in range(4)] for start in (0, 13, 25, 38, 50)]
    assert_scores(one.windows[5], by_hand(registered, file, clips))
    np.testing.assert_allclose(times_by_pyav(Path(one.drawn)), SLOW_THEN_FAST, atol=1e-3)


def test_pixels_that_are_not_square_are_seen_and_drawn_as_players_show_them(registered, tmp_path):
    wide = encode_timed(tmp_path / "wide.mp4", [k / 10 for k in range(20)], (96, 64), aspect="4:3")
    frames = [np.asarray(Image.fromarray(frame).resize((128, 64))) for frame in frames_by_pyav(wide)]
    (tmp_path / "square").mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"square/{number}.png")
    (one,) = predict(request_of(registered, wide, draw_dir=tmp_path / "drawn")).videos
    (square,) = predict(request_of(registered, tmp_path / "square")).videos
    for guess in one.guesses:
        assert guess.score == pytest.approx({g.label: g.score for g in square.guesses}[guess.label], abs=0.02)
    drawn = decoding.probe(Path(one.drawn))
    assert (drawn.height, drawn.width, drawn.pixel_aspect) == (64, 128, None)


def test_another_host_predicts_its_share(registered, tmp_path, monkeypatch, caplog):
    """The second host is a process.  Once it has ended, the first one is stopped, and called again."""
    caplog.set_level("INFO")
    monkeypatch.setattr(shares, "CHUNK_VIEWS", 1)
    videos = sorted(registered.videos_dir.glob("rises/*.mp4"))[:4]  # the first is broken
    (tmp_path / "in").mkdir()
    for video in videos:
        shutil.copy(video, tmp_path / "in")

    def predicted(name, hosts, **others):
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / name)
        paths = {"features": Path("f.parquet"), "draw_dir": Path("drawn")}
        overrides = {"evaluate.batch_clips": 2, **QUICK, **(second_host.HOSTS if hosts else {})}
        made = predict(request_of(registered, Path("../in"), overrides=overrides, **paths, **others))
        return made, sorted(map(str, Path().rglob("*.*"))), Path("f.parquet").read_bytes()

    alone = predicted("one", hosts=False)
    assert [video.status for video in alone[0].videos] == ["unreadable", "ok", "ok", "ok"]
    drawn = [video.drawn for video in alone[0].videos[1:]]
    assert alone[1] == [*(f"drawn/{video.name}" for video in videos[1:]), "f.parquet"] == [*drawn, "f.parquet"]
    assert pq.read_table("f.parquet")["video"].to_pylist() == [video.name for video in videos[1:]]
    made = second_host.comes_first(monkeypatch, predicting, "predict_chunks")
    look, looked = windows.look, []

    def stopped(*arguments):
        if not looked:
            looked.append(arguments)
            raise KeyboardInterrupt
        return look(*arguments)

    monkeypatch.setattr(windows, "look", stopped)
    with pytest.raises(KeyboardInterrupt):
        predicted("two", hosts=True)
    assert predicted("two", hosts=True) == alone
    assert [[chunk.rows for chunk in chunks] for chunks in made] == [[[0], [2]], [[0], [2]], [[3]]]
    folder = made[0][0].file.parent
    assert caplog.text.count(f"on 127.0.0.2: python -m nonlocal_core.share {folder} 1") == 2
    assert caplog.text.count("127.0.0.2 has left 1 of its 2 chunks, which are made here") == 1
    assert not folder.exists()
    assert folder.parent == registered.workspace.root / "predict"


def test_a_host_that_never_comes_is_named_and_one_video_is_not_shared(registered, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    video = next(registered.videos_dir.glob("rises/toy*.mp4"))
    for name in "ab":
        shutil.copy(video, tmp_path / f"{name}.mp4")
    windows_of = {"overrides": {**QUICK, **second_host.HOSTS}, "window_s": 9.0}
    made = predict(request_of(registered, tmp_path, **windows_of))
    assert made.videos[0].guesses == made.videos[1].guesses
    assert "127.0.0.2 has left 1 of its 1 chunks, which are made here" in caplog.text
    caplog.clear()
    assert predict(request_of(registered, video, **windows_of)).videos[0].guesses == made.videos[0].guesses
    assert "127.0.0.2" not in caplog.text


def test_windows():
    def of(num_frames, window_s, hop_s=None):
        return windows.times(
            num_frames, 10.0, Request(source=Path(), workspace_dir=Path(), window_s=window_s, hop_s=hop_s)
        )

    assert of(100, None) == []
    assert of(100, 4.0) == [(0.0, 4.0), (2.0, 6.0), (4.0, 8.0), (6.0, 10.0)]
    assert of(105, 4.0)[-2:] == [(6.0, 10.0), (6.5, 10.5)]
    assert of(30, 4.0) == [(0.0, 3.0)]
    assert of(100, 4.0, 6.0) == [(0.0, 4.0), (6.0, 10.0)]


def test_a_single_video_a_folder_of_pictures_and_none(registered, predicted, tmp_path):
    path = next(registered.videos_dir.glob("rises/toy*.mp4"))
    assert find_videos(path) == [(path.name, path)]
    (tmp_path / "shots").mkdir()
    for number, frame in enumerate(decoding.read_frames(path)):
        Image.fromarray(frame).save(tmp_path / "shots" / f"{number}.png")
    assert find_videos(tmp_path / "shots") == [("shots", tmp_path / "shots")]
    (whole,) = (one for one in predicted.videos if one.video == f"rises/{path.name}")
    (shots,) = predict(request_of(registered, tmp_path / "shots")).videos
    assert [guess.label for guess in shots.guesses] == [guess.label for guess in whole.guesses]
    (timed,) = predict(request_of(registered, tmp_path / "shots", window_s=1.0)).videos
    assert (timed.status, timed.guesses) == ("no_time", ())
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no videos in"):
        find_videos(tmp_path / "none")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"overrides": {"train.epochs": 2}}, "train.epochs comes with the network"),
        ({"overrides": {"window": 2}}, "there is no parameter 'window'"),
        ({"hop_s": 1.0}, "hop_s needs windows"),
        ({"window_s": 0.0}, "window_s=0: name seconds above 0"),
        ({"window_s": 1.0, "hop_s": -1.0}, "hop_s=-1: name seconds above 0"),
    ],
)
def test_requests_that_make_no_sense(tmp_path, settings, said):
    with pytest.raises(ConfigError, match=said):
        check(Request(source=tmp_path, workspace_dir=tmp_path, **settings))


def test_other_mistakes(registered, tmp_path):
    with pytest.raises(InputError, match="no video or folder"):
        check(request_of(registered, tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="is where the videos lie"):
        check(request_of(registered, tmp_path, draw_dir=tmp_path))
    with pytest.raises(ConfigError, match="is a file: name a folder"):
        check(request_of(registered, registered.videos_dir, draw_dir=Path(__file__)))
    with pytest.raises(InputError, match="there is no registry in"):
        check(Request(source=tmp_path, workspace_dir=tmp_path))
    check(Request(source=tmp_path, workspace_dir=tmp_path, checkpoint="weights.safetensors"))
    with pytest.raises(ConfigError, match=r"\.parquet or \.json"):
        check_out(tmp_path / "table.csv")
    with pytest.raises(ConfigError, match=r"evaluate\.crop_size=300 is larger than a cached frame"):
        predict(request_of(registered, registered.videos_dir, overrides={"evaluate.crop_size": 300}))
    with pytest.raises(InputError, match="checkpoint=v0002: there is no entry v0002"):
        predict(request_of(registered, registered.videos_dir, checkpoint="v0002"))


def test_what_is_drawn_is_no_input_and_takes_the_place_of_none(registered, tmp_path):
    video = shutil.copy(next(registered.videos_dir.glob("rises/toy*.mp4")), tmp_path)
    source = tmp_path / "videos/sub"
    source.mkdir(parents=True)
    (source / "a.mp4").symlink_to(video)
    (tmp_path / "link").symlink_to(source)
    for draw_dir, text in (
        (source / "drawn", "draw=.* lies in .*/sub, where the next run would take"),
        (tmp_path / "link/drawn", "lies in"),
        (tmp_path / "videos", "draw=.*/videos holds .*/videos/sub: what is drawn could take the place"),
    ):
        with pytest.raises(ConfigError, match=text):
            check(request_of(registered, source, draw_dir=draw_dir))
    check(request_of(registered, source, draw_dir=tmp_path / "subtle"))
    check(request_of(registered, source / "a.mp4", draw_dir=source / "drawn"))
    check(request_of(registered, source / "a.mp4", draw_dir=tmp_path))
    others = tmp_path / "others"
    others.mkdir()
    original = Path(shutil.move(video, others / "a.mp4"))
    (source / "a.mp4").unlink()
    (source / "a.mp4").symlink_to(original)
    content = original.read_bytes()
    with pytest.raises(ConfigError, match=r"draw=.*/others has a\.mp4, one of the videos that are drawn"):
        predict(request_of(registered, source, draw_dir=others))
    assert original.read_bytes() == content


def test_a_home_folder_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    request = Request(
        source=Path("~x.mp4"),
        workspace_dir=Path("~/w"),
        features=Path("~/f.parquet"),
        draw_dir=Path("~/drawn"),
    )
    paths = request.workspace_dir, request.features, request.draw_dir
    assert paths == (tmp_path / "w", tmp_path / "f.parquet", tmp_path / "drawn")
    assert request.source == Path("~x.mp4"), "a video may be called so"


def test_what_cannot_be_written_is_said_before_a_video_is_read(registered, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.parquet").mkdir()
    for path, error, text in (
        (tmp_path / "file/a.parquet", InputError, "a.parquet cannot be written: "),
        (tmp_path / "folder.parquet", ConfigError, "folder.parquet is a folder: name a file"),
        (tmp_path / f"{'x' * 250}.parquet", InputError, "cannot be written: File name too long"),
    ):
        with pytest.raises(error, match=f"features={path.parent}.*{text}"):
            check(request_of(registered, registered.videos_dir, features=path))
        with pytest.raises(error, match=f"out={path.parent}.*{text}"):
            check_out(path)
    check(request_of(registered, registered.videos_dir, features=tmp_path / "new/deep/a.parquet"))
    check_out(tmp_path / "new/deep/a.json")
    assert list((tmp_path / "new").rglob("*")) == [tmp_path / "new/deep"], "nothing is left of a trial"


def test_a_checkpoint_file(registered):
    path = next(registered.videos_dir.glob("rises/toy*.mp4"))
    file = registered.workspace.root / "registry/v0001/checkpoint.safetensors"
    made = predict(request_of(registered, path, checkpoint=str(file)))
    assert made.entry == "checkpoint.safetensors"
    assert made.protocol == "10 clips x 3 crops of 4x3, 36 px"
    assert made.videos[0].status == "ok"


def test_a_long_video_says_how_many_frames_of_it_are_decoded(toy, caplog, monkeypatch):
    """Every sign of life is a line here; the network is not asked."""
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    caplog.set_level(logging.INFO)
    request = Request(source=toy.videos_dir / "falls", workspace_dir=toy.root)
    videos = find_videos(request.source)
    for _, clips in windows.look(videos, small_config(), request):
        list(clips)
    assert f"predict, {videos[0][0]}: 1 frames decoded so far" in caplog.text
