"""Manifests, read and written: repositories, communities, rejection notes, and what is none."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, TwelveLeadECGWaveformStorage

from asyncrad69 import (
    InstanceReference,
    NotAManifestError,
    RejectionNoteError,
    read_kos,
    references_from_kos,
)
from asyncrad69.testing import kos_bytes, write_kos

if TYPE_CHECKING:
    from pathlib import Path

HOME = "urn:oid:1.8"
REFERENCES = (
    InstanceReference("1.1", "1.1.1", "1.1.1.1", repository_unique_id="1.9.1"),
    InstanceReference("1.1", "1.1.1", "1.1.1.2", repository_unique_id="1.9.2", home_community_id=HOME),
    InstanceReference("1.2", "1.2.1", "1.2.1.1"),
)


def image(study: str, series: str, instance: str, sop_class: str = CTImageStorage) -> Dataset:
    """The little of an image that a manifest needs."""
    made = Dataset()
    made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID = study, series, instance
    made.SOPClassUID, made.PatientName, made.PatientID, made.StudyID = sop_class, "Doe^Jane", "1", "S1"
    return made


IMAGES = (image("1.1", "1.1.1", "1.1.1.1"), image("1.1", "1.1.2", "1.1.2.1", TwelveLeadECGWaveformStorage))


def test_what_is_written_is_read() -> None:
    """Studies, repositories, communities and retrieve URLs, also where one series lies in two repositories."""
    url = "https://web.example/studies/1.1/series/1.1.1"
    selection = read_kos(write_kos(REFERENCES, retrieve_urls={"1.1.1": url}))
    assert selection.references == REFERENCES
    assert (selection.title, selection.rejection, selection.retrieve_urls) == ("113030", None, {"1.1.1": url})


def test_addresses_may_be_given_once() -> None:
    """For Datasets, which have none, and for references that name none."""
    kos = write_kos([*IMAGES, REFERENCES[1]], repository_unique_id="1.9", home_community_id="urn:oid:1.7")
    read = {
        each.sop_instance_uid: (each.repository_unique_id, each.home_community_id) for each in read_kos(kos).references
    }
    assert read == {"1.1.1.1": ("1.9", "urn:oid:1.7"), "1.1.2.1": ("1.9", "urn:oid:1.7"), "1.1.1.2": ("1.9.2", HOME)}


def test_the_xds_retrieval_sequence_says_where_too() -> None:
    """Where a series has no Retrieve Location UID."""
    kos = write_kos(REFERENCES[2:])
    place = Dataset()
    place.RepositoryUniqueID, place.HomeCommunityID = "1.9.3", "1.8"
    kos.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].XDSRetrievalSequence = [place]
    (reference,) = references_from_kos(kos)
    assert (reference.repository_unique_id, reference.home_community_id) == ("1.9.3", HOME)


def test_a_title_in_codes_of_their_own() -> None:
    """Only codes of DICOM say what a manifest is: another scheme's is no rejection, whatever its value."""
    kos = write_kos(REFERENCES, title="113001")
    kos.ConceptNameCodeSequence[0].CodingSchemeDesignator = "99LOCAL"
    assert (read_kos(kos).title, read_kos(kos).rejection) == ("", None)


@pytest.mark.parametrize("title", ["113001", "113037", "113038", "113039"])
def test_what_a_rejection_note_lists_is_not_taken_unasked(title: str) -> None:
    """A typed error that has the title, the reason and the way out; with rejected=True the references."""
    note = write_kos(REFERENCES, title=title)
    with pytest.raises(RejectionNoteError, match=rf"{title}: .* 3 instances .* rejected=True"):
        references_from_kos(note)
    assert references_from_kos(note, rejected=True) == REFERENCES


@pytest.mark.parametrize(
    ("sop_class", "keyword", "value", "words"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", "Rows", 512, "but an image"),
        ("1.2.840.10008.5.1.4.1.1.88.11", "ContentSequence", [], "but a structured report"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "Modality", "DOC", "but another kind"),
    ],
)
def test_what_is_no_manifest_is_named(sop_class: str, keyword: str, value: object, words: str) -> None:
    """An image, a report, an encapsulated PDF: said what it is."""
    dataset = image("1.1", "1.2", "1.3", sop_class)
    setattr(dataset, keyword, value)
    with pytest.raises(NotAManifestError, match=words):
        read_kos(dataset)


@pytest.mark.parametrize(("instances", "title", "words"), [((), "113030", "at least one"), (REFERENCES, "1", "one of")])
def test_what_cannot_be_written(instances: tuple[InstanceReference, ...], title: str, words: str) -> None:
    """No instances, no title."""
    with pytest.raises(ValueError, match=words):
        write_kos(instances, title=title)


def test_a_written_manifest_is_a_valid_file(tmp_path: Path) -> None:
    """pydicom reads it back strictly: every value valid, and equal to what was written."""
    path = tmp_path / "kos.dcm"
    kos = write_kos([*IMAGES, *REFERENCES[2:]], repository_unique_id="1.9")
    path.write_bytes(kos_bytes(kos))
    read = dcmread(path)
    assert kos_bytes(read) == path.read_bytes()
    assert [each.ValueType for each in read.ContentSequence] == ["IMAGE", "WAVEFORM", "COMPOSITE"]
    assert references_from_kos(path) == references_from_kos(kos)


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="needs dsrdump of dcmtk")
@pytest.mark.parametrize("title", ["113030", "113001"])
def test_dcmtk_takes_a_written_manifest(title: str, tmp_path: Path) -> None:
    """dsrdump, which checks a structured document against its IOD, has no complaint."""
    path = tmp_path / "kos.dcm"
    path.write_bytes(kos_bytes(write_kos([*IMAGES, *REFERENCES[2:]], title=title, repository_unique_id="1.9")))
    done = subprocess.run(["dsrdump", str(path)], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "not yet supported" not in line]  # dcmtk's own limits
    assert (done.returncode, complaints) == (0, [])
    assert "Key Object Selection Document" in done.stdout
