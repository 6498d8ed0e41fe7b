"""
What a caller asks for: instances, by study, series and SOP Instance UID.

RAD-69 has no wildcard: every SOP Instance UID is named in the request (RAD TF-2 4.69.4.1.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from ._errors import InvalidReferenceError, NonInstanceReferenceError

#: What is accepted where references are: one of them, or any iterable of them, mixed as they come.
#: `InstanceReference`, a 3-tuple of UIDs, a pydicom Dataset with the three UIDs, dicomtrolley's references
#: and objects. ``object``, since the last three are known by their attributes only.
References: TypeAlias = object

# PS3.5 9.1: components of digits, separated by dots, 64 characters at most. Leading zeros are forbidden
# there but found in the field, and a source that stores such a UID can only be asked with it.
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
_MAX_UID_LENGTH = 64

# ITI TF-3 4.2.3: an XDS home community id is an OID in URN form.
_HOME_COMMUNITY = re.compile(r"urn:oid:[0-9]+(?:\.[0-9]+)*", re.ASCII)

_HOW_TO_EXPAND = (
    "RAD-69 asks for single instances by study, series and SOP Instance UID. List the instances of a study "
    "with a KOS manifest (references_from_kos), a table (references_from_table) or a query (expand, C-FIND)."
)


def valid_uid(value: object, name: str) -> str:
    """
    Return *value* if it is a DICOM UID.

    Raises:
        InvalidReferenceError: It is not; the message names the field and says what is wrong.
    """
    text = str(value) if isinstance(value, str) else ""
    if _is_uid(text):
        return text
    raise InvalidReferenceError(f"{name}: {_complaint(value, text)}")


@lru_cache(maxsize=4096)  # thousands of references name the same study, series and repository
def _is_uid(text: str) -> bool:
    return len(text) <= _MAX_UID_LENGTH and _UID.fullmatch(text) is not None


def _complaint(value: object, text: str) -> str:
    if value is None or value == "":
        return "is missing"
    if not isinstance(value, str):
        return f"a UID is text, not {type(value).__name__}"
    if len(text) > _MAX_UID_LENGTH:
        return f"a UID has at most {_MAX_UID_LENGTH} characters, this has {len(text)}"
    wrong = next((char for char in text if char not in "0123456789."), None)
    if wrong is None:
        return f"{text!r} is not a UID: a dot stands without digits beside it"
    return f"not a UID: character {text.index(wrong) + 1} is {wrong!r}, only digits and dots are allowed"


@dataclass(frozen=True, slots=True)
class InstanceReference:
    """
    One instance, and where it is kept.

    Args:
        study_instance_uid: Study Instance UID (0020,000D).
        series_instance_uid: Series Instance UID (0020,000E).
        sop_instance_uid: SOP Instance UID (0008,0018), which XDS calls the document unique id.
        repository_unique_id: The repository that holds it, a bare OID; the client's default where ``None``.
        home_community_id: Its community, ``urn:oid:`` and an OID; needed through a cross-community gateway.

    Raises:
        InvalidReferenceError: One of them is malformed.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    _: KW_ONLY
    repository_unique_id: str | None = None
    home_community_id: str | None = None

    def __post_init__(self) -> None:
        valid_uid(self.study_instance_uid, "study_instance_uid")
        valid_uid(self.series_instance_uid, "series_instance_uid")
        valid_uid(self.sop_instance_uid, "sop_instance_uid")
        valid_addressing(self.repository_unique_id, self.home_community_id)


def valid_addressing(repository_unique_id: str | None, home_community_id: str | None) -> None:
    """
    Check the XDS address of a document.

    Raises:
        InvalidReferenceError: One of the two is given and malformed.
    """
    if repository_unique_id is not None:
        valid_uid(repository_unique_id, "repository_unique_id")
    if home_community_id is not None and not _HOME_COMMUNITY.fullmatch(home_community_id):
        raise InvalidReferenceError("home_community_id: is 'urn:oid:' and an OID, e.g. urn:oid:1.2.3")


def references_from(given: References) -> tuple[InstanceReference, ...]:
    """
    Make references of anything that names instances, in the order given.

    An instance named twice is asked for once; the first naming counts.

    Raises:
        NonInstanceReferenceError: A study or a series without its instances.
        InvalidReferenceError: A malformed UID, an instance placed in two studies or series, or something that
            names no instance at all.
    """
    unique: dict[str, InstanceReference] = {}
    for reference in _flatten(given):
        first = unique.setdefault(reference.sop_instance_uid, reference)
        if first is not reference and _place(first) != _place(reference):
            raise InvalidReferenceError(
                f"instance {reference.sop_instance_uid} is named in two places: {_place(first)} and "
                f"{_place(reference)} (study, series)"
            )
    return tuple(unique.values())


def _place(reference: InstanceReference) -> tuple[str, str]:
    return reference.study_instance_uid, reference.series_instance_uid


def _flatten(given: References) -> Iterable[InstanceReference]:
    single = _maybe_references(given)
    if single is not None:
        yield from single
        return
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise NonInstanceReferenceError(f"{_kind(given)} names no instance. {_HOW_TO_EXPAND}")
    for position, item in enumerate(given):
        named = _maybe_references(item)
        if named is None:
            # Of a dict one sees the keys, which its owner did not mean.
            what = _kind(given) if isinstance(given, Mapping) else f"item {position}: {_kind(item)}"
            raise NonInstanceReferenceError(f"{what} names no instance. {_HOW_TO_EXPAND}")
        yield from named


def _kind(given: object) -> str:
    if isinstance(given, str):
        return "a bare text"
    return "a function, which is to be called," if callable(given) else type(given).__name__


def _maybe_references(given: Any) -> Iterable[InstanceReference] | None:
    """The references in one object; ``None`` where it is none of the kinds we know."""
    if isinstance(given, InstanceReference):
        return (given,)
    if isinstance(given, tuple) and all(isinstance(uid, str) for uid in given) and given:
        return (_from_tuple(given),)
    if isinstance(reference := getattr(given, "reference", None), InstanceReference):  # a report's row, an instance
        return (reference,)
    for names in _SPELLINGS:
        if getattr(given, names[0], None) is not None:
            return (_from_attributes(given, names),)
    # dicomtrolley's Study and Series objects know their instances; its Instance knows only its parents.
    if callable(instances := getattr(given, "all_instances", None)):
        return _from_tree(instances())
    return None


# Our own, the standard's (a Dataset), dicomtrolley's.
_SPELLINGS = (
    ("study_instance_uid", "series_instance_uid", "sop_instance_uid"),
    ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
    ("study_uid", "series_uid", "instance_uid"),
)


def _from_tuple(uids: tuple[str, ...]) -> InstanceReference:
    if len(uids) != 3:
        level = {1: "a study", 2: "a series"}.get(len(uids), f"a tuple of {len(uids)}")
        raise NonInstanceReferenceError(f"{level} was given, not an instance. {_HOW_TO_EXPAND}")
    return InstanceReference(*uids)


def _from_attributes(given: Any, names: tuple[str, ...]) -> InstanceReference:
    study, series, instance = (getattr(given, name, None) for name in names)
    if not series or not instance:
        level = "series" if series else "study"
        raise NonInstanceReferenceError(f"{type(given).__name__} names a {level}. {_HOW_TO_EXPAND}")
    # A Dataset pads odd UIDs with NUL and spells them as a str subclass.
    study, series, instance = (str(uid).rstrip("\0 ") for uid in (study, series, instance))
    return InstanceReference(
        study,
        series,
        instance,
        repository_unique_id=getattr(given, "repository_unique_id", None),
        home_community_id=getattr(given, "home_community_id", None),
    )


def _from_tree(instances: Iterable[Any]) -> Iterable[InstanceReference]:
    found = [_from_attributes(instance.reference(), _SPELLINGS[2]) for instance in instances]
    if not found:
        raise NonInstanceReferenceError(f"a study or series object without instances was given. {_HOW_TO_EXPAND}")
    return found
