from __future__ import annotations

import os
import pickle
import re
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
import safetensors.numpy
from torch_files import dictionary, save, save_blobs, save_legacy, tensor

from nonlocal_core.errors import InputError
from nonlocal_core.models.published.files import parse, read

FLOATS = np.arange(12, dtype="<f4")


def entries():
    return {
        "plain": tensor(0, 12, 0, (3, 4), (4, 1)),
        "transposed": tensor(0, 12, 0, (4, 3), (1, 4)),
        "a part": tensor(0, 12, 5, (2, 2), (4, 1)),
        "half": tensor(1, 4, 0, (4,), (1,), "HalfStorage"),
        "scalar": tensor(2, 1, 0, (), (), "LongStorage"),
        "empty": tensor(3, 0, 0, (0,), (1,)),
    }


@pytest.mark.parametrize("write", [save, save_legacy])
@pytest.mark.parametrize("under", ["", "state_dict", "model_state"])
def test_pytorch_files_give_every_tensor(tmp_path, write, under):
    storages = [FLOATS, np.arange(4, dtype="<f2"), np.array([7], "<i8"), np.array([], "<f4")]
    content = dictionary(entries())
    if under:
        content = dictionary({under: content, "epoch": "I3\n"})
    file = parse(write(tmp_path / "a.pth", content, storages))
    assert list(file.tensors) == list(entries())
    assert file.beside == ({"epoch": 3} if under else {})
    np.testing.assert_array_equal(file.tensors["plain"], FLOATS.reshape(3, 4))
    np.testing.assert_array_equal(file.tensors["transposed"], FLOATS.reshape(3, 4).T)
    np.testing.assert_array_equal(file.tensors["a part"], [[5, 6], [9, 10]])
    np.testing.assert_array_equal(file.tensors["half"], [0, 1, 2, 3])
    assert (file.tensors["scalar"].shape, file.tensors["scalar"][()]) == ((), 7)
    assert file.tensors["empty"].shape == (0,)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_pickled_blobs_of_any_python(tmp_path, protocol):
    blobs: dict[str, Any] = {
        "w": np.arange(6, dtype="<f4").reshape(2, 3),
        "columns first": np.asfortranarray(np.arange(6, dtype="<f8").reshape(2, 3)),
        "counter": np.array([9]),
        "scalar": np.float32(0.5),
        "epochs": 3,
    }
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"blobs": blobs}, protocol))
    found = parse(path).tensors
    assert list(found) == ["w", "columns first", "counter", "scalar"]
    for name, array in found.items():
        np.testing.assert_array_equal(array, blobs[name])
        assert array.dtype == blobs[name].dtype


def test_blobs_that_python_2_pickled(tmp_path):
    values = np.random.default_rng(0).normal(size=(3, 5, 7)).astype("<f4")
    found = parse(save_blobs(tmp_path / "a.pkl", {"w": values, "b": FLOATS})).tensors
    np.testing.assert_array_equal(found["w"], values)
    np.testing.assert_array_equal(found["b"], FLOATS)


def test_mindspore_and_safetensors_files(tmp_path):
    values: dict[str, Any] = {
        "a.weight": np.random.default_rng(0).normal(size=(2, 3)).astype("<f4"),
        "b": np.array([1, 2], np.float32),
    }
    ms.save_checkpoint(
        [{"name": name, "data": ms.Tensor(value)} for name, value in values.items()],
        str(tmp_path / "a.ckpt"),
        append_dict={"epoch_num": 3, "note": "text"},
    )
    safetensors.numpy.save_file(values, tmp_path / "a.safetensors", metadata={"by": "timm"})
    for name in ("a.ckpt", "a.safetensors"):
        found = parse(tmp_path / name).tensors
        for key, value in values.items():
            np.testing.assert_array_equal(found[key], value)
    assert parse(tmp_path / "a.safetensors").beside == {"by": "timm"}


class Runs:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def containers(malicious: bytes, folder: Path):
    """The same pickle as each kind of file."""
    bare = folder / "a.pkl"
    bare.write_bytes(malicious)
    first = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    (folder / "old.pth").write_bytes(first + pickle.dumps({"little_endian": True}, 2) + malicious)
    (folder / "system.pth").write_bytes(first + malicious)
    return [bare, folder / "old.pth", folder / "system.pth", save(folder / "new.pth", malicious)]


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("depth", ["alone", "in the state"])
@pytest.mark.parametrize(
    ("function", "args"),
    [(Path.touch, (Path,)), (os.system, ("touch {}",)), (eval, ("open({!r}, 'w').close()",)), (os.mkdir, ("{}",))],
)
def test_a_pickle_that_would_run_code_is_refused(tmp_path, protocol, depth, function, args):
    touched = tmp_path / "touched"
    filled = [touched if arg is Path else arg.format(str(touched)) for arg in args]
    call = Runs(function, *filled)
    malicious = pickle.dumps(call if depth == "alone" else {"state_dict": {"w": call}}, protocol)
    pickle.loads(malicious)
    assert touched.exists()  # it would
    touched.rmdir() if touched.is_dir() else touched.unlink()
    for path in containers(malicious, tmp_path):
        with pytest.raises(InputError, match=r"refused \S+: only tensors and plain data"):
            parse(path)
    assert not touched.exists()


@pytest.mark.parametrize(
    "name",
    [
        *(
            "os.system",
            "posix.system",
            "subprocess.Popen",
            "builtins.eval",
            "builtins.getattr",
            "__builtin__.eval",
        ),
        *(
            "builtins.object",
            "copyreg._reconstructor",
            "operator.attrgetter",
            "functools.partial",
            "types.FunctionType",
        ),
        *("torch.load", "torch.hub.load", "torch.storage._load_from_bytes", "numpy.load", "numpy.memmap"),
        *("numpy.core.multiarray.fromfile", "numpy.core.multiarray.__builtins__", "numpy.ndarray.__class__"),
        *("collections.OrderedDict.fromkeys", "torch._utils._rebuild_tensor_v2.__globals__", "_codecs.lookup"),
    ],
)
@pytest.mark.parametrize("opcode", ["global", "stack global"])
def test_a_refusal_names_what_was_refused(tmp_path, name, opcode):
    module, _, attribute = name.rpartition(".")
    for where in [(module, attribute), *([tuple(name.split(".", 1))] if name.count(".") > 1 else [])]:
        code = f"c{where[0]}\n{where[1]}\n" if opcode == "global" else f"V{where[0]}\nV{where[1]}\n\x93"
        path = tmp_path / "a.pkl"
        path.write_bytes(f"\x80\x04{code}(S'exit 1'\ntR.".encode("latin1"))
        with pytest.raises(InputError, match=rf"refused {re.escape(name)}:"):
            parse(path)


OTHER_OPCODES = {
    "INST": b"(S'exit 1'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'exit 1'\no.",
    "OBJ of an allowed name": b"(ccollections\nOrderedDict\no.",
    "INST of an allowed name": b"(icollections\nOrderedDict\n.",
    "NEWOBJ": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
    "NEWOBJ_EX": b"\x80\x04ccollections\nOrderedDict\n)}\x92.",
    "EXT1": b"\x80\x02\x82\x01.",
    "EXT2": b"\x80\x02\x83\x01\x00.",
    "EXT4": b"\x80\x02\x84\x01\x00\x00\x00.",
    "PERSID": b"Pstorage\n.",
    "NEXT_BUFFER": b"\x80\x05\x97.",
    "FROZENSET": b"\x80\x04(\x91.",
}


@pytest.mark.parametrize("opcode", OTHER_OPCODES)
def test_an_instruction_that_data_does_not_need_is_unknown(tmp_path, opcode):
    path = tmp_path / "a.pkl"
    path.write_bytes(OTHER_OPCODES[opcode])
    with pytest.raises(InputError):
        parse(path)


NAMES = ["torch._utils\n_rebuild_tensor_v2", "collections\nOrderedDict", "torch\nFloatStorage", "numpy\nndarray"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("attribute", ["__defaults__", "__setstate__", "__reduce__", "copy", "name"])
def test_a_file_cannot_alter_what_it_is_given(tmp_path, name, attribute):
    state = dictionary({attribute: "I1\n"})
    for argument in (state, f"(N{state}t"):
        with pytest.raises(InputError, match="refused to alter"):
            parse(save(tmp_path / "a.pth", f"c{name}\n{argument}b"))


CALLS = {
    "text": "S'a'\n(tR",
    "a name that is no function": "cnumpy\nndarray\n(I9\ntR",
    "a storage": "ctorch\nFloatStorage\n(I9\ntR",
    "a dictionary": "(d(tR",
    "what a call gave": "ccollections\nOrderedDict\n(tR(tR",
}


@pytest.mark.parametrize("call", CALLS)
def test_only_functions_of_tensors_are_called(tmp_path, call):
    with pytest.raises(InputError, match="refused to call"):
        parse(save(tmp_path / "a.pth", CALLS[call]))


def test_attributes_of_an_ordered_dictionary_are_dropped(tmp_path):
    ordered = "ccollections\nOrderedDict\n(tR" + dictionary({"items": "I1\n", "__class__": "I1\n"}) + "b"
    content = f"{ordered}S'w'\n{tensor(0, 12, 0, (12,), (1,))}s"
    np.testing.assert_array_equal(parse(save(tmp_path / "a.pth", content, [FLOATS])).tensors["w"], FLOATS)


class Setstate:
    def __reduce__(self):
        make: Any = np.core.multiarray
        return make._reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), np.dtype("O"), False, [os])


ARRAYS = {
    "an array of objects": pickle.dumps({"blobs": {"w": np.array([{}, []], object)}}, 2),
    "an array of records": pickle.dumps({"blobs": {"w": np.zeros(2, [("a", "f4")])}}, 2),
    "an array of text": pickle.dumps({"blobs": {"w": np.array(["a", "b"])}}, 2),
    "an array of dates": pickle.dumps({"blobs": {"w": np.array(["2020"], "M8[D]")}}, 2),
    "a scalar object": b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\nI0\nI1\ntRS'aaaaaaaa'\ntR.",
    "data for an object": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    b"(I1\n(I1\ntcnumpy\ndtype\n(S'f4'\nI0\nI1\ntRI00\n(lI1\natb.",
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_of_anything_but_numbers_are_refused(tmp_path, kind):
    path = tmp_path / "a.pkl"
    path.write_bytes(ARRAYS[kind])
    with pytest.raises(InputError, match=r"refused an array of .*: only numbers"):
        parse(path)


@pytest.mark.parametrize("shape", [(7,), (5,), (-1, -6), (2, -3), (10**9, 10**9)])
def test_an_array_is_as_large_as_its_data(tmp_path, shape):
    text = "".join(f"I{size}\n" for size in shape)
    dtype = "cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
    made = "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    path = tmp_path / "a.pkl"
    path.write_bytes(f"(dS'w'\n{made}(I1\n({text}t{dtype}I00\nS'{'a' * 24}'\ntbs.".encode())
    with pytest.raises(InputError, match=r"shape is not that of its data|is no file of weights"):
        parse(path)


BOMBS = {
    "a memo at a huge place": b"(dr\xff\xff\xff\x7f.",
    "a memo at a text's huge place": b"(dp99999999999999\n.",
    "bytes that are not there": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"a.",
    "a bytearray that is not there": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"a.",
    "text that is not there": b"X\xff\xff\xff\x7fa.",
    "a frame that is not there": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.",
    "a number that is not there": b"\x8b\xff\xff\xff\x7f1.",
    "one text copied many times": b"X"
    + struct.pack("<I", 10**5)
    + b"a" * 10**5
    + b"q\x010"
    + b"c_codecs\nencode\nq\x02(h\x01X\x06\x00\x00\x00latin1tq\x030"
    + b"h\x02h\x03R" * 10**4
    + b".",
    "one list read many times": b"("
    + b"(I1\nI2\nt" * 10**4
    + b"lq\x010"
    + b"ccollections\nOrderedDict\n(h\x01tR" * 10**4
    + b".",
    "a key that takes for ever": b"}" + b"(" * 10**5 + b"t" * 10**5 + b"Ns.",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_stays_small(tmp_path, bomb):
    path = tmp_path / "a.pkl"
    path.write_bytes(BOMBS[bomb])
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            parse(path)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


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
@pytest.mark.parametrize("write", [save, save_legacy])
def test_a_tensor_cannot_reach_outside_its_storage(tmp_path, offset, size, stride, write):
    path = write(tmp_path / "a.pth", dictionary({"w": tensor(0, 12, offset, size, stride)}), [np.zeros(12, "<f4")])
    with pytest.raises(InputError, match="outside its storage"):
        parse(path)


def test_a_storage_is_described_once(tmp_path):
    both = {"a": tensor(0, 12, 0, (12,), (1,)), "b": tensor(0, 6, 0, (6,), (1,), "DoubleStorage")}
    with pytest.raises(InputError, match="storage 0, which the file describes in two ways"):
        parse(save_legacy(tmp_path / "a.pth", dictionary(both), [FLOATS]))


WHOLE = dictionary({"w": tensor(0, 12, 0, (12,), (1,))})


def test_tricks_with_zip_archives(tmp_path):
    outside = tmp_path / "outside"
    with zipfile.ZipFile(tmp_path / "path.pth", "w") as archive:
        archive.writestr("../outside", "x")
        archive.writestr("some/data.pkl", dictionary({"w": tensor("../../outside", 12, 0, (12,), (1,))}) + ".")
    packed = save(tmp_path / "packed.pth", WHOLE, [FLOATS], zipfile.ZIP_DEFLATED)
    bomb = save(tmp_path / "bomb.pth", b"N" * 10**7, (), zipfile.ZIP_DEFLATED)
    two = tmp_path / "two.pth"
    with zipfile.ZipFile(two, "w") as archive:
        archive.writestr("a/data.pkl", f"{WHOLE}.")
        archive.writestr("b/data.pkl", f"{WHOLE}.")
    twice = save(tmp_path / "twice.pth", WHOLE, [FLOATS])
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(twice, "a") as archive:
        archive.writestr("some/data/0", FLOATS.tobytes())
    for path, told in {
        tmp_path / "path.pth": "is no file of weights, or is damaged",
        packed: "compressed",
        bomb: "compressed",
        two: "no checkpoint of PyTorch",
        twice: "lie over each other",
    }.items():
        with pytest.raises(InputError, match=told):
            parse(path)
    assert not outside.exists()


def test_entries_of_an_archive_that_share_their_bytes(tmp_path):
    path = save(tmp_path / "a.pth", WHOLE, [np.zeros(10**4, "<f4")] * 3)
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    directory, tail = data[start:end], data[end:]
    entry = next(one for one in directory.split(b"PK\x01\x02") if b"some/data/0" in one)
    many = directory + b"".join(
        b"PK\x01\x02" + entry.replace(b"some/data/0", b"some/aaa%03d" % number) for number in range(100)
    )
    count = 100 + tail[10]
    tail = tail[:8] + struct.pack("<HHI", count, count, len(many)) + tail[16:]
    path.write_bytes(data[:start] + many + tail)
    assert len(zipfile.ZipFile(path).infolist()) == count
    with pytest.raises(InputError, match="lie over each other"):
        parse(path)


def test_files_that_are_no_checkpoints(tmp_path):
    text = tmp_path / "text.pth"
    text.write_text("no zip")
    empty = tmp_path / "empty.pth"
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("readme", "nothing")
    whole = save(tmp_path / "whole.pth", WHOLE, [FLOATS])
    cut = tmp_path / "cut.pth"
    cut.write_bytes(whole.read_bytes()[:-40])
    old = save_legacy(tmp_path / "whole_old.pth", WHOLE, [FLOATS])
    cut_old = tmp_path / "cut_old.pth"
    cut_old.write_bytes(old.read_bytes()[:-4])
    big = save_legacy(tmp_path / "big.pth", WHOLE, [FLOATS], little=False)
    longer = save_legacy(tmp_path / "longer.pth", WHOLE, [np.zeros(13, "<f4")])
    for name in ("a.ckpt", "a.safetensors"):
        (tmp_path / name).write_bytes(b"\x00\x01" * 20)
    for path, told in {
        text: "is no file of weights, or is damaged",
        empty: "no checkpoint of PyTorch",
        cut: "is no file of weights, or is damaged",
        save(tmp_path / "short.pth", WHOLE, [FLOATS[:11]]): "is no file of weights, or is damaged",
        save(tmp_path / "gone.pth", WHOLE): "is no file of weights, or is damaged",
        save(tmp_path / "other.pth", dictionary({"epoch": "S'a'\n"})): "no dictionary of tensors",
        save(tmp_path / "numbers.pth", dictionary({"epoch": "I3\n"})): "no tensors",
        cut_old: "is no file of weights, or is damaged",
        big: "little-endian",
        longer: "not as long",
        tmp_path / "a.ckpt": "is no file of weights, or is damaged",
        tmp_path / "a.safetensors": "is no file of weights, or is damaged",
    }.items():
        with pytest.raises(InputError, match=told):
            parse(path)


def test_a_mindspore_tensor_is_as_large_as_its_data(tmp_path):
    from mindspore.train.checkpoint_pb2 import Checkpoint

    message = Checkpoint()
    value = message.value.add()
    value.tag = "w"
    value.tensor.dims.extend([10**6, 10**6])
    value.tensor.tensor_type = "Float32"
    value.tensor.tensor_content = b"aaaa"
    (tmp_path / "a.ckpt").write_bytes(message.SerializeToString())
    with pytest.raises(InputError, match="is no file of weights, or is damaged"):
        parse(tmp_path / "a.ckpt")


def test_a_file_of_another_process_is_the_same(tmp_path):
    storages = [FLOATS, np.arange(4, dtype="<f2"), np.array([7], "<i8"), np.array([], "<f4")]
    path = save(tmp_path / "a.pth", dictionary(entries()), storages)
    here, there = parse(path).tensors, read(path).tensors
    assert list(there) == list(here)
    for name, array in here.items():
        np.testing.assert_array_equal(there[name], array)
        assert (there[name].dtype, there[name].shape) == (array.dtype, array.shape)


def test_what_another_process_refuses_is_one_line_with_the_path(tmp_path):
    bare = tmp_path / "a.pkl"
    bare.write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    for path, told in {
        bare: rf"^{bare}: refused os\.system: only tensors and plain data are read$",
        tmp_path / "missing.pth": "no such file",
        tmp_path: "is a folder",
    }.items():
        with pytest.raises(InputError, match=told):
            read(path)


@pytest.mark.parametrize("num_dims", [9, 33, 65, 200, 100_000])
@pytest.mark.parametrize("step", [0, 1, 1 << 40])
def test_no_array_has_more_dimensions_than_a_network_needs(tmp_path, num_dims, step):
    size, stride = (1,) * num_dims, (step,) * num_dims
    path = save(tmp_path / "a.pth", dictionary({"w": tensor(0, 12, 0, size, stride)}), [FLOATS])
    with pytest.raises(InputError, match="more than 8 dimensions"):
        parse(path)


@pytest.mark.parametrize(("size", "stride"), [((1,), (1 << 62,)), ((0, 3), (1, 1 << 63)), ((1 << 64,), (0,))])
def test_sizes_and_strides_fit_into_a_machine_word(tmp_path, size, stride):
    path = save(tmp_path / "a.pth", dictionary({"w": tensor(0, 12, 0, size, stride)}), [FLOATS])
    with pytest.raises(InputError, match="outside its storage"):
        parse(path)


def test_strided_tensors_are_those_of_numpy(tmp_path):
    cases = {
        "expanded": ((3, 4), (0, 1)),
        "every other": ((2, 3), (6, 2)),
        "swapped": ((2, 3, 2), (1, 4, 2)),
        "windows": ((3, 4), (2, 1)),
        "one in a row": ((1, 12), (77, 1)),
    }
    tensors = {name: tensor(0, 12, 0, size, stride) for name, (size, stride) in cases.items()}
    found = parse(save(tmp_path / "a.pth", dictionary(tensors), [FLOATS])).tensors
    for name, (size, stride) in cases.items():
        view = np.lib.stride_tricks.as_strided(FLOATS, size, [4 * step for step in stride])
        np.testing.assert_array_equal(found[name], view)


def test_bfloat16_is_widened(tmp_path):
    values = np.array([1.0, -2.5, 3.140625, 0.0, np.inf], "<f4")  # each has a short mantissa
    halves = (values.view("<u4") >> 16).astype("<u2")
    content = dictionary({"w": tensor(0, 5, 0, (5,), (1,), "BFloat16Storage")})
    for write in (save, save_legacy):
        found = parse(write(tmp_path / "a.pth", content, [halves])).tensors["w"]
        np.testing.assert_array_equal(found, values)
        assert found.dtype == np.float32
    header = b'{"w":{"dtype":"BF16","shape":[5],"data_offsets":[0,10]}}'
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + halves.tobytes())
    np.testing.assert_array_equal(parse(path).tensors["w"], values)


BUSY = {
    "a dtype of tuples in tuples": b"cnumpy\ndtype\n(I1\n"
    + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60))
    + b"I0\nI1\ntR.",
    "a persistent id of tuples in tuples": b"I1\n"
    + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60))
    + b"q\x60N\x86q\x61(h\x61h\x61h\x61h\x61h\x61tQ.",
    "keys that collide": b"}("
    + b"".join(
        b"\x8a\x0b" + (number * ((1 << 61) - 1)).to_bytes(11, "little") + b"N" for number in range(1, 200_000)
    )
    + b"u.",
}


@pytest.mark.parametrize("kind", BUSY)
def test_a_small_file_is_refused_soon(tmp_path, kind):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02" + BUSY[kind])
    started_s = time.process_time()
    with pytest.raises(InputError, match="refused"):
        parse(path)
    assert time.process_time() - started_s < 10  # without a bound, some of them take years


def test_the_state_of_a_training_is_passed_over(tmp_path):
    """As mmaction2 1.x writes it: objects of its own with state, attributes by name, an optimizer of its own."""
    history = (
        "cmmengine.logging.history_buffer\nHistoryBuffer\n(tR"
        + dictionary({"_log_history": "I1\n", "_statistics_methods": "(d"})
        + "b"
    )
    getter = "c__builtin__\ngetattr\n(cmmengine.logging.history_buffer\nHistoryBuffer\nS'mean'\ntR"
    plain = "c__builtin__\nfrozenset\n((lI1\natR"
    new = "cmyproject.config\nSettings\n(t\x81" + dictionary({"a": "I1\n"}) + "b"
    content = dictionary(
        {
            "meta": dictionary({"epoch": "I1\n", "cfg": "S'model = 1'\n"}),
            "message_hub": dictionary(
                {"loss": history, "mean": getter, "settings": new, "seen": plain, "type": "ctorch\nint32\n"}
            ),
            "optimizer": dictionary(
                {"state": "(d", "param_groups": "(lp9\n" + dictionary({"lr": "F0.1\n"}) + "a"}
            ),
            "state_dict": dictionary({"w": tensor(0, 12, 0, (12,), (1,))}),
        }
    )
    file = parse(save(tmp_path / "epoch_1.pth", f"{content}.".encode("latin1"), [FLOATS]))
    np.testing.assert_array_equal(file.tensors["w"], FLOATS)
    assert file.beside["meta"] == {"epoch": 1, "cfg": "model = 1"}


def test_no_object_of_another_package_stands_for_a_tensor(tmp_path):
    content = dictionary({"w": "cmyproject\nWeights\n(I1\ntR"})
    with pytest.raises(InputError, match="no dictionary of tensors"):
        parse(save(tmp_path / "a.pth", content))
