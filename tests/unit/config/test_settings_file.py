from __future__ import annotations

import json

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
