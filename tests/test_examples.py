"""The examples run as a reader would run them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from asyncrad69.testing import SimulatedSource
from pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    """What they talk to."""
    with SimulatedSource.demo(slices=3) as source:
        yield source


def run(name: str, source: SimulatedSource, folder: Path, *arguments: str) -> str:
    """What an example prints."""
    table = folder / "table.csv"
    header = "StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID,RepositoryUniqueId"
    rows = (
        (each.study_instance_uid, each.series_instance_uid, each.sop_instance_uid, each.repository_unique_id or "")
        for each in source.references()
    )
    table.write_text("\n".join((header, *map(",".join, rows))))
    command = (sys.executable, "-W", "error", str(ROOT / "examples" / name), source.url, str(table), *arguments)
    return subprocess.check_output(command, text=True, timeout=60)


def test_service(source: SimulatedSource, tmp_path: Path) -> None:
    """It finds the sizes of all images, and its report is complete."""
    output = run("service.py", source, tmp_path)
    assert "(512, 512)" in output
    assert "84 of 84 instances delivered" in output


def test_progress(source: SimulatedSource, tmp_path: Path) -> None:
    """Its count is exact."""
    assert run("progress.py", source, tmp_path).strip() == "84 of 84"


def test_to_folder(source: SimulatedSource, tmp_path: Path) -> None:
    """All files are there, and a second run asks for none."""
    folder = tmp_path / "images"
    run("to_folder.py", source, tmp_path, str(folder))
    assert len(list(folder.rglob("*.dcm"))) == 84
    before = len(source.requests)
    run("to_folder.py", source, tmp_path, str(folder))
    assert len(source.requests) == before


def test_series_at_once(source: SimulatedSource, tmp_path: Path) -> None:
    """Each series comes once, whole."""
    lines = [line.split() for line in run("series_at_once.py", source, tmp_path).splitlines()]
    assert len({uid for uid, _, _ in lines}) == len(lines) == 15
    assert sum(int(count) for _, count, _ in lines) == 84
