"""The docs quote nothing that is not there: commands parse, and settings, files, links and names exist."""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import inspect
import re
import runpy
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from flows.catalogue import LONG_RANGE
from nonlocal_core.artifacts import Checkpoint, Evaluation, Manifest, RecordCache
from nonlocal_core.artifacts.references import Features
from nonlocal_core.config import Config, key_value, resolve
from nonlocal_core.config.presets import PRESETS
from nonlocal_core.config.tree import settings
from nonlocal_core.data.manifest import frozen_split, manifest_table, probe_cache
from nonlocal_core.data.records import cache_table, kept_features, store
from nonlocal_core.evaluation import comparison, score_table, view_table
from nonlocal_core.evaluation.ablations import TABLES
from nonlocal_core.evaluation.crossval import CrossvalRequest
from nonlocal_core.models.checkpoint import Description
from nonlocal_core.models.i3d import I3D
from nonlocal_core.registry import Facts, Parent
from nonlocal_core.registry.state_file import Decision, Move, State
from nonlocal_core.report import crossval_table
from tests.pages import (
    REPOSITORY,
    SEEDS_OWN,
    anchors,
    blocks,
    commands,
    links,
    pages,
    spans,
    words,
)

KEYS = {setting.key for setting in settings()}
SECTION = "|".join(Config.model_fields)
SETTING = re.compile(rf"({SECTION})\.([a-z]\w*)(=\S*)?")
FILE = re.compile(r"(json|jsonl|csv|txt|py|md|parquet|safetensors|html|npz|pth|avi|mp4|key|png)$")
PRESET = re.compile(r"(nl\d*_)?(i3d|c2d)_r\d+_\d+x\d+\w*$")
PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_]*(\.\w+)?$|.*(^|[/=])[A-Z][A-Z0-9_]{1,}\b|N$|M$|…|.*\.\.\.")
PAGES = pages()


@pytest.fixture(params=PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def page(request: pytest.FixtureRequest) -> Path:
    """Each page in turn."""
    found: Path = request.param
    return found


class ParsedError(Exception):
    """What a command's own parser made of its words."""

    def __init__(self, namespace: argparse.Namespace) -> None:
        self.namespace = namespace


@pytest.fixture
def _stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a command go no further than its parser."""

    def stopping(parse: Any) -> Any:
        def parsed(*arguments: Any, **others: Any) -> NoReturn:
            raise ParsedError(parse(*arguments, **others))

        return parsed

    for name in ("parse_args", "parse_intermixed_args"):
        monkeypatch.setattr(argparse.ArgumentParser, name, stopping(getattr(argparse.ArgumentParser, name)))


@pytest.mark.usefixtures("_stopped")
def test_commands_parse(page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(REPOSITORY)
    problems = []
    for command in commands(page):
        if re.search(r"[./]NAME\b", command.text):
            continue  # the name of any
        try:
            check_command(words(command.text), monkeypatch)
        except (Exception, SystemExit) as error:
            if isinstance(error, SystemExit) and not error.code:
                continue  # --help
            text = f"{error} {capsys.readouterr().err.strip()[-200:]}"
            problems.append(f"{command.place}: {command.text}: {text}")
    assert not problems, "\n".join(problems)


def check_command(given: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise what is wrong with a command."""
    if given[0] == "make":
        assert set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)) >= {
            *given[1:2]
        }
    elif given[:2] == ["python", "-m"]:
        check_module(given[2], given[3:])
    elif given[:3] == ["prefect", "deployment", "run"]:
        check_deployment(given[3], given[4:])
    elif given[0] == "python" and given[1].startswith("flows/"):
        check_flow(Path(given[1]), given[2:], monkeypatch)
    elif given[0] == "python" and given[1].endswith(".py"):
        source = Path(given[1]).read_text()
        missing = [word for word in given[2:] if word.startswith("--") and f'"{word}"' not in source]
        assert not missing, f"no option {missing}"
    else:
        known = ("prefect", "pip", "dask", "source", "export")
        assert given[0] in known, "commands begin with a bare python, prefect, make, pip or dask"


def check_module(name: str, given: list[str]) -> None:
    """`python -m NAME …`: the module is there, and its parser takes the words."""
    if importlib.util.find_spec(f"{name}.__main__") if _is_package(name) else False:
        name = f"{name}.__main__"
    assert importlib.util.find_spec(name), f"no module {name}"
    main = getattr(importlib.import_module(name), "main", None) if name.startswith("nonlocal_core") else None
    if main is None or not given:
        return
    try:
        main(["3" if word in ("NAME", "N") else word for word in given])
    except ParsedError as parsed:
        if preset := getattr(parsed.namespace, "preset", ""):
            places = ("videos_dir=", "workspace_dir=")
            check_settings(preset, [word for word in parsed.namespace.settings if not word.startswith(places)])


def _is_package(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.submodule_search_locations is not None


def check_flow(file: Path, given: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`python flows/NAME.py …`: its parser takes the words, and they are presets, parameters and settings."""
    monkeypatch.setattr(sys, "argv", [str(file), *(word for word in given if "[" not in word)])
    try:
        runpy.run_path(str(file), run_name="__main__")
    except ParsedError as parsed:
        found = parsed.namespace
    flow_name = {"evaluate": "evaluate_checkpoint"}.get(file.stem, file.stem)
    parameters = inspect.signature(getattr(importlib.import_module(f"flows.{file.stem}"), flow_name)).parameters
    if file.stem == "ablate" and "long_range" in given:
        assert {word.partition("=")[0] for word in found.words} <= {*LONG_RANGE.parameters}
        return
    if file.stem == "ablate":
        given = [word for word in found.words if "=" in word]
        names = [word for word in found.words if "=" not in word and not PLACEHOLDER.match(word)]
        assert {*names} <= {*TABLES, *PRESETS}
        presets = [name for name in names if name in PRESETS]
    else:
        given, presets = [*found.words], []
        if file.stem != "predict" and given and "=" not in given[0]:
            presets = [given.pop(0)]
    own = (
        {"out", "draw", "features", "window_s", "hop_s", "checkpoint", "workspace_dir"}
        if file.stem == "predict"
        else {*parameters}
    )
    given = [word for word in given if word.partition("=")[0] not in own]
    for preset in presets or ["tiny"]:
        check_settings(preset, given)


def check_settings(preset: str, given: list[str]) -> None:
    """Raise what is wrong with a preset and settings of it; words in capitals stand for a reader's own."""
    pairs = dict(word.split("=", 1) for word in given if word not in ("key=value", "..."))
    assert {*pairs} <= KEYS, f"no settings { ({*pairs} - KEYS) }"
    real = {key: value.split("|")[0] for key, value in pairs.items() if not PLACEHOLDER.match(value)}
    resolve("tiny" if PLACEHOLDER.match(preset) else preset, real)


def check_deployment(name: str, given: list[str]) -> None:
    """`prefect deployment run NAME -p …`: prefect.yaml has it, and its flow has the parameters."""
    deployments = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    entrypoints = {deployment["name"]: deployment["entrypoint"] for deployment in deployments}
    flow_name, _, short = name.rpartition("/")
    assert short in entrypoints, f"no deployment {short}"
    file, _, function = entrypoints[short].partition(":")
    flow = getattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), function)
    assert flow_name in ("", flow.name)
    parameters = [word.partition("=")[0] for word in given if "=" in word]
    assert {*parameters} <= {*inspect.signature(flow).parameters}


def test_python_imports_what_is_there(page: Path) -> None:
    for language, first, lines in blocks(page):
        if language == "python":
            tree = ast.parse("\n".join(lines))
            names: dict[str, Any] = {}
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and str(node.module).startswith("nonlocal_core"):
                    for alias in node.names:
                        names[alias.name] = _member(str(node.module), alias.name)
                elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    owner = names.get(node.value.id)
                    assert not inspect.ismodule(owner) or hasattr(owner, node.attr), f"{page}:{first} {node.attr}"


def _member(module: str, name: str) -> Any:
    found = importlib.import_module(module)
    return getattr(found, name) if hasattr(found, name) else importlib.import_module(f"{module}.{name}")


def test_settings_and_presets_exist(page: Path) -> None:
    problems = []
    for quote in spans(page):
        for word in quote.text.split():
            try:
                check_word(word)
            except (AssertionError, ValidationError) as error:
                problems.append(f"{quote.place}: {word}: {error}")
    assert not problems, "\n".join(problems)


def check_word(word: str) -> None:
    """Raise what is wrong with a word that looks like a setting or a preset."""
    if (setting := SETTING.match(word)) and not FILE.match(setting[2]):
        section, leaf, value = setting[1], setting[2], (setting[3] or "=")[1:].strip("…,")
        assert f"{section}.{leaf}" in KEYS, "no such setting"
        if value and not PLACEHOLDER.match(value) and "," not in value and value[0] != "[":
            field = type(Config.model_fields[section].default).model_fields[leaf]
            TypeAdapter(field.rebuild_annotation()).validate_python(key_value.value_of(value))
    if PRESET.match(word):
        assert word in PRESETS, "no such preset"


def test_files_exist(page: Path) -> None:
    folders = (REPOSITORY, REPOSITORY / "nonlocal_core", page.parent)
    missing = []
    for quote in spans(page):
        for word in quote.text.split():
            found = re.fullmatch(r"[\w./-]+\.(py|md|toml|yaml|yml|cff|txt|json)", word)
            is_ours = re.match(r"(nonlocal_core|flows|tasks|tests|benchmarks|docs|\.ci)/", word) or word.endswith(
                ".py"
            )
            if found and is_ours and "/" in word and "NAME" not in word and word not in SEEDS_OWN:
                missing += (
                    [] if any((folder / word).exists() for folder in folders) else [f"{quote.place}: {word}"]
                )
    assert not missing, "\n".join(missing)


def test_links_resolve(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, anchor = link.text.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(f"{link.place}: {link.text}")
    assert not broken, "\n".join(broken)


@pytest.fixture(scope="module")
def cells() -> set[str]:
    """Names of the parts of the network with the most blocks that a page may name."""
    config = resolve("nl10_c2d_r50_32x2_caffe2", {"model.width": 1})
    return {name for name, _ in I3D(config.model, 2).cells_and_names()}


def test_blocks_are_called_as_the_network_calls_them(page: Path, cells: set[str]) -> None:
    text = page.read_text(encoding="utf-8")
    named = {*re.findall(r"--block ([\w.]+)", text)}
    not_blocks = {name for name in named if not re.fullmatch(r"res[2-5]\.nl\d+|NAME|BLOCK", name)}
    named |= {name for quote in spans(page) for name in re.findall(r"^res[2-5]\.\w+(?:\.\w+)*$", quote.text)}
    odd = {name for name in named if name.startswith("res") and name not in cells | _parameters(cells)}
    assert not not_blocks | odd


def _parameters(cells: set[str]) -> set[str]:
    return {f"{cell}.{leaf}" for cell in cells for leaf in ("weight", "bias", "gamma", "beta")}


def test_commands_are_written_in_one_way() -> None:
    """After `source .venv/bin/activate`, which these pages say."""
    for page in PAGES:
        given = [command.text for command in commands(page)]
        assert not [text for text in given if text.startswith(".venv/")], page
    for name in ("README.md", "README.zh-CN.md", "docs/start/first_run.md", "CONTRIBUTING.md"):
        assert "source .venv/bin/activate" in [command.text for command in commands(REPOSITORY / name)], name


def test_the_chinese_readme_has_what_the_english_one_has() -> None:
    """Commands, links and tables; words are for a person to compare."""
    languages = {
        "README.md",
        "README.zh-CN.md",
        "docs/start/from_the_seed.md",
        "docs/start/from_the_seed.zh-CN.md",
    }
    found = []
    for name in ("README.md", "README.zh-CN.md"):
        page = REPOSITORY / name
        lines = page.read_text().splitlines()
        quoted = [re.split(r"\s#|\s{2,}", command.text)[0] for command in commands(page)]
        linked = {quote.text for quote in links(page) if not quote.text.startswith("#")} - languages
        settings = set(re.findall(r"`(\w+\.\w+=[^`]*|\w+_dir=[^`]*)`", page.read_text()))
        count = Counter(line[:2] for line in lines if line.startswith(("##", "| ", "- ")))
        found.append((quoted, linked, settings, count))
    assert found[0] == found[1]


def test_every_page_is_in_the_site_and_in_the_readme() -> None:
    site = (REPOSITORY / "mkdocs.yml").read_text()
    named = {quote.text for quote in links(REPOSITORY / "README.md")}
    for page in (REPOSITORY / "docs").rglob("*.md"):
        name = page.relative_to(REPOSITORY / "docs")
        assert f": {name}\n" in site, name
        assert f"docs/{name}" in named or page.name in ("index.md", "from_the_seed.zh-CN.md"), name


@pytest.mark.parametrize("name", ["settings.md", "networks.md"])
def test_what_is_made_from_the_program_is_not_stale(name: str) -> None:
    made = runpy.run_path(str(REPOSITORY / "docs" / "generate.py"))["PAGES"]
    page = (REPOSITORY / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert page == made[name](), "run `python docs/generate.py`"
    assert page.count("\n| `") > 60


def test_the_page_of_the_long_range_set_is_that_of_its_run() -> None:
    made = runpy.run_path(str(REPOSITORY / "docs" / "generate.py"))["long_range"]
    page = (REPOSITORY / "docs" / "evidence" / "long_range.md").read_text(encoding="utf-8")
    assert page == made(), "run `python docs/generate.py`"


TABLES_ON_DISK: dict[str, pa.Schema] = {
    "index/known/part-ID.parquet": probe_cache.SCHEMA,
    "index/frozen/NAME.parquet": frozen_split.SCHEMA,
    "cache/KEY/videos.parquet": cache_table.SCHEMA,
    "records/SETTINGS/shard-ID.parquet": store.SCHEMA,
    "features/KEY/videos.parquet": kept_features.SCHEMA,
    "evaluate/KEY/views.parquet": view_table.SCHEMA,
    "crossval/KEY/predictions.parquet": crossval_table.SCHEMA,
    "registry/vNNNN/ranks.parquet": comparison.RANKS,
}


@pytest.mark.parametrize("title", TABLES_ON_DISK)
def test_the_columns_of_a_file_are_those_of_the_page(title: str) -> None:
    text = (REPOSITORY / "docs" / "reference" / "files.md").read_text()
    _, _, section = text.partition(f"### `{title}`\n")
    rows = re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", section.partition("\n#")[0], re.MULTILINE)
    kinds = [re.sub(r"list<\w+: (\w+)>", r"list of \1", str(field.type)) for field in TABLES_ON_DISK[title]]
    assert rows == list(zip(TABLES_ON_DISK[title].names, kinds, strict=True))


def test_the_versions_of_files_are_those_of_the_page() -> None:
    text = (REPOSITORY / "docs" / "reference" / "files.md").read_text()
    schemas = [*TABLES_ON_DISK.values(), manifest_table.SCHEMA, score_table.SCHEMA]
    versions = {store.VERSION_KEY: store.VERSION}
    for schema in schemas:
        versions.update(schema.metadata or {})
    named = re.findall(r"Version: `(nonlocal_core\.\w+)` = (\d+)\.", text)
    assert sorted(named) == sorted((key.decode(), version.decode()) for key, version in versions.items())


@pytest.mark.parametrize(
    "record",
    [
        Manifest,
        RecordCache,
        Features,
        Checkpoint,
        Evaluation,
        Description,
        Facts,
        Parent,
        State,
        Decision,
        Move,
        CrossvalRequest,
    ],
)
def test_the_fields_of_a_record_are_on_the_page(record: Any) -> None:
    text = (REPOSITORY / "docs" / "reference" / "files.md").read_text()
    assert not [name for name in record.model_fields if f"`{name}`" not in text]


@pytest.mark.usefixtures("_stopped")
def test_a_wrong_page_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of fault, one at a time; and there is something to check."""
    assert sum(len([*commands(page)]) for page in PAGES) > 100
    assert sum(len([*links(page)]) for page in PAGES) > 100
    monkeypatch.chdir(REPOSITORY)
    for wrong in (
        "make everything",
        "python -m nonlocal_core.nothing",
        "prefect deployment run nightly",
        "prefect deployment run full/nightly-train -p folder=x",
        "python benchmarks/loader.py --fast",
        "python flows/full.py nl_i3d_r50_8x9",
        "python flows/full.py tiny train.epoch=2",
        "python flows/full.py tiny train.schedule=cosinus",
        ".venv/bin/python flows/full.py",
    ):
        with pytest.raises((Exception, SystemExit)):
            check_command(words(wrong), monkeypatch)
    for wrong in ("train.epoch", "cache.codec=png", "nl_i3d_r50_8x9"):
        with pytest.raises((AssertionError, ValidationError)):
            check_word(wrong)
    page = tmp_path / "page.md"
    page.write_text("# A b\n\n[x](other.md#c) [y](#a-b) `z`\n\n    python x.py \\\n        --y   # z\n")
    assert [command.text for command in commands(page)] == ["python x.py --y"]
    assert [link.text for link in links(page)] == ["other.md#c", "#a-b"]
    assert [span.text for span in spans(page)] == ["z"]
    assert anchors(page) == {"a-b"}
