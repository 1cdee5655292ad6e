from __future__ import annotations

import json
import re

import pytest

from nonlocal_core.config import settings_file
from nonlocal_core.config.tree import resolve
from nonlocal_core.errors import ConfigError


def read(tmp_path, text, name="run.yaml"):
    (tmp_path / name).write_text(text)
    return settings_file.read(tmp_path / name)


def test_keys_may_be_nested_or_dotted_in_yaml_or_json(tmp_path):
    nested = "preset: tiny\nvideos_dir: my videos\ntrain:\n  epochs: 3\n  milestones: [1, 2]\nclip.clip_len: 8\n"
    expected = {
        "preset": "tiny", "videos_dir": "my videos", "train.epochs": "3", "train.milestones": "1,2",
        "clip.clip_len": "8",
    }  # fmt: skip
    assert read(tmp_path, nested) == expected
    as_json = {"preset": "tiny", "videos_dir": "my videos", "train": {"epochs": 3, "milestones": [1, 2]}}
    assert read(tmp_path, json.dumps({**as_json, "clip.clip_len": 8}), "run.json") == expected
    assert read(tmp_path, f"{nested}labels_path:\nindex:\n  group_by:\n") == expected


def test_values_are_what_a_person_wrote(tmp_path):
    """As words of a command line: YAML itself has dates, and reads 0123 as 83, 1:30 as 90 and no as false."""
    text = "videos_dir: 2026-01-01\nlabels_path: 0123\nindex:\n  frozen_val: 1:30\n  group_by: no\n2026-01-02: ~\n"
    expected = {"videos_dir": "2026-01-01", "labels_path": "0123", "index.frozen_val": "1:30"}
    assert read(tmp_path, text) == {**expected, "index.group_by": "no"}


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("train.epochs: 0123", 123),
        ("train.milestones: [1, 2]", (1, 2)),
        ("train.milestones: [3]", (3,)),
        ("train.milestones: 4", (4,)),
        ("train.milestones: []", ()),
        ("train: {milestones: [5, 06]}", (5, 6)),
        ("train.crop_scales: [1, .8, 0.5]", (1.0, 0.8, 0.5)),
        ("train.crop_scales: [1.]", (1.0,)),
        ("train.crop_scales: 0.8", (0.8,)),
        ("train.base_lr: 1e-3", 0.001),
        ("train.base_lr: .5", 0.5),
        *((f"train.nesterov: {text}", True) for text in ("true", "True", "yes", "on")),
        *((f"model.zero_gamma: {text}", False) for text in ("false", "False", "no", "off")),
        ("index.frozen_val: 2026-01-01", "2026-01-01"),
        ("index.frozen_val: 2024", "2024"),
        ("index.frozen_val: 'null'", "null"),
        ("index.frozen_val: null", ""),
        ("index.list_columns: [path, label]", "path,label"),
    ],
)
def test_each_kind_of_value_is_the_setting_that_was_meant(tmp_path, text, setting):
    texts = read(tmp_path, text)
    section, leaf = re.findall(r"\w+", text)[:2]
    resolved = getattr(getattr(resolve("tiny", texts), section), leaf)
    assert (resolved, type(resolved)) == (setting, type(setting))


def test_an_entry_gives_all_its_settings_back(tmp_path):
    config = resolve("probe", {"train.weight_decay": 0.1, "evaluate.protocol": "10x3", "clip.fps": 25.0})
    (tmp_path / "entry.json").write_text(json.dumps({"config": config.model_dump(mode="json")}))
    assert resolve("tiny", settings_file.read(tmp_path)) == config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- 1\n- 2\n", "has no keys"),
        ("a: [", "is neither YAML nor JSON"),
        ("!!python/object/apply:os.system [true]", "is neither YAML nor JSON"),
        ("a: !!binary aaaa", "settings are plain values, and there is tag:yaml.org,2002:binary"),
        ("? [a]\n: b\n", "a key is a list"),
        ("", "has no keys"),
        ("[" * 100_000, "is neither YAML nor JSON, nor an entry: it is nested deeper than 20"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "settings have no aliases, and there is \\*a"),
        ("#" + "x" * (1 << 20), "has more than 1 MB"),
    ],
)
def test_what_is_no_file_of_settings_is_one_line(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        settings_file.read(tmp_path / "none.yaml")
