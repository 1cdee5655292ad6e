"""What MindSpore's plug-ins for GPU and Ascend register: run as a process of its own, prints it as JSON.

The plug-ins of the installed wheel are loaded without their hardware: stand-ins for the libraries of CUDA and CANN
have the functions that are missing, and none of them does anything.  What loading registers is asked for in C++.

{"kernels": …, "replaced": [NAME, …]}; for the GPU, kernels are {NAME: [[same, inputs, outputs], …]} with types,
for Ascend [NAME, …]; what is replaced needs no kernel: MindSpore computes it with other operators.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
CUDA = (  # the first one answers for all: it alone has no versions, which the loader would compare
    "libcuda.so.1", "libcublas.so.11", "libcurand.so.10", "libcudnn.so.8", "libcudart.so.11.0",
    "libcusolver.so.11", "libcufft.so.10", "libcusparse.so.11", "libnvrtc.so.11.2",
)  # fmt: skip
CANN = (
    "libge_runner.so", "libgraph.so", "libascendcl.so", "libmsprofiler.so", "libshmem.so", "libhccl.so",
    "libd_collective.so",
)  # fmt: skip
PLUGINS = {
    "GPU": ("gpu/libcuda_ops.so.11", "libmindspore_gpu.so.11.6"),
    "Ascend": ("ascend/libmindspore_ascend_res_manager.so", "libmindspore_ops_ascend.so"),
}
FOREIGN = re.compile(r"(__)?cu[A-Z_bdsrf]|nvrtc|acl|hal|Hccl|_ZNK?2ge|_ZNK?9mindspore6device\w*CollectiveCommLib")
"""names of functions of CUDA, CANN and the one library of MindSpore that needs CANN at once"""
ADAPTERS = ("libmindspore_ascend_res_manager.so", "libmindspore_graph_ir.so")
"""where the names of CANN's operators stand that have no kernel of aclnn"""
INCLUDES = (
    ".", "mindspore", "mindspore/ccsrc", "mindspore/core", "mindspore/core/include", "mindspore/core/mindrt",
    "mindspore/core/mindrt/include", "mindspore/ops", "mindspore/ops/include", "third_party",
    "third_party/include", "third_party/robin_hood_hashing",
)  # fmt: skip


def mindspore_dir() -> Path:
    """The folder of the installed package, found without importing it."""
    found = find_spec("mindspore")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def symbols(files: list[Path], *options: str) -> set[str]:
    """The names of symbols that libraries define or lack."""
    said = subprocess.run(["nm", "-D", *options, *map(str, files)], capture_output=True, text=True).stdout
    return {line.split()[-1].partition("@")[0] for line in said.splitlines() if " " in line}


def make_stand_ins(folder: Path, plugins: list[Path], names: tuple[str, ...]) -> None:
    """Write libraries that have what the plug-ins lack; a function of C gives 0, one of C++ an empty map."""
    lacking = symbols(plugins, "--undefined-only") - symbols(plugins, "--defined-only")
    lines = [".text"]
    for name in sorted(filter(FOREIGN.match, lacking)):
        gives = "lea room(%rip),%rax" if name.startswith("_Z") else "xorl %eax,%eax"
        lines += [f".globl {name}", f".type {name},@function", f"{name}: {gives}", "ret"]
    lines += ['.section .data.rel,"aw"', ".balign 16", "room: .quad 0,0,0,room+8,room+8,0", ".zero 65536"]
    source = folder / "stand_in.s"
    source.write_text("\n".join([*lines, '.section .note.GNU-stack,"",@progbits', ""]))
    for name in names:
        subprocess.run(
            ["g++", "-shared", f"-Wl,-soname,{name}", "-o", str(folder / name), str(source)], check=True
        )


def make_probe(folder: Path) -> Path:
    """Compile probe.cc with the headers of the wheel."""
    probe = folder / "probe.so"
    includes = [f"-I{mindspore_dir() / 'include' / path}" for path in INCLUDES]
    words = ["g++", "-w", "-shared", "-fPIC", "-std=c++17", "-D_GLIBCXX_USE_CXX11_ABI=0"]
    words += ["-DENABLE_FAST_HASH_TABLE=1", *includes]  # as MindSpore itself is built
    words += [f"-I{sysconfig.get_paths()['include']}", str(HERE / "probe.cc"), "-o", str(probe)]
    subprocess.run(words, check=True)
    return probe


def load(folder: Path, device: str) -> ctypes.CDLL:
    """Import MindSpore, load a plug-in with stand-ins from a folder, and the probe."""
    sys.setdlopenflags(os.RTLD_GLOBAL | os.RTLD_NOW)
    import mindspore  # noqa: F401

    for name in CUDA if device == "GPU" else CANN:
        ctypes.CDLL(str(folder / name), os.RTLD_GLOBAL)
    for name in PLUGINS[device] if device == "GPU" else PLUGINS[device][1:]:  # which loads the other
        ctypes.CDLL(str(mindspore_dir() / "lib/plugin" / name), os.RTLD_GLOBAL)
    probe = ctypes.CDLL(str(folder / "probe.so"))
    probe.registered.restype = probe.listed.restype = probe.replaced.restype = ctypes.c_char_p
    return probe


def of_gpu(probe: ctypes.CDLL) -> dict[str, list[list[object]]]:
    """The kernels for GPUs with their types."""
    found: dict[str, list[list[object]]] = {}
    both = probe.registered(b"N9mindspore6kernel18NativeGpuKernelModE", 1).decode() + probe.listed().decode()
    for line in both.splitlines():
        name, same, inputs, outputs = line.split("\t")
        found.setdefault(name, []).append([same == "same", inputs.split(), outputs.split()])
    return found


def of_ascend(probe: ctypes.CDLL) -> list[str]:
    """The operators for Ascend: of CANN's aclnn by their register, of its ACL by the names in the plug-in."""
    texts = b"".join((mindspore_dir() / "lib/plugin/ascend" / name).read_bytes() for name in ADAPTERS)
    found = probe.registered(b"N9mindspore6kernel14AclnnKernelModE", 0).decode().split()
    return found + [text.decode() for text in set(re.findall(rb"[A-Z][A-Za-z0-9]{2,40}(?=\0)", texts))]


def main() -> None:
    """Print the registers of one device; the folder has the stand-ins and the probe, or gets them."""
    folder, device = Path(sys.argv[1]), sys.argv[2]
    if sys.argv[3:] == ["load"]:
        probe = load(folder, device)
        kernels = of_gpu(probe) if device == "GPU" else of_ascend(probe)
        print(json.dumps({"kernels": kernels, "replaced": probe.replaced().decode().split()}))
        return
    libraries = mindspore_dir() / "lib"
    plugins = [libraries / "plugin" / name for name in PLUGINS[device]]
    make_stand_ins(folder, plugins, CUDA if device == "GPU" else CANN)
    make_probe(folder)
    # The loader looks for what the plug-ins name in folders that are set before a process starts.
    folders = [folder, libraries / "plugin/ascend", libraries / "plugin", libraries]
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, folders)), "GLOG_v": "4"}
    subprocess.run([sys.executable, __file__, str(folder), device, "load"], check=True, env=environment)


if __name__ == "__main__":
    main()
