"""What the campaigns share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.campaign import PROPERTY, Tally, kind_of
from tests.chaos import chain
from tests.pipeline.conftest import environment, prefect_server  # noqa: F401 (for the real flow)

TALLY = pytest.StashKey[Tally]()


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """What this campaign counts; the short slice of one always makes the same choices."""
    seed = request.config.getoption("seed") if kind_of(request.node) else 0
    counted = Tally(seed, request.node.name)
    request.node.stash[TALLY] = counted
    return counted


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chain.Stages]:
    """The stages, in a process that may be killed or let down."""
    with chain.started(tmp_path_factory.mktemp("stages")) as started:
        yield started


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """Hand on what was counted, also if the campaign has failed."""
    try:
        return (yield)
    finally:
        found = dict(item.user_properties).get(PROPERTY)
        if isinstance(found, list) and TALLY in item.stash:
            found[1].extend(item.stash[TALLY].rows())
