"""
Fixtures for pytest, which finds them by the entry point once asyncrad69 is installed.

pytest loads this in every run of every user. So it stands outside the package, and imports that when a fixture is used.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike
    from typing import Unpack

    from pydicom import Dataset

    from asyncrad69.testing import SimulatedSource
    from asyncrad69.testing._settings import SourceOptions


class SourceFactory(Protocol):
    """Starts a `SimulatedSource`; without *instances*, with the small ones of invented patients."""

    def __call__(
        self,
        instances: str | PathLike[str] | Dataset | Iterable[str | PathLike[str] | Dataset] | None = None,
        **options: Unpack[SourceOptions],
    ) -> SimulatedSource: ...


@pytest.fixture
def rad69_source_factory() -> Iterator[SourceFactory]:
    """Make RAD-69 sources that run until the test ends: ``rad69_source_factory(datasets, profile="wcf")``."""
    from asyncrad69.testing import SimulatedSource  # noqa: PLC0415 - see the top

    with ExitStack() as running:

        def started(
            instances: str | PathLike[str] | Dataset | Iterable[str | PathLike[str] | Dataset] | None = None,
            **options: Unpack[SourceOptions],
        ) -> SimulatedSource:
            source = (
                SimulatedSource.demo(slices=0, **options)
                if instances is None
                else SimulatedSource(instances, **options)
            )
            return running.enter_context(source)

        yield started


@pytest.fixture
def rad69_source(rad69_source_factory: SourceFactory) -> SimulatedSource:
    """A RAD-69 source that runs until the test ends, with 81 small instances of invented patients."""
    return rad69_source_factory()
