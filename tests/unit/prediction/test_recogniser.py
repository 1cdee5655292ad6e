"""The network for programs beside `flows/predict.py` and its features."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import nonlocal_core
from nonlocal_core.data.video import decoding
from nonlocal_core.errors import ConfigError, InputError
from nonlocal_core.models import checkpoint
from nonlocal_core.prediction.predict import predict
from nonlocal_core.prediction.results import Request, check
from nonlocal_core.registry import WEIGHTS_FILE

CPU = {"runtime.device": "CPU"}


@pytest.fixture(scope="module")
def recogniser(registered):
    return nonlocal_core.load("champion", registered.workspace.root, CPU)


@pytest.fixture(scope="module")
def predicted(registered, tmp_path_factory):
    """The predictions of two labels' videos, whole and in windows, and the table of their features."""
    table = tmp_path_factory.mktemp("features") / "new" / "features.parquet"
    request = Request(
        source=registered.videos_dir / "rises", workspace_dir=registered.workspace.root, overrides=CPU,
        window_s=1.0, features=table,
    )  # fmt: skip
    whole = Request(source=registered.videos_dir, workspace_dir=registered.workspace.root, overrides=CPU)
    return predict(request), pq.read_table(table), predict(whole)


def test_scores_are_those_of_predict_of_a_file_and_of_its_frames(registered, recogniser, predicted):
    good = [one for one in predicted[2].videos if one.status == "ok"]
    assert len(good) > 3
    for one in good[:4]:
        path = registered.videos_dir / one.video
        scores = recogniser.scores(path)
        assert list(scores) == sorted(scores, key=lambda label: -scores[label])
        assert sum(scores.values()) == pytest.approx(1)
        assert [guess.label for guess in one.guesses] == list(scores)[: len(one.guesses)]
        assert [guess.score for guess in one.guesses] == pytest.approx(list(scores.values()), abs=1e-5)
        frames = np.stack(list(decoding.read_frames(path)))
        # OpenCV shrinks frames that are in RGB already.
        assert recogniser.scores(frames) == pytest.approx(scores, abs=0.03)


def test_scores_of_clips_at_random_places_are_those_of_predict_too(registered):
    """A clip's place depends on the name of its video."""
    overrides = {**CPU, "evaluate.offsets": "random"}
    folder, workspace_dir = registered.videos_dir / "rises", registered.workspace.root
    whole = predict(Request(source=folder, workspace_dir=workspace_dir, overrides=overrides))
    recogniser = nonlocal_core.load("champion", workspace_dir, overrides)
    for video in [video for video in whole.videos if video.status == "ok"][:3]:
        scores = recogniser.scores(folder / video.video)
        assert [guess.score for guess in video.guesses] == pytest.approx(list(scores.values()), abs=1e-5)


def test_features_are_what_the_classifier_sees(recogniser, predicted, registered):
    """The logits of a view are a product with its features, so those of one view give the scores."""
    one_view = nonlocal_core.load("champion", registered.workspace.root, {**CPU, "evaluate.num_clips": 1})
    path = registered.videos_dir / next(one.video for one in predicted[2].videos if one.status == "ok")
    tensors = one_view_weights(registered)
    logits_K = tensors["head.fc.weight"] @ one_view.features(path) + tensors["head.fc.bias"]
    scores = np.exp(logits_K - logits_K.max())
    found = one_view.scores(path)
    assert [found[label] for label in one_view.labels] == pytest.approx((scores / scores.sum()).tolist(), abs=1e-5)


def one_view_weights(registered):
    return checkpoint.read_weights(registered.workspace.root / "registry/v0001" / WEIGHTS_FILE)[1]


def test_the_table_has_a_row_a_video_and_a_window(predicted):
    predictions, table, _ = predicted
    rows = table.to_pylist()
    assert table.schema.metadata[b"entry"] == b"v0001"
    for one in predictions.videos:
        own = [row for row in rows if row["video"] == one.video]
        if one.status != "ok":
            assert own == []
            continue
        whole, *windows = own
        assert (whole["start_s"], whole["end_s"]) == (None, None)
        times_s = np.array([(window.start_s, window.end_s) for window in one.windows])
        np.testing.assert_allclose([(row["start_s"], row["end_s"]) for row in windows], times_s, atol=1e-3)
        np.testing.assert_allclose(
            whole["features"], np.mean([row["features"] for row in windows], axis=0), rtol=1e-5, atol=1e-6
        )


def test_how_a_network_was_trained_does_not_matter(registered, recogniser, tmp_path, caplog):
    """A classifier that L-BFGS has learned needed features; to ask it, none are kept."""
    caplog.set_level(logging.INFO)
    described, weights = checkpoint.read_weights(registered.workspace.root / "registry/v0001" / WEIGHTS_FILE)
    train = described.train.model_copy(update={"optimizer": "lbfgs", "init": "x", "init_head": "fitted"})
    checkpoint.save_weights(tmp_path / "w.safetensors", weights, described.model_copy(update={"train": train}))
    own = nonlocal_core.load(str(tmp_path / "w.safetensors"), overrides={**CPU, "evaluate.protocol": "1x1"})
    assert (own.config.evaluate.num_clips, own.config.evaluate.num_crops) == (1, 1)
    assert own.config.model == recogniser.config.model
    assert "other settings than those of w.safetensors: evaluate.num_clips=1 instead of 10" in caplog.text
    champion = nonlocal_core.load("champion", registered.workspace.root, {**CPU, "evaluate.protocol": "10x3"})
    assert (champion.config.evaluate.num_clips, champion.config.evaluate.num_crops) == (10, 3)


def test_what_is_no_video_is_said(recogniser, registered, tmp_path):
    with pytest.raises(InputError, match="there is no video"):
        recogniser.scores(tmp_path / "none.mp4")
    with pytest.raises(InputError, match=r"cut\.mp4 cannot be read: "):
        recogniser.scores(registered.videos_dir / "rises/cut.mp4")
    with pytest.raises(InputError, match=r"frames are uint8 of the shape \(T, H, W, 3\), not float64"):
        recogniser.scores(np.zeros((4, 8, 8, 3)))
    with pytest.raises(ConfigError, match="comes with the network"):
        nonlocal_core.load("champion", registered.workspace.root, {"train.epochs": 3})
    with pytest.raises(ConfigError, match=r"features=a\.csv: name a file that ends with \.parquet"):
        check(Request(source=tmp_path, workspace_dir=registered.workspace.root, features=Path("a.csv")))
    with pytest.raises(AttributeError, match="has no attribute 'loads'"):
        nonlocal_core.loads  # type: ignore[attr-defined] # noqa: B018
