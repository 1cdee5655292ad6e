"""The notebook runs as a person runs it, in a kernel of its own, and shows what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from nonlocal_core import registry
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.pretrained import store
from tests.pages import REPOSITORY

BOOK = REPOSITORY / "examples" / "nonlocal.ipynb"
PARAMETERS = "NUM_VIDEOS, EPOCHS = 16, 1"
"""what the tests of every change run it with: a small folder, and no time to learn"""


def book() -> Any:
    return nbformat.read(BOOK, as_version=4)


def tags(cell: Any) -> list[str]:
    return list(cell.metadata.get("tags", []))


def run(notebook: Any, folder: Path) -> str:
    """All that the cells of a notebook show as text, once they have run in a folder."""
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(folder)}}).execute()
    return "\n".join(shown(cell) for cell in notebook.cells if cell.cell_type == "code")


def shown(cell: Any) -> str:
    """What a cell prints, and the text of what it displays."""
    texts = (output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)
    return "\n".join(texts)


def pictures(notebook: Any) -> int:
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return sum("image/png" in output.get("data", {}) for output in outputs)


def test_it_is_kept_without_outputs_and_with_headings_in_two_languages() -> None:
    notebook = book()
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if "outputs" in cell)
    headings = re.findall(r"^#+ .*$", "\n".join(cell.source for cell in notebook.cells), re.MULTILINE)
    headings = [heading for heading in headings if "·" in heading]
    assert len(headings) == 9
    assert all(re.search(r"· .*[\u4e00-\u9fff]", heading) for heading in headings)


def test_its_links_resolve() -> None:
    links = re.findall(r"\]\(([^)\s#]+)", "\n".join(cell.source for cell in book().cells))
    assert len(links) > 4
    assert [link for link in links if not (BOOK.parent / link).exists()] == []


def test_its_fast_part_shows_what_it_says(tmp_path: Path) -> None:
    notebook = book()
    notebook.cells = [cell for cell in notebook.cells if "slow" not in tags(cell)]
    (parameters,) = (cell for cell in notebook.cells if "parameters" in tags(cell))
    parameters.source = PARAMETERS
    text = run(notebook, tmp_path)
    (top1,) = re.findall(r"^top-1 +(.*) % of 4, .* guessing 25 %", text, re.MULTILINE)
    workspace = Workspace(tmp_path / "workspace")
    (version, entry), *others = registry.entries(workspace).items()
    assert (version, others) == ("v0001", [])
    assert float(top1) == pytest.approx(100 * entry.evaluation.top1, abs=0.05)
    assert "{'falls': 4, 'grows': 4, 'rises': 4, 'shrinks': 4}" in text
    table = next(line for line in text.splitlines() if line.startswith("taken for"))
    assert set(table.split()[2:]) <= {"falls", "grows", "rises", "shrinks"}
    scores = [float(score) for score in re.findall(r"'(?:falls|grows|rises|shrinks)': (0\.\d+|[\de.-]+)", text)]
    assert sum(scores[4:8]) == pytest.approx(1), "of a file"
    assert scores[8:12] == pytest.approx(scores[4:8], abs=1e-6), "of its frames"
    assert scores[12:16] != pytest.approx(scores[8:12], abs=1e-5), "of them backwards"
    assert pictures(notebook) == 2
    assert "reports/v0001.html" in text
    assert "the 20 strongest carry" in text
    assert "'mmaction2.safetensors'" in text
    assert (tmp_path / "workspace/exported/preprocess.py").exists()
    assert {file.name for file in tmp_path.iterdir()} == {"workspace"}


@pytest.mark.campaign("long")
@pytest.mark.timeout(3600)
def test_all_of_it_learns(tmp_path: Path) -> None:
    """With its own parameters, and with the pretrained weights where they were fetched."""
    notebook = book()
    if not store.checkpoint_path("i3d_inception_k400").exists():
        notebook.cells = [cell for cell in notebook.cells if "slow" not in tags(cell)]
    text = run(notebook, tmp_path)
    assert "not better than guessing" not in text
    has_slow = any("slow" in tags(cell) for cell in notebook.cells)
    assert len(re.findall(r"^top-1 ", text, re.MULTILINE)) == 1 + has_slow
