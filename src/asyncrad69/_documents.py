"""What ITI-43 asks for and brings: documents of a repository, e.g. the manifest of a study."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ._errors import InvalidReferenceError
from ._references import valid_addressing, valid_uid

if TYPE_CHECKING:
    from collections.abc import Iterable

# ITI TF-3 4.2.3.2.26: an OID, or a CDA's root and extension with ^ between them.
_DOCUMENT_UNIQUE_ID = re.compile(r"[0-9]+(?:\.[0-9]+)*(?:\^[!-~]{1,16})?", re.ASCII)
_MAX_LENGTH = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentReference:
    """
    One document of an XDS repository.

    Args:
        repository_unique_id: The repository, a bare OID.
        document_unique_id: XDSDocumentEntry.uniqueId; of a manifest, its SOP Instance UID.
        home_community_id: Its community, ``urn:oid:`` and an OID; needed through a gateway.

    Raises:
        InvalidReferenceError: One of them is malformed.
    """

    repository_unique_id: str
    document_unique_id: str
    home_community_id: str | None = None

    def __post_init__(self) -> None:
        valid_uid(self.repository_unique_id, "repository_unique_id")
        valid_addressing(self.repository_unique_id, self.home_community_id)
        text = self.document_unique_id
        if not isinstance(text, str) or len(text) > _MAX_LENGTH or not _DOCUMENT_UNIQUE_ID.fullmatch(text):
            raise InvalidReferenceError(
                "document_unique_id: neither an OID, e.g. 1.2.3, nor an OID with ^ and an extension"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievedDocument:
    """
    One document as it came.

    Attributes:
        reference: What was asked for.
        mime_type: ``application/dicom`` for a manifest; in lower case, may be empty.
        data: The document's bytes, exactly as sent.
    """

    reference: DocumentReference
    mime_type: str
    data: bytes = field(repr=False)


def document_references(given: DocumentReference | Iterable[DocumentReference]) -> tuple[DocumentReference, ...]:
    """
    *given* as a tuple, each document once.

    Raises:
        TypeError: Something else is among them.
        InvalidReferenceError: None was given.
    """
    documents = (given,) if isinstance(given, DocumentReference) else tuple(dict.fromkeys(given))
    if not all(isinstance(each, DocumentReference) for each in documents):
        raise TypeError("documents are DocumentReference(repository_unique_id=..., document_unique_id=...)")
    if not documents:
        raise InvalidReferenceError("no documents were given")
    return documents
