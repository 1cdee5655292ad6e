from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from PIL import Image, ImageSequence
from small import small_config

from nonlocal_core import attention as command
from nonlocal_core.config.model import ModelConfig, map_sizes
from nonlocal_core.config.tree import resolve
from nonlocal_core.data.video import decoding
from nonlocal_core.errors import ConfigError
from nonlocal_core.models import inception
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.normalise import normalise
from nonlocal_core.report import arrows, attention, run_facts, run_report

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def net():
    ms.set_seed(1)
    model = small_config(model__nl_res3=(0,), model__nl_res4=(0,), model__pairwise="embedded_gaussian").model
    made = I3D(model, 4)
    made.set_train(False)
    return made


@pytest.fixture(scope="module")
def clip():
    """Grey noise with a bright square that moves in the lower right."""
    made = np.random.default_rng(0).integers(100, 104, (3, 8, 64, 64), dtype=np.uint8)
    for t in range(8):
        made[:, t, 40:52, 36 + 2 * t : 48 + 2 * t] = 250
    return made


def test_look_is_a_row_of_the_block_in_the_network(net, clip):
    found = attention.look(net, clip, "res3.nl0", (1, 2, 3))
    x = attention.block_input(net, "res3.nl0", clip)
    assert x.shape[2:] == found.map_size == (4, 8, 8)
    matrix_PQ = attention.blocks(net)["res3.nl0"].weights(x).asnumpy()[0]
    row = matrix_PQ[1 * 64 + 2 * 8 + 3]
    np.testing.assert_allclose(found.weights_THW.ravel(), row, rtol=1e-5)
    assert found.share == pytest.approx(np.sort(row)[-20:].sum(), rel=1e-5)
    assert [one.weight for one in found.strongest] == pytest.approx(np.sort(row)[::-1][:20], rel=1e-5)


def test_the_block_in_the_network_gets_what_the_stage_gives_it(net, clip):
    """Recomputed by hand: the cells before the block, one after the other."""
    x = normalise(ms.Tensor(clip[None]), net.model)
    x = net.pool2(net.res2(net.pool1(ms.ops.relu(net.stem(x)))))
    x = next(iter(net.res3.cell_list))(x)
    np.testing.assert_allclose(attention.block_input(net, "res3.nl0", clip).asnumpy(), x.asnumpy(), rtol=1e-5)


def test_names_of_blocks_and_mistakes(net, clip):
    assert attention.find_block(net, "") == "res3.nl0"
    assert attention.find_block(net, "res4.0") == attention.find_block(net, "res4.nl0") == "res4.nl0"
    with pytest.raises(ConfigError, match=r"'res5\.1': this network has res3\.nl0, res4\.nl0"):
        attention.find_block(net, "res5.1")
    with pytest.raises(
        ConfigError, match=r"no position 4,0,0: res3\.nl0 has 4 steps in time, 8 rows and 8 columns"
    ):
        attention.look(net, clip, "res3.0", (4, 0, 0))
    without = I3D(small_config(model__nl_res4=()).model, 4)
    with pytest.raises(ConfigError, match="no non-local block"):
        attention.find_block(without, "")


def test_arrows_start_where_it_moves(net, clip):
    t, y, x = attention.look(net, clip).query
    at = attention.grid(net.model, "res3.nl0", 8, 64)
    frame = round(at.frame(t))
    assert abs(at.pixel(y) - 46) <= 8
    assert min(abs(at.pixel(x) - edge) for edge in (36 + 2 * frame, 48 + 2 * frame)) <= 8


def seen(layers, count):
    """First and last input that each of the first `count` outputs sees, one layer after the other."""
    spans = [(place, place) for place in range(400)]
    for kernel, stride, pad in layers:
        inside = [range(place * stride - pad, place * stride - pad + kernel) for place in range(100)]
        # Padding is seen too: it is where an input would lie.
        first, step = spans[0][0], spans[1][0] - spans[0][0]
        last = spans[0][1]
        spans = [(first + step * one[0], last + step * one[-1]) for one in inside]
    return spans[:count]


@pytest.mark.parametrize(
    "settings", [{}, {"pool1_pad": 0, "pool1_kernel_t": 3}, {"stem_stride_t": 1, "pool2_kernel_t": 1}]
)
@pytest.mark.parametrize("stage", [2, 3, 4])
def test_places_are_in_the_middle_of_what_they_see(stage, settings):
    model = ModelConfig(**settings)
    at = attention.grid(model, f"res{stage}.nl0", 32, 224)
    space = [(7, 2, 3), (3, 2, model.pool1_pad), *[(3, 2, 1)] * (stage - 2)]
    time: list[tuple[int, int, int]] = [(model.stem_kernel_t, model.stem_stride_t, model.stem_kernel_t // 2)]
    time += [(model.pool1_kernel_t, model.pool1_stride_t, (model.pool1_kernel_t - 1) // 2)]
    if stage > 2:
        time += [(model.pool2_kernel_t, model.pool2_stride_t, (model.pool2_kernel_t - 1) // 2)]
    assert [at.pixel(place) for place in range(3)] == [sum(span) / 2 for span in seen(space, 3)]
    assert [at.frame(place) for place in range(3)] == [sum(span) / 2 for span in seen(time, 3)]
    frames, rows = {part: (frames, rows) for part, frames, rows in map_sizes(model, 32, 224)}[f"res{stage}"]
    assert at.pixel(rows - 1) < 224
    assert at.frame(frames - 1) < 32


def middles(layers: list[tuple[int, int]], size: int) -> dict[int, float]:
    """The middle of the inputs that each output of MindSpore's max pools sees, of those that see no padding."""
    first, last = (sign * np.arange(size, dtype=np.float32) for sign in (-1, 1))
    for kernel, stride in layers:
        pool = inception.max_pool((kernel, 1, 1), (stride, 1, 1))
        first, last = (pool(ms.Tensor(x.reshape(1, 1, -1, 1, 1))).asnumpy().ravel() for x in (first, last))
    widths = last + first
    return {int(place): float(last[place] - first[place]) / 2 for place in np.flatnonzero(widths == widths.max())}


@pytest.mark.parametrize(("clip_len", "side"), [(64, 224), (58, 230), (77, 201)])
@pytest.mark.parametrize("stage", [2, 3, 4, 5])
def test_places_of_the_first_i3d_are_in_the_middle_of_what_its_layers_with_strides_see(stage, clip_len, side):
    model = resolve("nl_i3d_inception", {}).model
    at = attention.grid(model, f"res{stage}.nl0", clip_len, side)
    layers = inception.strided_layers(stage)
    frames = middles([(kernel[0], stride[0]) for kernel, stride in layers], clip_len)
    pixels = middles([(kernel[1], stride[1]) for kernel, stride in layers], side)
    assert len(frames) > 0 < len(pixels)
    assert {step: at.frame(step) for step in frames} == frames
    assert {place: at.pixel(place) for place in pixels} == pixels


def test_arrows_end_at_their_keys(net, clip):
    """The strip differs from one without arrows exactly where a key lies; red is the strongest."""
    found = attention.look(net, clip)
    scene = attention.scene(found, clip, net.model)
    assert len(scene.arrows) == 20
    assert scene.shown == [0, 2, 4, 6]
    strip, bare = arrows.strip(scene), arrows.strip(scene._replace(arrows=[scene.arrows[0]]))
    assert strip.shape == bare.shape
    changed = np.abs(strip.astype(int) - bare).max(2) > 60
    scale = strip.shape[1] / (4 * 64 + 3 * arrows.GAP * 64)
    head = round(0.62 * 130)
    for arrow in scene.arrows[1:]:
        x = round((arrow.step * 64 * (1 + arrows.GAP) + arrow.x) * scale)
        y = round(arrow.y * scale) + head
        assert changed[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5].any(), arrow


def test_a_key_lies_between_the_positions_that_it_is_the_greatest_of(net, clip):
    """res3 has a row every 8 pixels; key 1 is the greatest of rows 2 and 3, at pixels 16 and 24."""
    weights = np.zeros((4, 4, 4), np.float32)
    weights[3, 1, 2] = 1.0
    found = attention.Attention(
        "res3.nl0", "gaussian", (1, 5, 6), (4, 8, 8), weights, attention.strongest(weights)
    )
    scene = attention.scene(found, clip, net.model)
    assert scene.arrows == [arrows.Arrow(3, 36.0, 20.0, 1.0)]
    assert scene.start == arrows.Arrow(1, 48.0, 40.0, 1.0)


def test_negative_weights_are_blue_and_said(net, clip):
    scene = attention.scene(attention.look(net, clip), clip, net.model)
    cold = scene._replace(arrows=[one._replace(weight=-one.weight) for one in scene.arrows])
    warm_sum, cold_sum = (arrows.strip(one).astype(int)[80:].sum((0, 1)) for one in (scene, cold))
    assert cold_sum[2] > warm_sum[2]
    assert cold_sum[0] < warm_sum[0]


def test_command(registered, tmp_path, capsys):
    videos = sorted((registered.videos_dir / "rises").glob("toy-*.mp4"))
    words = [str(videos[0]), "--workspace", str(registered.workspace.root), "--out", str(tmp_path / "out")]
    assert command.main([*words, "--block", "res3.0", "--query", "0,1,2"]) == 0
    said = capsys.readouterr().out
    assert "v0001, res3.nl0, dot product" in said
    assert "query 0,1,2" in said
    assert len([line for line in said.splitlines() if line.startswith("  ")]) <= 20
    stem = f"{videos[0].stem}.res3.nl0"
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        f"{stem}.{end}" for end in ("png", "gif", "mp4")
    }
    with Image.open(tmp_path / "out" / f"{stem}.gif") as gif:
        assert len(list(ImageSequence.Iterator(gif))) == registered.config.clip.clip_len
    probed = decoding.probe(tmp_path / "out" / f"{stem}.mp4")
    assert (probed.codec, probed.num_frames) == ("h264", registered.config.clip.clip_len)
    assert Fraction(probed.fps).limit_denominator(100) == 6

    for wrong, code, text in [
        (["--query", "1,2"], 2, "is not of the form t,y,x"),
        (["--block", "res5.0"], 2, "this network has"),
        (["--entry", "v0007"], 3, "entry=v0007: there is no entry v0007: there are v0001"),
        (["--entry", "nowhere.safetensors"], 3, "entry=nowhere.safetensors: there is no file"),
    ]:
        assert command.main([*words, *wrong]) == code
        assert text in capsys.readouterr().err
    assert command.main([*words[:-1], str(videos[0])]) == 3
    assert "cannot be made (File exists): name another folder" in capsys.readouterr().err
    words[0] = str(registered.videos_dir / "rises" / "cut.mp4")
    assert command.main(words) == 3
    assert "cut.mp4 cannot be read" in capsys.readouterr().err


def test_the_report_shows_what_the_network_looks_at(registered):
    """Drawn in a process of its own, for videos that were scored."""
    words = [sys.executable, "-m", "nonlocal_core.html_report", str(registered.workspace.root), "--attention", "2"]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    page = Path(done.stdout.strip()).read_text(encoding="utf-8")
    scored = run_facts.gather(registered.workspace, "v0001").scored
    pictures = page.split('alt="attention in ')[1:]
    assert len(pictures) == 2
    assert all("res3.nl0, dot product" in part for part in pictures)
    assert page.count("data:image/jpeg") > 2
    assert scored is not None
    assert len(scored) >= 2
    run_report.write(registered.workspace, "v0001", num_attention=0)


def test_an_entry_is_asked_for(tmp_path, capsys):
    words = ["video.mp4", "--workspace", str(tmp_path / "nowhere"), "--out", str(tmp_path)]
    assert command.main(words) == 3
    assert "there is no registry in" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()
