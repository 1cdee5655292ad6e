"""What protocols do to real videos: which frames are read, and how the head takes them."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from small import PLAIN, small_config

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import EvaluateConfig
from nonlocal_core.data import loader, sampling
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.data.timing import whole
from nonlocal_core.data.video import decoding
from nonlocal_core.evaluation import views
from nonlocal_core.models import checkpoint, inference
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.normalise import normalise
from nonlocal_core.stages.cache import cache


def test_a_video_file_is_opened_and_decoded_once_for_all_its_views(toy, tmp_path, monkeypatch):
    workspace = toy.workspace(tmp_path)
    reader = RecordReader(workspace, cache(toy.manifest, small_config(cache__codec="none"), workspace))
    opened, frames_at = [], decoding.frames_at
    monkeypatch.setattr(decoding, "frames_at", lambda *given: opened.append(given) or frames_at(*given))
    config = small_config(evaluate__num_clips=10, evaluate__num_crops=3, clip__clip_len=8)
    made = loader.video_views(reader, [3, 8], config.clip, config.evaluate, 1)
    for row, clips in zip([3, 8], made, strict=True):
        assert len(clips) == 30
        wanted = sampling.test_indices(whole(int(reader.rows["num_frames"].iloc[row])), config.clip, 10, "spread")
        ((_, _, indices, _),) = [given for given in opened if given[0].match(reader.rows["path"].iloc[row])]
        assert sorted(indices.tolist()) == np.unique(wanted).tolist()
    assert len(opened) == 2


def clips_of(toy, **settings):
    config = small_config(evaluate__offsets="random", **settings)
    reader = RecordReader(Workspace(toy.root), toy.cache)
    return list(loader.video_views(reader, [5, 0, 7], config.clip, config.evaluate, 2))


def test_a_random_clip_depends_on_seed_and_video_alone(toy):
    first, again = clips_of(toy), clips_of(toy)
    assert [one.shape for one in first] == [(1, 3, 4, 32, 32)] * 3
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    other = clips_of(toy, evaluate__seed=1)
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    several = clips_of(toy, evaluate__num_clips=4)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(first, several, strict=True))
    assert any(not np.array_equal(one[0], one[1]) for one in several)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint with random weights and its network; a training clip leaves 2x2 places of itself."""
    config = small_config(**PLAIN)
    ms.set_seed(3)
    net = I3D(config.model, 3)
    for parameter in net.get_parameters():
        if parameter.name.endswith("gamma"):
            parameter.set_data(ms.ops.ones_like(parameter))
        if parameter.name == "head.fc.weight":
            parameter.set_data(parameter * 100)
    described = checkpoint.Description(
        step=0, labels=("a", "b", "c"), model=config.model, clip=config.clip, cache=config.cache,
        train=config.train, cache_digest="", manifest_digest="",
    )  # fmt: skip
    file = tmp_path_factory.mktemp("trained") / "w.safetensors"
    checkpoint.save_weights(file, checkpoint.weights_of_network(net), described)
    return file, config


def test_the_head_of_a_protocol_is_used_in_place_of_the_trained_one(trained):
    """Fully convolutional: the mean of the windows' softmax.  A training clip leaves one place here."""
    file, config = trained
    clip = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 64, 64)).astype(np.uint8)
    net, _ = checkpoint.load_network(file)
    map_NCTHW = net.feature_map(normalise(ms.Tensor(clip), net.model)).asnumpy().astype(np.float64)
    weight, bias = (getattr(net.head.fc, name).asnumpy().astype(np.float64) for name in ("weight", "bias"))
    assert map_NCTHW.shape[2:] == (2, 2, 2)
    scores = []
    for top, left in np.ndindex(2, 2):
        exponential = np.exp(map_NCTHW[..., top, left].mean(2) @ weight.T + bias)
        scores.append(exponential / exponential.sum(1, keepdims=True))

    found = {}
    for head in ("trained", "pooled", "fully_conv"):
        test = EvaluateConfig(head=head, crop_size=64)
        network = inference.load(file, ["a", "b", "c"], config.model_copy(update={"evaluate": test}))
        found[head] = network(clip)
    np.testing.assert_array_equal(found["pooled"], found["trained"])
    np.testing.assert_allclose(views.softmax(found["fully_conv"]), np.mean(scores, axis=0), rtol=1e-3)
    assert np.abs(views.softmax(found["fully_conv"]) - views.softmax(found["pooled"])).max() > 1e-3


def test_other_clips_than_those_of_the_training_are_said(trained, caplog):
    file, config = trained
    clip = small_config(clip__clip_len=8).clip
    inference.load(file, ["a", "b", "c"], config.model_copy(update={"clip": clip}))
    assert "trained on clips of 4x3 and is evaluated on 8x3" in caplog.text
