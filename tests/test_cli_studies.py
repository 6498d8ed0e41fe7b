"""``rad69 get --study``: a study's instances, found out from a DICOMweb archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from asyncrad69.cli._app import app
from asyncrad69.testing import SimulatedSource
from dicomweb import DicomWebArchive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def rad69(*args: object, **kwargs: Any) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], prog_name="rad69", **kwargs)


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    """A few series in a few studies."""
    with SimulatedSource.demo(slices=1) as running:
        yield running


def test_a_study_becomes_files(source: SimulatedSource, tmp_path: Path) -> None:
    """The study whole, nothing else; the source's credentials do not go to the archive."""
    study = source.references()[0].study_instance_uid
    expected = {each.sop_instance_uid for each in source.references() if each.study_instance_uid == study}
    with DicomWebArchive(source.references()) as archive:
        arguments = ("--study", study, "--qido-url", archive.url, "--repository", "1.2.3.4", "-o", tmp_path / "out")
        result = rad69("get", source.url, *arguments, "--user", "me", env={"RAD69_PASSWORD": "secret"})
    assert result.exit_code == 0, result.output
    assert {path.stem for path in (tmp_path / "out").rglob("*.dcm")} == expected
    assert archive.headers
    assert not any("authorization" in headers for headers in archive.headers)


@pytest.mark.parametrize(("status", "code"), [(401, 4), (404, 6), (503, 5), (500, 3)])
def test_an_archive_that_refuses(source: SimulatedSource, tmp_path: Path, status: int, code: int) -> None:
    """Ends as a source that refuses does, and nothing is written."""
    with DicomWebArchive((), status=status) as archive:
        result = rad69("get", source.url, "--study", "1.2", "--qido-url", archive.url, "-o", tmp_path / "out")
    assert result.exit_code == code, result.output
    assert f"HTTP status {status}" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--study", "1.2"), "--qido-url"),
        (("--qido-url", "http://127.0.0.1:1/"), "nothing is asked for"),
        (("--study", "x", "--qido-url", "http://127.0.0.1:1/"), "not a UID"),
        (("--study", "1.2", "--qido-url", "archive"), "DICOMweb service"),
    ],
)
def test_usage(arguments: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    """A mistake is exit code 2 and a sentence."""
    result = rad69("get", "http://127.0.0.1:1/", *arguments, "-o", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert complaint in result.stderr


def test_an_unknown_study(tmp_path: Path) -> None:
    """No instances are a mistake, too, and not a complete retrieve of nothing."""
    with DicomWebArchive(()) as archive:
        result = rad69("get", "http://127.0.0.1:1/", "--study", "1.2", "--qido-url", archive.url, "-o", tmp_path)
    assert result.exit_code == 2
    assert "knows no instances" in result.stderr
