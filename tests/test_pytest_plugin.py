"""The fixtures for pytest: there when asked for, gone afterwards, and of no cost to who does not ask."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from test_source_profiles import archive

if TYPE_CHECKING:
    import pytest

    from asyncrad69.testing import SimulatedSource
    from pytest_asyncrad69 import SourceFactory

pytest_plugins = ["pytester"]

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"

USES = """
import httpx, pytest
from asyncrad69 import Rad69, SoapFault
from asyncrad69.testing import Fault

seen = []

def test_default(rad69_source):
    with Rad69(rad69_source.url) as rad69:
        assert len(list(rad69.datasets(rad69_source.references()[:2]))) == 2
    seen.append(rad69_source.url)

def test_several(rad69_source_factory):
    good, bad = rad69_source_factory(profile="cxf"), rad69_source_factory(faults=[Fault.fault()])
    with Rad69(bad.url) as rad69, pytest.raises(SoapFault):
        list(rad69.datasets(bad.references()[0], on_failure="stop"))
    with Rad69(good.url) as rad69:
        assert rad69.get_dataset(good.references()[0])

def test_gone():
    with pytest.raises(httpx.ConnectError):
        httpx.post(seen[0], trust_env=False)
"""


def test_the_entry_point() -> None:
    """pytest is told where the fixtures are, and the wheel holds them."""
    project = tomllib.loads(PYPROJECT.read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"pytest_asyncrad69": "pytest_asyncrad69"}
    assert "src/pytest_asyncrad69.py" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]


def test_in_a_project(pytester: pytest.Pytester) -> None:
    """A project's own tests use the fixtures, with warnings as errors; the sources stop with each test."""
    pytester.makepyfile(USES)
    result = pytester.runpytest_subprocess("-p", "pytest_asyncrad69", "-p", "no:cacheprovider", "-W", "error")
    result.assert_outcomes(passed=3)


def test_it_costs_nothing() -> None:
    """Loading it loads neither this package nor a server."""
    code = (
        "import pytest_asyncrad69, sys; print(sorted({'asyncrad69', 'uvicorn', 'pydicom', 'httpx'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"


def test_our_own_suite_has_them(rad69_source: SimulatedSource, rad69_source_factory: SourceFactory) -> None:
    """Two sources in one test, each with what it was given."""
    assert len(rad69_source.references()) == 81
    assert len(rad69_source_factory(archive()).references()) == 3
