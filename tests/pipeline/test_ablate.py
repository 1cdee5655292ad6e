"""Two variants from videos to one table, found again, and what a person may get wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.ablate import ablate
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.errors import ConfigError
from nonlocal_core.evaluation.ablations import TABLES, variants
from tests.commands import Warm

REPOSITORY = Path(__file__).parents[2]
PRESET = "nl1_c2d_r50_32x2_caffe2"
SMALL = {
    "cache.short_side": 36, "clip.clip_len": 8, "model.width": 2, "model.stage_blocks": (1, 1, 1, 1),
    "model.nl_res4": (0,), "model.nl_sub_sample": "none", "model.head": "pooled", "train.crop_size": 32,
    "train.steps": 2, "train.batch_size": 4, "train.micro_batch": 0, "train.precise_bn_batches": 0,
    "train.val_epochs": 0, "evaluate.num_clips": 1, "evaluate.num_crops": 1, "evaluate.crop_size": 32,
    "runtime.device": "CPU",
}  # fmt: skip


def files(workspace: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in workspace.glob("[a-z]*/*/*") if path.is_file()}


def test_two_variants_come_out_in_one_table_and_are_found_again(prefect_server: None, tmp_path: Path) -> None:
    videos_dir, names = make_toy_videos(tmp_path / "videos", num_videos=12), [f"{PRESET}_gaussian", PRESET]
    made = ablate(names, SMALL, videos_dir, tmp_path / "workspace")
    workspace = Workspace(tmp_path / "workspace")
    rows = pq.read_table(workspace.path(made.ablation) / "table.parquet").to_pylist()
    assert [row["name"] for row in rows] == names
    # As nonlocal_core.describe counts them; theta and phi have 16 kernels of 32 channels and 16 biases each.
    assert [row["num_parameters"] for row in rows] == [10_094, 10_094 + 2 * (16 * 32 + 16)]
    assert [row["published"] for row in rows] == ["72.5 / 90.2", "72.7 / 90.5"]
    assert rows[0]["p_value"] is None
    assert 0 < rows[1]["p_value"] <= 1
    for row in rows:
        assert row["top1_low"] <= row["top1"] <= row["top1_high"] <= 1
        scores = pq.read_table(workspace.root / row["path"] / "scores.parquet").to_pylist()
        right = [max(range(4), key=one["scores"].__getitem__) == one["label_id"] for one in scores]
        assert row["top1"] == sum(right) / len(right)
    assert re.search(r"\| \S+_gaussian \| [\d,]+ \| \d+\.\d\d% \(.* to .*\) \| 72\.5 / 90\.2 \| – \|", str(made))
    assert "model.width=2" in str(made), "the settings of all rows are said"
    assert str(workspace.path(made.ablation)) in str(made)
    assert len(list((workspace.root / "index").glob("*/artifact.json"))) == 1
    assert len(list((workspace.root / "cache").glob("*/artifact.json"))) == 1
    assert list(workspace.root.glob("registry/v*")) == [], "nothing is registered"

    before = files(workspace.root)
    again = ablate(names, SMALL, videos_dir, workspace.root)
    assert again.page == made.page
    assert files(workspace.root) == before, "nothing is trained, scored or written a second time"


# The paper's own order; 2b and 2d begin with the network without blocks, whose docstring does not name them.
PAPER = {
    "2a": ["71.8", "72.7", "72.5", "72.9", "72.8"],
    "2b": ["71.8", "72.7", "72.7", "72.9", "72.3"],
    "2c": ["71.8", "72.7", "73.8", "74.3", "73.1", "74.3", "75.1", "75.1"],
    "2d": ["71.8", "73.8", "75.1", "72.9", "73.1", "74.4", "74.4"],
    "2e": ["73.1", "75.1", "74.4", "74.1"],
    "2f": ["71.8", "73.1", "74.4", "73.3", "74.9", "76.0"],
    "2g": ["73.8", "74.9", "76.5", "75.3", "76.4", "77.7"],
}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_the_rows_of_the_paper_also_at_the_size_of_a_trial(table: str) -> None:
    page = (REPOSITORY / "docs" / "guides" / "ablations.md").read_text()
    (block,) = re.findall(r"flows/ablate\.py 2a ((?:.*\\\n)*.*train\.precise_bn_batches=0.*)\n", page)
    trial = dict(word.split("=", 1) for word in block.replace("\\\n", " ").split())
    trial.pop("videos_dir")
    found = variants([table], trial)
    assert [row.published.split(" / ")[0] for row in found] == PAPER[table]
    assert {row.config.model.width for row in found} == {8}
    assert [row.config.model.stage_blocks for row in found] == [
        row.config.model.stage_blocks for row in variants([table], {})
    ]


def test_settings_with_several_values_make_a_row_of_each() -> None:
    found = variants(
        ["tiny", "tiny"], {"model.pairwise": "gaussian|dot_product", "train.seed": "0|1", "model.width": 4}
    )
    assert [row.name for row in found] == [
        f"tiny model.pairwise={pairwise} train.seed={seed}"
        for pairwise in ("gaussian", "dot_product")
        for seed in (0, 1)
    ]
    assert {row.config.model.width for row in found} == {4}
    assert {row.settings for row in found} == {"model.width=4"}
    assert [row.published for row in variants([PRESET], {"model.nl_scale": "true|false"})] == ["", ""]


def test_a_regular_expression_with_alternatives_is_one_value() -> None:
    groups = "cam1|cam2"
    first, second = variants(["tiny"], {"index.group_by": groups, "train.seed": "0|1"})
    assert (first.name, first.settings) == ("tiny train.seed=0", "index.group_by=cam1|cam2")
    assert first.config.index.group_by == second.config.index.group_by == groups


@pytest.mark.parametrize(
    ("names", "overrides", "said"),
    [
        ([], {}, "nothing to compare: name a table (2a, 2b"),
        (["tiny"], {}, "nothing to compare"),
        (["2x"], {}, "there is no table 2x: there are 2a, 2b"),
        (["tinny", "2a"], {}, "there is no preset 'tinny': did you mean tiny?"),
        (["tiny"], {"model.pairwise": "gaussian|gausian"}, "model.pairwise=gausian does not fit"),
        (["tiny"], {"model.pairwise": "gaussian|gaussian"}, "model.pairwise=gaussian are the same with these"),
        (["2a"], {"model.pairwise": "gaussian"}, "are the same with these settings"),
        (["tiny", "2a"], {}, "differ in index.…, cache.… or evaluate.split"),
    ],
)
def test_what_cannot_be_compared_is_refused(names: list[str], overrides: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        variants(names, overrides)


def test_a_mistake_is_one_clear_line(warm: Warm) -> None:
    for words, said in (
        (["2a", "checkpoint=v0001"], "error: ablate.py has no parameter checkpoint: see --help"),
        (["2a", "train.epoch=2"], "error: there is no setting 'train.epoch': did you mean train.epochs"),
    ):
        done = warm.run("ablate", *words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert done.stderr.startswith(said)
