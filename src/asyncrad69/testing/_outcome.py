"""What becomes of a request: which instances are sent, and an error for each of the others. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncrad69._documents import DocumentReference
    from asyncrad69._references import InstanceReference

    from ._archive import Archive, StoredInstance
    from ._request import RetrieveRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """
    An ebRS RegistryError.

    Attributes:
        code: errorCode, of ITI TF-3 table 4.2.4.1-2 or PS3.18.
        context: codeContext, for a person.
        location: The SOP Instance UID concerned; ``None`` if it concerns the request as a whole.
    """

    code: str
    context: str
    location: str | None


@dataclass(frozen=True, slots=True)
class Document:
    """An instance to be sent: as it was asked for, and as it is kept."""

    reference: InstanceReference
    stored: StoredInstance


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that is answered to one request. It is known before the first byte of an instance is read."""

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]

    @property
    def status(self) -> Literal["Success", "PartialSuccess", "Failure"]:
        """The response status, ITI TF-3 table 4.2.4.2-4."""
        if not self.problems:
            return "Success"
        return "PartialSuccess" if self.documents else "Failure"


def outcome_of(request: RetrieveRequest, archive: Archive, *, repository_unique_id: str) -> Outcome:
    """Decide what to send. A foreign repository ends the request as a whole: a source is no gateway."""
    for reference in request.references:
        if reference.repository_unique_id != repository_unique_id:
            context = f"repository {reference.repository_unique_id} is not {repository_unique_id}"
            return Outcome((), (Problem(code="XDSUnknownRepositoryId", context=context, location=None),))
    found = [_document(reference, request.transfer_syntaxes, archive) for reference in request.references]
    return Outcome(
        tuple(each for each in found if isinstance(each, Document)),
        tuple(each for each in found if isinstance(each, Problem)),
    )


def documents_outcome(
    asked: tuple[DocumentReference, ...],
    held: Mapping[str, StoredInstance],
    *,
    repository_unique_id: str,
) -> Outcome:
    """Decide which documents to send (ITI-43)."""
    for each in asked:
        if each.repository_unique_id != repository_unique_id:
            context = f"repository {each.repository_unique_id} is not {repository_unique_id}"
            return Outcome((), (Problem(code="XDSUnknownRepositoryId", context=context, location=None),))
    found = [(each, held.get(each.document_unique_id)) for each in asked]
    return Outcome(
        tuple(
            Document(replace(stored.reference, home_community_id=each.home_community_id), stored)
            for each, stored in found
            if stored is not None
        ),
        tuple(
            Problem(code="XDSDocumentUniqueIdError", context="document not found", location=each.document_unique_id)
            for each, stored in found
            if stored is None
        ),
    )


def _document(reference: InstanceReference, transfer_syntaxes: tuple[str, ...], archive: Archive) -> Document | Problem:
    uid = reference.sop_instance_uid
    stored = archive.maybe_instance(uid)
    if stored is None:
        return Problem(code="XDSMissingDocument", context="instance not found", location=uid)
    if stored.reference.study_instance_uid != reference.study_instance_uid:
        return Problem(code="XDSDocumentUniqueIdError", context="instance of another study", location=uid)
    if stored.reference.series_instance_uid != reference.series_instance_uid:
        return Problem(code="XDSDocumentUniqueIdError", context="instance of another series", location=uid)
    if stored.transfer_syntax_uid not in transfer_syntaxes:
        # PS3.18: "cannot be provided in the requested transfer syntax". A simulated source never transcodes.
        context = f"stored as {stored.transfer_syntax_uid}, which TransferSyntaxUIDList does not name"
        return Problem(code="urn:dicom:wado:0007", context=context, location=uid)
    return Document(reference, stored)
