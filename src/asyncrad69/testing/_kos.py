"""Writing a manifest: a Key Object Selection document (PS3.3 A.35.4, TID 2010)."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Final, TypeAlias

from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, KeyObjectSelectionDocumentStorage, RawDataStorage, generate_uid

from asyncrad69._references import InstanceReference, references_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: An instance by its names, or itself.
Listed: TypeAlias = InstanceReference | Dataset

# CID 7010 and 7011, as far as they are of use with RAD-69.
_TITLES: Final[Mapping[str, str]] = {
    "113000": "Of Interest",
    "113001": "Rejected for Quality Reasons",
    "113030": "Manifest",
    "113037": "Rejected for Patient Safety Reasons",
    "113038": "Incorrect Modality Worklist Entry",
    "113039": "Data Retention Policy Expired",
}
_PATIENT: Final = ("SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex")
_STUDY: Final = ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID")


def write_kos(
    instances: Iterable[Listed],
    *,
    title: str = "113030",
    repository_unique_id: str | None = None,
    home_community_id: str | None = None,
    retrieve_urls: Mapping[str, str] | None = None,
) -> Dataset:
    """
    A Key Object Selection that lists *instances*, of any number of studies.

    Args:
        instances: References or Datasets, mixed as they come. A reference says nothing about the SOP Class: it is
            listed as Raw Data. Patient and study are the first Dataset's; without one they are empty.
        title: The code of the document title: 113030, a manifest, or one of the rejection notes 113001, 113037,
            113038, 113039.
        repository_unique_id: Where an instance names none.
        home_community_id: Where an instance names none, ``urn:oid:`` and an OID.
        retrieve_urls: Retrieve URL by Series Instance UID.

    Returns:
        The document with its file meta information, for `kos_bytes` or ``Dataset.save_as``.

    Raises:
        InvalidReferenceError: Something names no instance.
        ValueError: No instances, or an unknown title.
    """
    if title not in _TITLES:
        raise ValueError(f"title is one of {', '.join(_TITLES)}; not {title!r}")
    given = list(instances)
    references = references_from(given)
    if not references:
        raise ValueError("a manifest lists at least one instance")
    classes = {str(each.SOPInstanceUID): UID(each.SOPClassUID) for each in given if isinstance(each, Dataset)}
    kos = _document(next((each for each in given if isinstance(each, Dataset)), Dataset()), references)
    kos.ConceptNameCodeSequence = [_code(title, _TITLES[title])]
    kos.ContentSequence = [_content(each, classes) for each in references]
    addressed = [(each, _address(each, repository_unique_id, home_community_id)) for each in references]
    kos.CurrentRequestedProcedureEvidenceSequence = [
        _study(uid, members, classes, retrieve_urls or {}) for uid, members in _by_study(addressed)
    ]
    if len(kos.CurrentRequestedProcedureEvidenceSequence) > 1:
        kos.IdenticalDocumentsSequence = [_identical(kos, uid) for uid in _other_studies(kos)]
    return kos


def kos_bytes(kos: Dataset) -> bytes:
    """*kos* as a Part 10 file."""
    buffer = BytesIO()
    dcmwrite(buffer, kos, enforce_file_format=True)
    return buffer.getvalue()


_Address: TypeAlias = tuple[str | None, str | None]
_Addressed: TypeAlias = tuple[InstanceReference, _Address]


def _address(reference: InstanceReference, repository: str | None, home: str | None) -> _Address:
    return reference.repository_unique_id or repository, reference.home_community_id or home


def _by_study(addressed: list[_Addressed]) -> list[tuple[str, list[_Addressed]]]:
    studies: dict[str, list[_Addressed]] = {}
    for member in addressed:
        studies.setdefault(member[0].study_instance_uid, []).append(member)
    return list(studies.items())


def _document(like: Dataset, references: tuple[InstanceReference, ...]) -> Dataset:
    """All but what is listed: PS3.3 A.35.4.3."""
    kos = Dataset()
    kos.file_meta = FileMetaDataset()
    kos.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword in (*_PATIENT, *_STUDY):
        if keyword in like or keyword != "SpecificCharacterSet":
            setattr(kos, keyword, like.get(keyword, None))
    now = datetime.now(tz=UTC)
    kos.SOPClassUID = KeyObjectSelectionDocumentStorage
    kos.SOPInstanceUID = generate_uid()
    kos.StudyInstanceUID = references[0].study_instance_uid
    kos.SeriesInstanceUID = generate_uid()
    kos.Modality = "KO"
    kos.Manufacturer = "asyncrad69"
    kos.SeriesNumber, kos.InstanceNumber = 1, 1
    kos.ReferencedPerformedProcedureStepSequence = []
    kos.ReferencedRequestSequence = []
    kos.ContentDate, kos.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    kos.ValueType, kos.ContinuityOfContent = "CONTAINER", "SEPARATE"
    kos.ContentTemplateSequence = [_item(MappingResource="DCMR", TemplateIdentifier="2010")]
    return kos


def _item(**values: object) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def _code(value: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator="DCM", CodeMeaning=meaning)


def _content(reference: InstanceReference, classes: Mapping[str, UID]) -> Dataset:
    name = _class_of(reference, classes).name
    kinds = (kind for kind in ("IMAGE", "WAVEFORM") if kind.title() in name)
    return _item(
        RelationshipType="CONTAINS",
        ValueType=next(kinds, "COMPOSITE"),
        ReferencedSOPSequence=[_sop(reference, classes)],
    )


def _class_of(reference: InstanceReference, classes: Mapping[str, UID]) -> UID:
    return classes.get(reference.sop_instance_uid, RawDataStorage)


def _sop(reference: InstanceReference, classes: Mapping[str, UID]) -> Dataset:
    return _item(
        ReferencedSOPClassUID=_class_of(reference, classes), ReferencedSOPInstanceUID=reference.sop_instance_uid
    )


def _study(
    uid: str, members: list[_Addressed], classes: Mapping[str, UID], retrieve_urls: Mapping[str, str]
) -> Dataset:
    # An item for each series and place: one series may lie in two repositories.
    places: dict[tuple[str, _Address], list[InstanceReference]] = {}
    for reference, address in members:
        places.setdefault((reference.series_instance_uid, address), []).append(reference)
    series = []
    for (series_uid, (repository, home)), references in places.items():
        made = _item(SeriesInstanceUID=series_uid, ReferencedSOPSequence=[_sop(each, classes) for each in references])
        if repository:
            made.RetrieveLocationUID = repository
        if home:
            made.HomeCommunityID = home.removeprefix("urn:oid:")
        if url := retrieve_urls.get(series_uid):
            made.RetrieveURL = url
        series.append(made)
    return _item(StudyInstanceUID=uid, ReferencedSeriesSequence=series)


def _other_studies(kos: Dataset) -> list[str]:
    return [str(each.StudyInstanceUID) for each in kos.CurrentRequestedProcedureEvidenceSequence[1:]]


def _identical(kos: Dataset, study_uid: str) -> Dataset:
    """PS3.3 C.17.2: a selection over several studies is kept once in each of them."""
    sop = _item(ReferencedSOPClassUID=kos.SOPClassUID, ReferencedSOPInstanceUID=generate_uid())
    series = _item(SeriesInstanceUID=generate_uid(), ReferencedSOPSequence=[sop])
    return _item(StudyInstanceUID=study_uid, ReferencedSeriesSequence=[series])
