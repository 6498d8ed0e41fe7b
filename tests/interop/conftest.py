"""What the tests against real servers share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .peers import PEERS, Archive, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .peers import Peer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder; skip it, by name, where there are no peers."""
    here = [item for item in items if item.path.parent == Path(__file__).parent]
    for item in here:
        item.add_marker(pytest.mark.interop)
        item.add_marker(pytest.mark.timeout(600))
        if not PEERS.is_dir():
            item.add_marker(pytest.mark.skip(reason="needs the peers in ../shared/peers"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Six files of 1.2 KB in two series."""
    return Archive.made(tmp_path_factory.mktemp("tiny"), "gen_study.py", "--tiny")


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """240 CT slices of half a megabyte, in six series of two studies."""
    return Archive.made(tmp_path_factory.mktemp("study"), "gen_study.py")


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """43 of pydicom's test files in eleven transfer syntaxes, some of them odd."""
    return Archive.made(tmp_path_factory.mktemp("samples"), "pydicom_samples.py")


@pytest.fixture(scope="session")
def jaxws(tiny: Archive) -> Iterator[Peer]:
    """Metro with the tiny archive."""
    with running("jaxws", tiny) as peer:
        yield peer


@pytest.fixture(scope="session", params=["chunk", "length", "close"])
def gsoap(request: pytest.FixtureRequest, tiny: Archive) -> Iterator[Peer]:
    """gSOAP with the tiny archive, in each of its framings."""
    with running("gsoap", tiny, RAD69_FRAMING=request.param) as peer:
        yield peer
