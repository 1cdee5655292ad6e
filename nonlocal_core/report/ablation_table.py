"""The table of an ablation: one row a variant, fractions 0…1 in parquet and per cent in Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from nonlocal_core.artifacts import tables, tensors
from nonlocal_core.artifacts.files import write_atomically
from nonlocal_core.artifacts.keys import digest_of, key_of
from nonlocal_core.artifacts.references import Evaluation
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.escaping import in_markdown
from nonlocal_core.evaluation import comparison, figures
from nonlocal_core.evaluation.ablations import Ablation, Scored
from nonlocal_core.report import markdown

VERSION = 1
NOTES = """\
- in brackets: 95 % confidence, by Wilson's formula
- paper: top-1 / top-5 on Kinetics-400 val, 30 views, as published
- p: McNemar's exact test against the first row, on the videos that both scored
"""


def compare(scored: Sequence[Scored], workspace: Workspace) -> Ablation:
    """The table of some variants, each compared with the first one."""
    rows = [_row(row, workspace) for row in scored]
    key = key_of(Ablation.stage, VERSION, [], [json.dumps(row) for row in rows])

    def make(folder: Path) -> Ablation:
        files = [workspace.path(row.evaluation) / Evaluation.SCORES for row in scored]
        first, *others = (comparison.ranks_of(file).to_pandas(use_threads=False) for file in files)
        for row, ranks in zip(rows[1:], others, strict=True):
            row["p_value"] = comparison.paired(first, ranks).p_value
        tables.write(pa.Table.from_pylist(rows), folder / Ablation.ROWS)
        write_atomically(folder / Ablation.PAGE, _page(rows).encode())
        return Ablation(key=key, digest=digest_of(json.dumps(rows)), path=f"{Ablation.stage}/{key}")

    return workspace.build(Ablation, key, make, {"variants": [row.model_dump(mode="json") for row in scored]})


def _row(scored: Scored, workspace: Workspace) -> dict[str, Any]:
    top = json.loads((workspace.path(scored.evaluation) / Evaluation.METRICS).read_text(encoding="utf-8"))["top"]
    shares = {f"top{k}": top[str(k)]["value"] for k in figures.KS}
    ends = {
        f"top{k}_{end}": top[str(k)]["wilson"][side]
        for k in figures.KS
        for side, end in enumerate(("low", "high"))
    }
    return {
        **scored.variant.model_dump(include={"name", "settings", "published"}),
        "num_parameters": _num_parameters(workspace.path(scored.checkpoint) / scored.checkpoint.file),
        **shares,
        **ends,
        **scored.evaluation.model_dump(include={"coverage", "path", "digest"}),
        "protocol": scored.evaluation.conditions,
        "p_value": None,
    }


def _num_parameters(file: Path) -> int:
    """The number of trainable values in a checkpoint: without BN statistics and the state of the training."""
    (_, shapes), fixed = tensors.read_header(file), ("moving_mean", "moving_variance")
    return sum(math.prod(shape) for name, shape in shapes.items() if "/" not in name and not name.endswith(fixed))


def _page(rows: Sequence[dict[str, Any]]) -> str:
    cells = [
        [
            *(row["name"], f"{row['num_parameters']:,}"),
            *(f"{row[f'top{k}']:.2%} ({row[f'top{k}_low']:.1%} to {row[f'top{k}_high']:.1%})" for k in figures.KS),
            *(row["published"] or "–", "–" if row["p_value"] is None else f"{row['p_value']:.3g}"),
        ]
        for row in rows
    ]
    table = markdown.table(["variant", "parameters", "top-1", "top-5", "paper", "p"], cells)
    scored = dict.fromkeys(f"- {in_markdown(row['coverage'])} ({in_markdown(row['protocol'])})" for row in rows)
    settings = rows[0]["settings"] or "as the presets have them"
    return "\n".join([table, "", *scored, f"- settings of all rows: {in_markdown(settings)}", NOTES])
