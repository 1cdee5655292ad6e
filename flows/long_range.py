"""The paper's claim on two cores: blocks against none where the label is a relation far apart in space and time.

python flows/ablate.py long_range [--quick] [workspace_dir=DIR] [out=FILE.json]
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from nonlocal_core.artifacts.references import Frozen, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config import long_range as plans
from nonlocal_core.evaluation.crossval import check_out
from nonlocal_core.evaluation.long_range import Cell, LongRange
from tasks import policy
from tasks.cache import cache
from tasks.index import index
from tasks.long_range import compare, train_and_score, videos
from tasks.signature import sign


class Compared(Frozen):
    """The figures of the long-range set, and its workspace."""

    result: LongRange
    page: str
    """the figures in Markdown"""
    workspace: str
    out: str

    def __str__(self) -> str:
        """The figures for a person."""
        written = f"  written   {self.out}\n" if self.out else ""
        return f"\n{self.page}\n  figures   {self.workspace}/{self.result.path}\n{written}"


@flow(name="long_range", flow_run_name="long_range", on_running=[sign])
def long_range(quick: bool = False, workspace_dir: Path = Path("workspace"), out: Path | None = None) -> Compared:
    """Train and score what nonlocal_core/config/long_range.json says, one training on each core.

    Args:
        quick: a trial, with the rows and seeds that the plan has for it
        workspace_dir: folder that all results live in
        out: FILE.json for the figures
    """
    check_out(out)
    plan, workspace = plans.read(), Workspace(workspace_dir)
    caches: dict[str, RecordCache] = {}
    with policy.shard_pool("threads") as pool:
        for row in plan.chosen(quick):
            if row.videos not in caches:
                config = plan.config(row, plan.seeds[0])
                manifest = index(videos(row, plan, workspace), config, workspace, None, pool)
                caches[row.videos] = cache(manifest, config, workspace, pool)
        cells = [
            Cell(
                videos=row.videos,
                name=row.name,
                seed=seed,
                cache=caches[row.videos],
                config=plan.config(row, seed),
            )
            for seed in plan.seeds_of(quick)
            for row in plan.chosen(quick)
        ]
        pool.map(train_and_score, cells, workspace=workspace)
    result = compare(cells, plan, quick, workspace, out)
    page = (workspace.path(result) / LongRange.PAGE).read_text(encoding="utf-8")
    return Compared(result=result, page=page, workspace=str(workspace.root), out=str(out or ""))
