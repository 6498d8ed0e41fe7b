"""References out of files: KOS manifests and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from asyncrad69 import InstanceReference, InvalidReferenceError
from asyncrad69._kos import references_from_kos
from asyncrad69._reference_files import references_from_table

if TYPE_CHECKING:
    from pathlib import Path

KOS = "1.2.840.10008.5.1.4.1.1.88.59"


def item(**values: object) -> Dataset:
    """A Dataset of *values*."""
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def series(uid: str, *instances: str, repository: str | None = None) -> Dataset:
    """A Referenced Series Sequence item."""
    made = item(
        SeriesInstanceUID=uid, ReferencedSOPSequence=[item(ReferencedSOPInstanceUID=each) for each in instances]
    )
    if repository is not None:
        made.RetrieveLocationUID = repository
    return made


def study(uid: str, *of: Dataset) -> Dataset:
    """An evidence sequence item."""
    return item(StudyInstanceUID=uid, ReferencedSeriesSequence=list(of))


def kos(*studies: Dataset, sop_class: str = KOS) -> Dataset:
    """A manifest."""
    return item(SOPClassUID=sop_class, SOPInstanceUID="1.99", CurrentRequestedProcedureEvidenceSequence=list(studies))


def saved(dataset: Dataset, path: Path) -> Path:
    """*dataset* as a DICOM file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


MANY = kos(
    study(
        "1.1", series("1.1.1", "1.1.1.1", "1.1.1.2", repository="1.9.1"), series("1.1.2", "1.1.2.1", repository="1.9.2")
    ),
    study("1.2", series("1.2.1", "1.2.1.1")),
)
LISTED = (
    InstanceReference("1.1", "1.1.1", "1.1.1.1", repository_unique_id="1.9.1"),
    InstanceReference("1.1", "1.1.1", "1.1.1.2", repository_unique_id="1.9.1"),
    InstanceReference("1.1", "1.1.2", "1.1.2.1", repository_unique_id="1.9.2"),
    InstanceReference("1.2", "1.2.1", "1.2.1.1"),
)


def test_a_manifest_lists_studies_series_and_repositories(tmp_path: Path) -> None:
    """Several studies and repositories, in order; from a Dataset, a path, or a path as text."""
    assert references_from_kos(MANY) == LISTED
    path = saved(MANY, tmp_path / "kos.dcm")
    assert references_from_kos(path) == LISTED
    assert references_from_kos(str(path)) == LISTED


@pytest.mark.parametrize(
    ("dataset", "word"),
    [
        pytest.param(kos(sop_class="1.2.840.10008.5.1.4.1.1.2"), "not a manifest", id="image"),
        pytest.param(
            kos(study("1", series("2", "3")), sop_class="1.2.840.10008.5.1.4.1.1.88.11"), "not a manifest", id="report"
        ),
        pytest.param(Dataset(), "not a manifest", id="nothing"),
        pytest.param(kos(), "lists no instances", id="empty"),
        pytest.param(item(SOPClassUID=KOS), "lists no instances", id="no-evidence"),
        pytest.param(kos(study("1.1")), "lists no instances", id="no-series"),
        pytest.param(kos(study("1.1", series("1.2"))), "lists no instances", id="no-instance"),
        pytest.param(kos(study("", series("1.2", "1.3"))), "study_instance_uid: is missing", id="no-study-uid"),
        pytest.param(kos(study("1.1", series("", "1.3"))), "series_instance_uid: is missing", id="no-series-uid"),
        pytest.param(kos(study("1.1", series("1.2", "1.3"), series("1.4", "1.3"))), "two places", id="twice"),
    ],
)
def test_what_is_no_manifest_is_said_so(dataset: Dataset, word: str) -> None:
    """A report or an image is not a manifest; a manifest without instances is a mistake; nothing comes back empty."""
    with pytest.raises(InvalidReferenceError, match=word):
        references_from_kos(dataset)


def test_a_file_that_is_not_dicom(tmp_path: Path) -> None:
    """Said so; a file that is not there is the system's error."""
    path = tmp_path / "list.csv"
    path.write_text("StudyInstanceUID\n" * 20)
    with pytest.raises(InvalidReferenceError, match="not a DICOM file"):
        references_from_kos(path)
    with pytest.raises(FileNotFoundError):
        references_from_kos(tmp_path / "absent")


HEADER = "StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID"


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}\n1.2,1.3,1.4\n",
        f"{HEADER}\r\n1.2,1.3,1.4",
        f"\ufeff{HEADER}\n\n , ,\n 1.2 , 1.3,1.4 \n",
        "study_instance_uid;series-instance-uid;SOP INSTANCE UID\n1.2;1.3;1.4\n",
        "Patient\tSeries UID\tStudy UID\tInstance UID\nDoe\t1.3\t1.2\t1.4\n",
        f'{HEADER},RepositoryUniqueId,HomeCommunityId\n"1.2","1.3","1.4",,\n',
        f"{HEADER},RepositoryUniqueId\n1.2,1.3,1.4\n",
    ],
)
def test_a_table_in_its_spellings(text: str, tmp_path: Path) -> None:
    """Separators, quotes, marks, blank lines, other columns, the columns' order: the same instance."""
    path = tmp_path / "list.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert references_from_table(path) == (InstanceReference("1.2", "1.3", "1.4"),)


def test_a_table_may_say_where(tmp_path: Path) -> None:
    """Repository and community are read where they are given."""
    path = tmp_path / "list.csv"
    path.write_text(f"{HEADER},RepositoryUniqueId,HomeCommunityId\n1.2,1.3,1.4,1.9,urn:oid:1.8\n1.2,1.3,1.5,,\n")
    first, second = references_from_table(str(path))
    assert (first.repository_unique_id, first.home_community_id) == ("1.9", "urn:oid:1.8")
    assert (second.repository_unique_id, second.home_community_id) == (None, None)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "line 1: no column study_instance_uid, series_instance_uid, sop_instance_uid"),
        ("1.2,1.3,1.4\n", "line 1: no column"),
        ("StudyInstanceUID,SeriesInstanceUID\n1.2,1.3\n", "line 1: no column sop_instance_uid"),
        (f"{HEADER}\n", "lists no instances"),
        (f"{HEADER}\n1.2,1.3,1.4\n\n1.2,1.3,1.x\n", "line 4: sop_instance_uid: not a UID"),
        (f"{HEADER}\n1.2,1.3\n", "line 2: sop_instance_uid: is missing"),
        (f"{HEADER}\n1.2,,1.4\n", "line 2: series_instance_uid: is missing"),
        (f"{HEADER},HomeCommunityId\n1.2,1.3,1.4,1.8\n", "line 2: home_community_id"),
        (f"{HEADER}\n1.2,1.3,1.4\n1.2,1.5,1.4\n", "two places"),
        pytest.param(
            f'{HEADER}\n"1.2\n' + "1.2,1.3,1.4\n" * 15_000, "line .*: not a CSV file", id="quotation-never-closed"
        ),
        (f'{HEADER}\n"1.2\n1.2",1.3,1.4\n', "line [23]: study_instance_uid"),
    ],
)
def test_a_wrong_line_is_named(text: str, word: str, tmp_path: Path) -> None:
    """By its number in the file, with what is wrong in it."""
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(InvalidReferenceError, match=word):
        references_from_table(path)


def test_a_table_that_is_not_text(tmp_path: Path) -> None:
    """A spreadsheet's binary file is said not to be CSV."""
    path = tmp_path / "list.xlsx"
    path.write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(InvalidReferenceError, match="not UTF-8"):
        references_from_table(path)
