from __future__ import annotations

import re

import pytest

from nonlocal_core.config.presets import PRESETS
from nonlocal_core.config.tree import resolve
from nonlocal_core.errors import ConfigError
from nonlocal_core.models.published.profiles import PROFILES
from nonlocal_core.pretrained.__main__ import main
from nonlocal_core.pretrained.table import TABLE, Download, Package, find


@pytest.mark.parametrize("name", TABLE)
def test_weights_are_of_a_preset_whose_network_the_importer_can_make(name):
    weights = TABLE[name]
    assert weights.name == name
    assert not set("./") & set(name)  # else it would be taken for a file
    model, profile = resolve(weights.preset, {}).model, PROFILES[weights.profile]
    for key, value in profile.fixed.items():
        has_blocks = any(model.nl_blocks(stage) for stage in (2, 3, 4, 5))
        if has_blocks or not key.startswith("nl_"):
            assert getattr(model, key) == value, key
    clip = resolve(weights.preset, {}).clip
    assert profile.clip in ("", f"{clip.clip_len}x{clip.frame_interval}")
    assert weights.licence
    assert 40 < weights.size_mb < 150
    assert len(set(weights.label_names())) == len(weights.label_names()) in (400, 1000)


@pytest.mark.parametrize("name", TABLE)
def test_a_source_is_encrypted_and_its_digest_is_the_published_one(name):
    source = TABLE[name].source
    if isinstance(source, Package):
        assert re.fullmatch(r"[\w-]+==[\w.]+", source.requirement)
        assert re.fullmatch("[0-9a-f]{64}", source.sha256)
    else:
        assert source.url.startswith("https://")
        assert re.fullmatch("([0-9a-f]{8})?", source.sha256)
        assert source.file_name.endswith(f"-{source.sha256}.pth") or not source.sha256


@pytest.mark.parametrize("name", TABLE)
def test_an_accuracy_is_among_those_of_the_preset(name):
    weights = TABLE[name]
    if weights.labels == "kinetics400":
        figures = {(one.top1, one.top5) for one in PRESETS[weights.preset].published}
        assert (weights.published.top1, weights.published.top5) in figures


def test_addresses_are_different():
    sources = [weights.source for weights in TABLE.values()]
    assert len(set(sources)) == len(sources)
    assert sum(isinstance(source, Download) for source in sources) == len(sources) - 1


def test_the_labels_of_kinetics_are_in_the_order_of_the_alphabet():
    labels = TABLE["i3d_inception_k400"].label_names()
    assert list(labels) == sorted(labels)
    assert (labels[0], labels[6], labels[-1]) == ("abseiling", "arm wrestling", "zumba")


def test_what_presets_start_from_has_a_name():
    inits = {preset.init for preset in PRESETS.values()} - {"", "champion", "FILE", "IMAGENET_FILE"}
    assert inits <= TABLE.keys()


def test_a_misspelt_name():
    with pytest.raises(ConfigError, match="no weights 'i3d_inception': did you mean i3d_inception_k400"):
        find("i3d_inception")


def test_the_commands_that_only_tell(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed[1:]] == list(TABLE)
    assert main(["show", "nl5_i3d_r50_8x8_slowfast_k400"]) == 0
    shown = capsys.readouterr().out
    assert "74.0 / 91.1 (PySlowFast: val, 10 clips x 3 crops)" in shown
    assert "SHA-256   none published" in shown
    assert "tried     not fetched by us" in shown
    assert main(["get", "nothing"]) == 2
    assert capsys.readouterr().err.startswith("error: there are no weights 'nothing'")
    assert not list(tmp_path.iterdir())
