"""
Key Object Selection documents: the manifests that say which instances there are, and where.

Source: RAD TF-3 4.68 (XDS-I.b manifests), PS3.3 C.17.2.1 and A.35.4, CID 7010 and 7011 (titles).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from ._dicom import read_dataset, read_header
from ._errors import InvalidInstanceError, NotAManifestError, RejectionNoteError
from ._references import InstanceReference, references_from

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ._documents import RetrievedDocument

# PS3.4 B.5: Key Object Selection Document Storage.
KEY_OBJECT_SELECTION: Final = "1.2.840.10008.5.1.4.1.1.88.59"

# CID 7011: what these list is withdrawn.
_REJECTIONS: Final[Mapping[str, str]] = {
    "113001": "rejected for quality reasons",
    "113037": "rejected for patient safety reasons",
    "113038": "an incorrect modality worklist entry was used",
    "113039": "the data retention policy expired",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyObjectSelection:
    """
    What a manifest says.

    Attributes:
        title: The code of its document title, e.g. ``"113030"`` (Manifest); empty without one.
        rejection: Why what it lists is withdrawn, in words; ``None`` for anything but a rejection note.
        references: The instances, in the manifest's order, each with its repository and home community.
        retrieve_urls: Retrieve URL (0008,1190) by Series Instance UID, where there is one. They are for DICOMweb;
            RAD-69 goes by the repository.
    """

    title: str
    rejection: str | None
    references: tuple[InstanceReference, ...]
    retrieve_urls: Mapping[str, str]


def read_kos(source: Any) -> KeyObjectSelection:
    """
    Read a Key Object Selection, rejection notes included.

    The repository unique id of an instance is its series' Retrieve Location UID (0040,E011); without one, the
    Repository Unique ID of the series' XDS Retrieval Sequence (0040,E024). The home community id is the Home Community
    ID (0040,E031) of either.

    Args:
        source: A pydicom Dataset, or the path of a DICOM file.

    Raises:
        NotAManifestError: An image, a report, or a KOS without instances.
        InvalidReferenceError: Not a DICOM file, or a UID in it is malformed.
        OSError: The file cannot be read.
    """
    dataset = read_header(source) if isinstance(source, str | PathLike) else source
    if str(dataset.get("SOPClassUID", "")) != KEY_OBJECT_SELECTION:
        raise NotAManifestError(f"not a manifest but {_kind(dataset)}: its SOP Class is not Key Object Selection")
    references = references_from(_listed(dataset))
    if not references:
        raise NotAManifestError("the manifest lists no instances: its evidence sequence (0040,A375) is empty")
    title = _title(dataset)
    return KeyObjectSelection(
        title=title,
        rejection=_REJECTIONS.get(title),
        references=references,
        retrieve_urls=MappingProxyType(dict(_retrieve_urls(dataset))),
    )


def references_from_kos(source: Any, *, rejected: bool = False) -> tuple[InstanceReference, ...]:
    """
    The instances that a Key Object Selection manifest lists, in its order, with repository and home community.

    Args:
        source: A pydicom Dataset, or the path of a DICOM file.
        rejected: Whether to take what a rejection note lists, which is withdrawn and not for clinical use.

    Raises:
        RejectionNoteError: It is a rejection note, and *rejected* is false.
        NotAManifestError: An image, a report, or a KOS without instances.
        InvalidReferenceError: Not a DICOM file, or a UID in it is malformed.
        OSError: The file cannot be read.

    Source: RAD TF-3 4.68, PS3.3 C.17.2.1.
    """
    selection = read_kos(source)
    if selection.rejection is not None and not rejected:
        raise RejectionNoteError(
            f"this is a rejection note ({selection.title}: {selection.rejection}): the {len(selection.references)} "
            "instances that it lists are withdrawn. To have them all the same, pass rejected=True"
        )
    return selection.references


def references_from_document(document: RetrievedDocument, *, rejected: bool) -> tuple[InstanceReference, ...]:
    """
    `references_from_kos` of a document out of a repository; its home community is theirs where they name none.

    Raises:
        NotAManifestError: Not a DICOM file, or one that is no manifest.
        RejectionNoteError: It is a rejection note, and *rejected* is false.
    """
    try:
        dataset = read_dataset(document.data)
    except InvalidInstanceError:
        kind = document.mime_type or "without a media type"
        raise NotAManifestError(f"the document is not a DICOM file: the repository calls it {kind}") from None
    home = document.reference.home_community_id
    return tuple(
        replace(each, home_community_id=each.home_community_id or home)
        for each in references_from_kos(dataset, rejected=rejected)
    )


def _kind(dataset: Any) -> str:
    if dataset.get("ContentSequence", None) is not None or str(dataset.get("Modality", "")) == "SR":
        return "a structured report"
    if dataset.get("Rows", None) is not None or "PixelData" in dataset:
        return "an image"
    return "another kind of DICOM object"


def _title(dataset: Any) -> str:
    for code in dataset.get("ConceptNameCodeSequence", None) or ():
        if str(code.get("CodingSchemeDesignator", "")) == "DCM":
            return str(code.get("CodeValue", ""))
    return ""


def _series(dataset: Any) -> Iterator[tuple[Any, Any]]:
    """Each study with each of its series."""
    for study in dataset.get("CurrentRequestedProcedureEvidenceSequence", None) or ():
        for series in study.get("ReferencedSeriesSequence", None) or ():
            yield study, series


def _listed(dataset: Any) -> Iterator[InstanceReference]:
    for study, series in _series(dataset):
        repository, home = _address(series)
        for instance in series.get("ReferencedSOPSequence", None) or ():
            yield InstanceReference(
                str(study.get("StudyInstanceUID", "")),
                str(series.get("SeriesInstanceUID", "")),
                str(instance.get("ReferencedSOPInstanceUID", "")),
                repository_unique_id=repository,
                home_community_id=home,
            )


def _address(series: Any) -> tuple[str | None, str | None]:
    xds: Any = next(iter(series.get("XDSRetrievalSequence", None) or ()), {})
    repository = series.get("RetrieveLocationUID", None) or xds.get("RepositoryUniqueID", None)
    home = str(series.get("HomeCommunityID", None) or xds.get("HomeCommunityID", None) or "")
    # A bare OID by its VR, which is UI; XDS has it as a URN.
    urn = f"urn:oid:{home.removeprefix('urn:oid:')}" if home else None
    return str(repository) if repository else None, urn


def _retrieve_urls(dataset: Any) -> Iterator[tuple[str, str]]:
    for _, series in _series(dataset):
        if url := series.get("RetrieveURL", None):
            yield str(series.get("SeriesInstanceUID", "")), str(url)
