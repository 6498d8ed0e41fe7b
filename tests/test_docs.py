"""README and docs say what is: their examples run, their tables are complete, their links lead somewhere."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

import asyncrad69
import pages
from asyncrad69 import AsyncRad69, InstanceReference, Rad69, Rad69Error
from asyncrad69.testing import SimulatedSource
from asyncrad69.testing._faults import KINDS
from asyncrad69.testing._profiles import PROFILES
from asyncrad69.testing._settings import Settings
from dicomweb import DicomWebArchive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WITH_PYTHON = [page for page in pages.PAGES if pages.blocks(page, "python")]
_KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    """What the examples talk to."""
    with SimulatedSource.demo(slices=2) as source:
        yield source


@pytest.fixture(scope="module")
def archive(source: SimulatedSource) -> Iterator[DicomWebArchive]:
    """The DICOMweb archive that knows what the source holds."""
    with DicomWebArchive(source.references()) as archive:
        yield archive


def manifest(references: tuple[InstanceReference, ...], path: Path) -> Path:
    """A Key Object Selection of *references*."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = _KEY_OBJECT_SELECTION, "1.2.3.9", "KO"
    dataset.CurrentRequestedProcedureEvidenceSequence = []
    for reference in references:
        instance, series, study = Dataset(), Dataset(), Dataset()
        instance.ReferencedSOPInstanceUID = reference.sop_instance_uid
        series.SeriesInstanceUID, series.ReferencedSOPSequence = reference.series_instance_uid, [instance]
        series.RetrieveLocationUID = reference.repository_unique_id
        study.StudyInstanceUID, study.ReferencedSeriesSequence = reference.study_instance_uid, [series]
        dataset.CurrentRequestedProcedureEvidenceSequence.append(study)
    dataset.save_as(path, enforce_file_format=True)
    return path


def prelude(source: SimulatedSource, archive: DicomWebArchive, folder: Path) -> dict[str, Any]:
    """What the examples find, besides what they import: a source's URL, references, and places on the disk."""
    references = list(source.references()[-2:])
    triples = [(each.study_instance_uid, each.series_instance_uid, each.sop_instance_uid) for each in references]
    table = folder / "table.csv"
    table.write_text("\n".join(("StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID", *map(",".join, triples))))
    return {
        "url": source.url,
        "qido_url": archive.url,
        "references": references,
        "triples": triples,
        "kos_file": manifest(source.references()[-2:], folder / "kos.dcm"),
        "table_file": table,
        "folder": folder / "images",
        "dataset": Dataset(),
        "Rad69": Rad69,
    }


@pytest.mark.parametrize(
    "page", [page for page in pages.PAGES if pages.blocks(page, "python")], ids=lambda page: page.name
)
def test_the_examples_run(
    page: Path,
    source: SimulatedSource,
    archive: DicomWebArchive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every Python block of a page, one after the other, as a reader would paste them."""
    monkeypatch.chdir(tmp_path)
    namespace = prelude(source, archive, tmp_path)
    original = namespace["references"]
    for block in pages.blocks(page, "python"):
        exec(compile(block, page.name, "exec"), namespace)
        namespace["references"] = original  # the quickstart shows ways to get others


@pytest.mark.anyio
async def test_what_the_readmes_function_returns(source: SimulatedSource) -> None:
    """The service's example, called as a service would."""
    namespace: dict[str, Any] = {}
    exec(pages.blocks(pages.ROOT / "README.md", "python")[0], namespace)
    assert await namespace["pull"](source.url, list(source.references()[-2:])) == 2 * 512


def test_the_notebooks_example_writes_files(
    source: SimulatedSource,
    archive: DicomWebArchive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The README's second example prints two lines and leaves two files."""
    monkeypatch.chdir(tmp_path)
    namespace = prelude(source, archive, tmp_path)
    exec(pages.blocks(pages.ROOT / "README.md", "python")[1], namespace)
    assert namespace["report"].complete
    assert capsys.readouterr().out == "CT 1\nCT 2\n"
    assert len(list((tmp_path / "images").rglob("*.dcm"))) == 2


def test_every_error_is_documented() -> None:
    """docs/errors.md has a row for each public error, and for nothing else."""
    documented = {
        name for row in pages.tables(pages.ROOT / "docs/errors.md") for name in re.findall(r"^`(\w+)`$", row[0])
    }
    public = {
        name
        for name in asyncrad69.__all__
        if isinstance(each := getattr(asyncrad69, name), type) and issubclass(each, Exception)
    }
    assert documented == public - {"Rad69Error"}


def test_the_simulated_source_is_documented() -> None:
    """docs/testing.md has a row for each fault and each profile, and names each option."""
    page = pages.ROOT / "docs/testing.md"
    first = [row[0] for row in pages.tables(page)]
    assert {name for cell in first for name in re.findall(r"^`(\w+)\(", cell)} == set(KINDS)
    assert {cell.strip("`") for cell in first} >= set(PROFILES)
    text = page.read_text(encoding="utf-8")
    unnamed = {field.name for field in dataclasses.fields(Settings) if field.name not in text}
    assert unnamed == {"repository_unique_id", "read_size"}  # of any source; see its docstring


@pytest.mark.parametrize("cls", [asyncrad69.Options, asyncrad69.Retry, asyncrad69.Timeout, asyncrad69.Limits])
def test_every_option_is_documented(cls: Any) -> None:
    """docs/options.md has a row for each field, with its default."""
    rows = {row[0].strip("`"): row[1] for row in pages.tables(pages.ROOT / "docs/options.md") if len(row) > 1}
    defaults = cls()
    for field in dataclasses.fields(cls):
        value, shown = getattr(defaults, field.name), rows[field.name].strip("`")
        if value == asyncrad69.AS_STORED:
            assert shown == "AS_STORED"
        elif dataclasses.is_dataclass(value):
            assert shown == f"{type(value).__name__}()"
        elif shown.endswith("iB"):
            number, unit = shown.split()
            assert value == int(number) * 1024 ** ["B", "KiB", "MiB", "GiB"].index(unit)
        else:
            assert shown in {repr(value), repr(value).replace("'", '"')}


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link is to a file that is there."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_public_errors_have_a_line_that_explains_them() -> None:
    """help() on any error says what it means."""
    for name in asyncrad69.__all__:
        each = getattr(asyncrad69, name)
        if isinstance(each, type) and issubclass(each, Rad69Error):
            assert each.__doc__, name


def test_credentials_examples_do_not_connect() -> None:
    """A client that was made and not opened has no connection and no thread."""
    assert "closed" in repr(AsyncRad69("https://source.example/rad69", auth=("user", "password")))
