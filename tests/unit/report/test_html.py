"""The page says what the parquet files say, holds everything itself, and a real browser shows it."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser

import browser
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from nonlocal_core import html_report, registry
from nonlocal_core.artifacts.files import write_json
from nonlocal_core.artifacts.workspace import ARTIFACT_FILE, Workspace
from nonlocal_core.escaping import one_line
from nonlocal_core.evaluation import figures, intervals
from nonlocal_core.registry.lineage import lineage, text_of
from nonlocal_core.report import html, run_facts, run_report
from nonlocal_core.stages import evaluate as evaluate_stage
from nonlocal_core.stages.register import register
from tasks import report


class Parsed(HTMLParser):
    """The elements of a page with their attributes, and the text in those that have an id."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self.open = [], {}, []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append((tag, dict(attrs).get("id")))

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, key in self.open:
            if key:
                self.texts[key] = self.texts.get(key, "") + data

    def of(self, tag, **wanted):
        return [
            attrs for name, attrs in self.elements
            if name == tag and all(attrs.get(key) == value for key, value in wanted.items())
        ]  # fmt: skip


@pytest.fixture(scope="module")
def file(registered):
    return run_report.write(registered.workspace, "champion", num_attention=0)


@pytest.fixture(scope="module")
def page(file):
    return file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def scored(registered):
    folder = registered.workspace.path(registered.evaluation)
    return pq.read_table(folder / "scores.parquet", use_threads=False).to_pandas(use_threads=False)


def expected(scored):
    """The figures of the page, counted video by video."""
    places = [
        (row.label_id, sum(score >= row.scores[row.label_id] for score in row.scores), int(np.argmax(row.scores)))
        for row in scored.itertuples()
    ]
    by_label = {
        scored.label[scored.label_id == label].iloc[0]: np.mean(
            [place == 1 for own, place, _ in places if own == label]
        )
        for label in sorted({own for own, _, _ in places})
    }
    return (
        {
            "top1": np.mean([place <= 1 for _, place, _ in places]),
            "mean_class_accuracy": np.mean(list(by_label.values())),
        },
        by_label,
        places,
    )


def test_figures_are_those_of_the_scores(page, scored, registered):
    parsed = Parsed(page)
    figures, by_label, places = expected(scored)
    for key, value in figures.items():
        (found,) = parsed.of("data", id=key)
        assert float(found["value"]) == pytest.approx(value, abs=1e-12)
        assert parsed.texts[key] == f"{100 * value:.2f}%"
    assert parsed.of("data", id="top5") == [], "there are four labels"
    most, num = scored["label"].value_counts().max(), len(scored)
    assert f"95% Wilson, guessing {100 * most / num:.3g} %" in page
    is_better = registered.evaluation.guessing < intervals.wilson(round(figures["top1"] * num), num)[0]
    assert ("not better than guessing" in page) != is_better
    by_shown = {one_line(label): top1 for label, top1 in by_label.items()}
    assert {one["data-label"]: float(one["value"]) for one in parsed.of("data", **{"class": "label"})} == by_shown
    counts = np.zeros((4, 4), int)
    for own, _, taken in places:
        counts[own, taken] += 1
    cells = [int(word) for word in re.findall(r'--share: [0-9.]+">(\d+)</td>', page)]
    assert cells == counts.ravel().tolist()
    labels = json.loads((registered.workspace.path(registered.manifest) / "labels.json").read_text())
    names = [one_line(label) for label in sorted(labels, key=labels.__getitem__)]
    assert [one["title"] for one in parsed.of("th", scope="row")] == names
    split = registered.evaluation
    left = split.num_videos - split.num_scored
    assert f"{len(scored)} of {split.num_videos} videos scored, {left} quarantined" in parsed.texts["coverage"]


def test_of_all_splits_the_page_has_the_same_reasons_as_report_md(registered, tmp_path):
    shutil.copytree(registered.workspace.root, tmp_path, dirs_exist_ok=True)
    workspace, evaluate = Workspace(tmp_path), registered.config.evaluate.model_copy(update={"split": "all"})
    config = registered.config.model_copy(update={"evaluate": evaluate})
    checkpoint = registry.checkpoint_of(workspace, registered.entry.version)
    evaluation = evaluate_stage.evaluate(checkpoint, registered.cache, config, workspace)
    entry = register(checkpoint, evaluation, registered.cache, config, workspace)
    page = run_report.write(workspace, entry.version, num_attention=0).read_text(encoding="utf-8")
    said = Parsed(page).texts["coverage"].partition(" · ")[0]
    assert re.fullmatch(r"16 of 18 videos scored, 2 quarantined: \d \w+(, 1 \w+)?", said)
    assert f"- {said}\n" in (workspace.path(evaluation) / "report.md").read_text()


def test_everything_is_in_the_file(page):
    parsed = Parsed(page)
    assert not parsed.of("script")
    for _, attrs in parsed.elements:
        for name in ("src", "href", "srcset", "data", "poster", "action"):
            assert attrs.get(name, "data:").startswith("data:")
        assert not [name for name in attrs if name.startswith("on")]
    assert not re.search(r"url\(|@import|https?://", page)
    assert len(parsed.of("img")) == len(re.findall(r"frames of", page))
    assert len(page) < 400_000


def test_names_stay_names(page, registered):
    """Labels and paths with <, &, quotes and Chinese are texts, never elements."""
    parsed = Parsed(page)
    assert len(parsed.of("b")) == 9, "the names of the steps of the lineage alone"
    assert not parsed.of("img", src="x")
    labels = json.loads((registered.workspace.path(registered.manifest) / "labels.json").read_text())
    assert 'a <b>"fall" & more' in labels
    for label in labels:
        assert parsed.of("span", **{"class": "name", "title": one_line(label)})
    assert not re.search("[\0-\x09\x0b-\x1f\u202a-\u202e]", page)
    assert "<img src=x>.mp4" in parsed.texts["quarantine"]
    assert 'a <b>"fall" & more' in parsed.texts["quarantine"]


def test_quarantine_lineage_settings_and_curves(page, registered):
    parsed = Parsed(page)
    rows = registered.workspace.path(registered.cache) / "videos.parquet"
    videos = pq.read_table(rows, use_threads=False).to_pandas(use_threads=False)
    for row in videos[videos["status"] != "ok"].itertuples():
        assert row.reason in parsed.texts["quarantine"]
    for one in (registered.cache, registered.evaluation, registered.entry):
        assert one.key in parsed.texts["lineage"]
    for step in lineage(registered.workspace, registered.entry.version):
        for name, value in step.facts.items():
            assert f"{name} {text_of(value)}" in parsed.texts["lineage"]
    for one in (registered.manifest, registered.cache, registered.evaluation):
        assert one.key in parsed.texts["timings"]
    assert "clips/s" in parsed.texts["timings"]
    assert "not measured" not in parsed.texts["timings"]
    assert '<tr class="own"><td>epochs</td><td>2</td></tr>' in page
    assert "<tr><td>nesterov</td>" in page
    assert len(parsed.of("polyline", **{"class": "val"})) == 2
    drawn = parsed.of("polyline", **{"class": "each"})[0]["points"].split()
    (log,) = registered.workspace.root.glob("train/*/log.jsonl")
    assert len(drawn) == len(log.read_text().splitlines())


@pytest.mark.skipif(browser.find() is None, reason="there is no Chromium on the path, nor named by CHROMIUM")
def test_a_browser_shows_it_as_it_is_meant(file, page, scored, tmp_path):
    figures, by_label, _ = expected(scored)
    with browser.opened(file, tmp_path) as tab:
        assert tab.problems() == []
        assert tab.requests() == [file.as_uri()]
        for key, value in figures.items():
            assert float(tab.evaluate(f"document.getElementById('{key}').value")) == pytest.approx(value)
        shown = tab.evaluate("[...document.querySelectorAll('data.label')].map(e => [e.dataset.label, e.value])")
        assert {label: float(value) for label, value in shown} == {one_line(k): v for k, v in by_label.items()}
        pictures = tab.evaluate("[...document.images].map(e => e.naturalWidth)")
        assert len(pictures) == len(Parsed(page).of("img"))
        assert all(pictures)
        for width in (400, 1400):
            tab.resize(width)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
        backgrounds = []
        for dark in (False, True):
            tab.resize(1400, dark=dark)
            backgrounds.append(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert backgrounds == ["rgb(251, 251, 249)", "rgb(18, 19, 23)"]
        assert tab.problems() == []


def test_the_curves_say_how_many_steps_they_have_and_which_one_was_taken(registered):
    """After an early stop, or with the best weights, the two differ."""
    run = run_facts.gather(registered.workspace, "v0001")
    later = {**run.steps[-1], "step": 1132}
    page = html.render(registered.workspace, run._replace(steps=[*run.steps, later]))
    assert f"over 1,132 steps; the weights are those of step {run.steps[-1]['step']}</p>" in page


@pytest.mark.skipif(browser.find() is None, reason="there is no Chromium on the path, nor named by CHROMIUM")
def test_a_browser_notices_what_must_not_be(tmp_path):
    """The test above can fail: a page with a script, a picture from elsewhere and a mistake."""
    file = tmp_path / "bad.html"
    file.write_text("<img src='http://127.0.0.1:9/x.png'><script>console.error('oh'); nothing()</script>")
    with browser.opened(file, tmp_path / "profile") as tab:
        tab.evaluate("new Promise(done => setTimeout(done, 200))")
        assert len(tab.problems()) >= 3
        assert "http://127.0.0.1:9/x.png" in tab.requests()


def test_what_is_gone_is_not_measured(registered, tmp_path):
    shutil.copytree(registered.workspace.root / "registry", tmp_path / "registry")
    parsed = Parsed(run_report.write(Workspace(tmp_path), "v0001").read_text(encoding="utf-8"))
    assert parsed.texts["top1"] == f"{100 * registered.evaluation.top1:.2f}%"
    assert parsed.texts["mean_class_accuracy"] == parsed.texts["ece"] == parsed.texts["loss"] == "not measured"


def test_figures_of_metrics_json_are_shown(registered, tmp_path):
    workspace = Workspace(tmp_path)
    for name in ("registry", "evaluate"):
        shutil.copytree(registered.workspace.root / name, tmp_path / name)
    bins = [{"above": 0.5, "num": 3, "confidence": 0.7, "accuracy": 0.6}]
    file = workspace.path(registered.evaluation) / "metrics.json"
    found = json.loads(file.read_text()) | {"loss": 1.25, "ece": 0.125, "calibration": bins}
    found["top"]["1"]["wilson"] = [0.25, 0.5]
    found["by_label"][2] |= {"top1": 0.4375, "num": 16}
    found["confused"] = [{"label": "rises", "taken_for": "太极拳", "num": 9}]
    write_json(file, found)
    page = run_report.write(workspace, "v0001").read_text(encoding="utf-8")
    assert Parsed(page).texts["ece"] == "not measured", "it is not what the evaluation wrote"
    artifact = json.loads(file.with_name(ARTIFACT_FILE).read_text())
    del artifact["digests"], artifact["checksum"]  # as earlier versions wrote it
    write_json(file.with_name(ARTIFACT_FILE), artifact)
    page = run_report.write(workspace, "v0001").read_text(encoding="utf-8")
    assert Parsed(page).texts["ece"] == "12.50%"
    (bar,) = Parsed(page).of("data", **{"class": "label", "data-label": "rises"})
    assert bar["value"] == "0.4375"
    assert re.search(r"rises</td><td>太极拳</td><td class=\"number\">9 of 16</td>", page)
    assert "25.0 to 50.0%, 95% Wilson" in page
    assert 'aria-label="calibration"' in page


@pytest.mark.parametrize("num_labels", [2, 400])
def test_few_and_many_labels(registered, num_labels):
    """The same page is small with 400 labels, and every label is on it once."""
    run = run_facts.gather(registered.workspace, "v0001")
    labels = [f"label {number}" for number in range(num_labels)]
    rng = np.random.default_rng(0)
    label_N = np.repeat(np.arange(num_labels), 5)
    assert run.scored is not None
    names = run.scored["video_id"].tolist()
    scored = pd.DataFrame(
        {
            "video_id": [names[number % len(names)] for number in range(len(label_N))],
            "label_id": label_N,
            "scores": list(rng.dirichlet(np.ones(num_labels), len(label_N))),
        }
    )
    shown = run._replace(labels=labels, scored=scored, metrics=figures.figures(scored, labels))
    page = html.render(registered.workspace, shown)
    named = [one["data-label"] for one in Parsed(page).of("data", **{"class": "label"})]
    assert sorted(named) == sorted(labels)
    assert len(page) < 600_000
    assert bool(Parsed(page).of("data", id="top5")) == (num_labels == 400)


def test_command(registered, capsys):
    assert html_report.main([str(registered.workspace.root), "all", "--attention", "0"]) == 0
    assert capsys.readouterr().out.strip() == str(html.path(registered.workspace, "v0001"))
    assert html_report.main([str(registered.workspace.root), "v0009"]) == 3
    assert "there is no entry v0009: there are v0001" in capsys.readouterr().err
    assert html_report.main([str(registered.videos_dir)]) == 3


def test_a_report_that_cannot_be_made_is_no_failure_of_its_entry(registered, tmp_path, caplog):
    shutil.copytree(registered.workspace.root / "registry", tmp_path / "registry")
    (tmp_path / "reports").write_text("a file, where the folder has to be")
    report.page_of_entry(Workspace(tmp_path), "v0001", registered.config.runtime)
    assert "the report of v0001 could not be made" in caplog.text


def test_a_report_that_is_there_is_not_made_again(registered):
    file = run_report.write(registered.workspace, "v0001", num_attention=0)
    made = file.stat().st_mtime_ns
    assert run_report.write_once(registered.workspace, "v0001", registered.config.runtime) == file
    assert file.stat().st_mtime_ns == made
