from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from nonlocal_core.errors import InputError
from nonlocal_core.model_section import ModelConfig
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.weights import load_mmaction2, read_torch

MODEL = ModelConfig(width=4, stage_blocks=(1, 1, 1, 1), nl_res3=(0,), nl_res4=())


def tensor(key, numel, offset, size, stride, storage="FloatStorage"):
    """The pickle, in protocol 0, of one tensor as PyTorch writes it."""
    storage = f"(S'storage'\nctorch\n{storage}\nS'{key}'\nS'cpu'\nI{numel}\ntQ"
    sizes = "".join(f"I{n}\n" for n in size)
    strides = "".join(f"I{n}\n" for n in stride)
    args = f"({storage}I{offset}\n({sizes}t({strides}tI00\nccollections\nOrderedDict\n(tRt"
    return f"ctorch._utils\n_rebuild_tensor_v2\n{args}R"


def dictionary(entries):
    """The pickle of a dictionary from names to pickles."""
    return "(d" + "".join(f"S'{name}'\n{value}s" for name, value in entries.items())


def save(path, pickled, storages=(), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("some/data.pkl", pickled if isinstance(pickled, bytes) else f"{pickled}.")
        archive.writestr("some/byteorder", "little")
        for key, array in enumerate(storages):
            archive.writestr(f"some/data/{key}", array.tobytes())
    return path


def save_state(path, state):
    """A checkpoint with these arrays."""
    entries = {}
    for key, (name, value) in enumerate(state.items()):
        stride = [step // value.itemsize for step in value.strides]
        entries[name] = tensor(key, value.size, 0, value.shape, stride)
    return save(path, dictionary({"state_dict": dictionary(entries)}), list(state.values()))


def mmaction2_state(net):
    """The network's values under mmaction2's names, written out by hand for this small one."""
    part = {"a": "conv1", "b": "conv2", "c": "conv3", "proj": "downsample"}
    leaf = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    inside = {"theta": "theta.conv", "phi": "phi.0.conv", "g": "g.0.conv", "out": "conv_out.conv"}
    state = {}
    for param in net.get_parameters():
        name = param.name.replace("head.fc.", "cls_head.fc_cls.").replace("stem.", "backbone.conv1.")
        name = re.sub(r"res(\d)\.nl0\.norm", r"res\1.nl0.conv_out.norm", name)
        name = re.sub(r"(nl0)\.(theta|phi|g|out)\.", lambda m: f"{m[1]}.{inside[m[2]]}.", name)
        name = re.sub(r"res(\d)\.nl0", lambda m: f"backbone.layer{int(m[1]) - 1}.0.non_local_block", name)
        name = re.sub(r"res(\d)\.0\.(\w+)", lambda m: f"backbone.layer{int(m[1]) - 1}.0.{part[m[2]]}", name)
        name = re.sub(r"norm\.(\w+)$", lambda m: f"bn.{leaf[m[1]]}", name)
        state[name] = param.asnumpy()
    return state


@pytest.fixture
def drawn():
    """A small network whose every parameter differs from a new one's."""
    net = I3D(MODEL, num_classes=5)
    rng = np.random.default_rng(0)
    for param in net.get_parameters():
        param.set_data(ms.Tensor(rng.uniform(0.5, 1.0, param.shape).astype(np.float32)))
    return net


def test_read_torch_gives_every_tensor(tmp_path):
    floats, halves = np.arange(12, dtype="<f4"), np.arange(4, dtype="<f2")
    longs, empty = np.array([7], "<i8"), np.array([], "<f4")
    entries = {
        "plain": tensor(0, 12, 0, (3, 4), (4, 1)),
        "transposed": tensor(0, 12, 0, (4, 3), (1, 4)),
        "a part": tensor(0, 12, 5, (2, 2), (4, 1)),
        "half": tensor(1, 4, 0, (4,), (1,), "HalfStorage"),
        "scalar": tensor(2, 1, 0, (), (), "LongStorage"),
        "empty": tensor(3, 0, 0, (0,), (1,)),
    }
    for content in (dictionary(entries), dictionary({"model_state": dictionary(entries), "epoch": "I3\n"})):
        read = read_torch(save(tmp_path / "a.pth", content, [floats, halves, longs, empty]))
        assert list(read) == list(entries)
        np.testing.assert_array_equal(read["plain"], floats.reshape(3, 4))
        np.testing.assert_array_equal(read["transposed"], floats.reshape(3, 4).T)
        np.testing.assert_array_equal(read["a part"], [[5, 6], [9, 10]])
        np.testing.assert_array_equal(read["half"], [0, 1, 2, 3])
        assert read["scalar"].shape == ()
        assert read["scalar"] == 7
        assert read["empty"].shape == (0,)


class Runs:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("depth", ["alone", "in the state"])
def test_a_pickle_that_would_run_code_is_refused(tmp_path, protocol, depth):
    touched = tmp_path / "touched"
    content = Runs(Path.touch, touched) if depth == "alone" else {"state_dict": {"w": Runs(Path.touch, touched)}}
    malicious = pickle.dumps(content, protocol)
    pickle.loads(malicious)
    assert touched.exists()  # it would
    touched.unlink()
    with pytest.raises(InputError, match=r"a\.pth: refused \S+: only tensors and plain data"):
        read_torch(save(tmp_path / "a.pth", malicious))
    assert not touched.exists()


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.eval",
        "builtins.getattr",
        "torch.load",
        "torch._utils._rebuild_parameter",
        "numpy.load",
    ],
)
def test_a_refusal_names_what_was_refused(tmp_path, name):
    module, _, attribute = name.rpartition(".")
    with pytest.raises(InputError, match=rf"refused {re.escape(name)}:"):
        read_torch(save(tmp_path / "a.pth", f"c{module}\n{attribute}\n(S'exit 1'\ntR"))


@pytest.mark.parametrize(
    "name", ["torch._utils\n_rebuild_tensor_v2", "collections\nOrderedDict", "torch\nFloatStorage"]
)
def test_a_file_cannot_alter_what_it_is_given(tmp_path, name):
    slots = "(N" + dictionary({"__defaults__": "(t", "copy": "I1\n"}) + "t"
    for state in (dictionary({"copy": "I1\n"}), slots):
        with pytest.raises(InputError, match="cannot be read"):
            read_torch(save(tmp_path / "a.pth", f"c{name}\n{state}b"))


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (13,), (1,)),
        (1, (12,), (1,)),
        (0, (2, 2), (11, 1)),
        (-1, (2,), (1,)),
        (11, (2,), (-1,)),
        (0, (-1,), (1,)),
        (0, (10**6, 10**6), (0, 0)),
    ],
)
def test_a_tensor_cannot_reach_outside_its_storage(tmp_path, offset, size, stride):
    path = save(tmp_path / "a.pth", dictionary({"w": tensor(0, 12, offset, size, stride)}), [np.zeros(12, "<f4")])
    with pytest.raises(InputError, match="outside its storage"):
        read_torch(path)


def test_files_that_are_no_checkpoints(tmp_path):
    missing = tmp_path / "missing.pth"
    text = tmp_path / "text.pth"
    text.write_text("no zip")
    empty = tmp_path / "empty.pth"
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("readme", "nothing")
    whole = save(tmp_path / "whole.pth", dictionary({"w": tensor(0, 12, 0, (12,), (1,))}), [np.zeros(12, "<f4")])
    cut = tmp_path / "cut.pth"
    cut.write_bytes(whole.read_bytes()[:-40])
    short = save(tmp_path / "short.pth", dictionary({"w": tensor(0, 12, 0, (12,), (1,))}), [np.zeros(11, "<f4")])
    gone = save(tmp_path / "gone.pth", dictionary({"w": tensor(0, 12, 0, (12,), (1,))}))
    packed = save(tmp_path / "packed.pth", dictionary({"w": tensor(0, 4, 0, (4,), (1,))}), [np.zeros(4, "<f4")], 8)
    other = save(tmp_path / "other.pth", dictionary({"epoch": "I3\n"}))
    for path, told in {
        missing: "no such file",
        text: "no checkpoint of PyTorch 1.6 or later",
        empty: "no checkpoint of PyTorch",
        cut: "no checkpoint of PyTorch 1.6 or later",
        short: "cannot be read",
        gone: "cannot be read",
        packed: "compressed",
        other: "no dictionary of tensors",
    }.items():
        with pytest.raises(InputError, match=told):
            read_torch(path)


def test_load_mmaction2_fills_every_parameter(tmp_path, drawn):
    net = I3D(MODEL, num_classes=5)
    state = {**mmaction2_state(drawn), "backbone.conv1.bn.num_batches_tracked": np.zeros((), np.float32)}
    load_mmaction2(net, save_state(tmp_path / "a.pth", state))
    for ours, theirs in zip(net.get_parameters(), drawn.get_parameters(), strict=True):
        np.testing.assert_array_equal(ours.asnumpy(), theirs.asnumpy(), err_msg=ours.name)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda state: state.pop("backbone.layer2.0.conv1.conv.weight"),
            r"1 missing: backbone\.layer2\.0\.conv1\.conv",
        ),
        (lambda state: state.update(extra=np.zeros(3, np.float32)), "1 left over: extra"),
        (
            lambda state: state.update({"cls_head.fc_cls.bias": np.zeros(6, np.float32)}),
            r"1 of another shape: cls_head\.fc_cls\.bias \(6,\) for head\.fc\.bias \(5,\)",
        ),
    ],
)
def test_load_mmaction2_takes_all_or_nothing(tmp_path, drawn, change, told):
    state = mmaction2_state(drawn)
    change(state)
    net = I3D(MODEL, num_classes=5)
    before = {param.name: param.asnumpy().copy() for param in net.get_parameters()}
    with pytest.raises(InputError, match=told):
        load_mmaction2(net, save_state(tmp_path / "a.pth", state))
    assert all(np.array_equal(before[param.name], param.asnumpy()) for param in net.get_parameters())


def test_a_pool_that_the_file_does_not_have_is_noticed(tmp_path, drawn):
    net = I3D(MODEL.model_copy(update={"nl_sub_sample": "none"}), num_classes=5)
    with pytest.raises(InputError, match=r"4 missing: .*non_local_block\.g\.conv\.bias.*left over.*g\.0\.conv"):
        load_mmaction2(net, save_state(tmp_path / "a.pth", mmaction2_state(drawn)))
