"""What another host needs to take part; that hosts share is tested with the stages that they share."""

from __future__ import annotations

import pytest
import second_host
from small import small_config

from nonlocal_core import share
from nonlocal_core.artifacts.files import sha256_of, write_checked_json
from nonlocal_core.errors import InputError
from nonlocal_core.process import shares


@pytest.fixture
def job(tmp_path):
    """A job of two chunks, whose weights the first host knows."""
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"weights")
    (tmp_path / ".locks").mkdir()
    chunks = shares.chunks_of([4, 7, 9], 2, tmp_path / "evaluate", ".parquet")
    return shares.Job(
        config=small_config(**second_host.HOSTS), root=tmp_path, weights=weights,
        weights_sha256=sha256_of(weights), chunks=tuple(chunks),
    )  # fmt: skip


def take_part(job, host):
    folder, made = job.root / "evaluate", []
    folder.mkdir(exist_ok=True)
    write_checked_json(folder / shares.SHARES_FILE, job.model_dump(mode="json"))
    shares.take_part(folder, host, shares.Job, lambda job, chunks, *where: made.append((chunks, where)))
    return made


def test_a_host_makes_its_own_share_of_what_it_reads(job):
    assert [chunk.rows for chunk in job.chunks] == [[4, 7], [9]]
    assert take_part(job, 1) == [([job.chunks[1]], (0, 1, 0))]
    job.chunks[1].file.touch()
    assert take_part(job, 1) == []


@pytest.mark.parametrize("content", [b"others", None])
def test_a_host_that_has_other_weights_is_refused(job, content):
    job.weights.write_bytes(content) if content else job.weights.unlink()
    with pytest.raises(
        InputError, match=r"w\.safetensors is not the file that the first host has: put it on a disk"
    ):
        take_part(job, 1)


@pytest.mark.parametrize("host", [-1, 0, 2])
def test_a_host_that_is_not_among_them_is_refused(job, host):
    with pytest.raises(InputError, match=rf"host {host}: there are 2, and the first of them, 0, runs the flow"):
        take_part(job, host)


def test_a_folder_of_something_else_is_refused(tmp_path, capsys):
    assert share.main([str(tmp_path / "train/k.partial"), "1"]) == 3
    assert "name the folder that the first host says" in capsys.readouterr().err
    assert share.main([str(tmp_path / "evaluate/k.partial"), "1"]) == 3
    assert "nothing is shared there, or it is made already" in capsys.readouterr().err
