"""
The request: SOAP 1.2 with WS-Addressing, in MTOM packaging or simple SOAP.

Source: IHE RAD TF-2 4.69 (RAD-69) and 4.75 (RAD-75), ITI TF-2 3.43 (ITI-43) and its appendix V.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias
from xml.sax.saxutils import escape

import xmltodict

from ._soap import SOAP_MEDIA_TYPE, XOP_MEDIA_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._documents import DocumentReference
    from ._references import InstanceReference

Transaction: TypeAlias = Literal["RAD-69", "RAD-75"]

#: RAD TF-2 4.69 and 4.75; the two differ in nothing else.
ACTIONS: Final[dict[Transaction, str]] = {
    "RAD-69": "urn:ihe:rad:2009:RetrieveImagingDocumentSet",
    "RAD-75": "urn:ihe:rad:2011:CrossGatewayRetrieveImagingDocumentSet",
}
_RETRIEVE_DOCUMENTS: Final = "urn:ihe:iti:2007:RetrieveDocumentSet"

# Metro answers with MTOM only where Accept names application/xop+xml.
ACCEPT: Final = f"multipart/related, {XOP_MEDIA_TYPE}, {SOAP_MEDIA_TYPE}, text/xml;q=0.5"

_SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
_ADDRESSING = "http://www.w3.org/2005/08/addressing"
_ANONYMOUS = "http://www.w3.org/2005/08/addressing/anonymous"
_XDSI = "urn:ihe:rad:xdsi-b:2009"
_XDS = "urn:ihe:iti:xds-b:2007"

# What is written by itself, or was given by others and must not be touched, takes the place of a child of this text.
_PLACEHOLDER = "-"
_MESSAGE_ID = "<a:MessageID>{}</a:MessageID>"


def new_message_id() -> str:
    """A MessageID for one attempt; CXF answers a repeated one with wsa:DuplicateMessageID."""
    return f"urn:uuid:{uuid.uuid4()}"


class Question(Protocol):
    """
    What is asked in one exchange.

    Attributes:
        action: The WS-Addressing Action.
        asked: How many documents it asks for.
    """

    @property
    def action(self) -> str: ...

    @property
    def asked(self) -> int: ...

    def xml(self, *, to: str, message_id: str, security_header: bytes = b"") -> bytes:
        """The envelope, with *security_header* in its header as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrieveImagingDocumentSet:
    """
    Asks for instances, RAD TF-2 4.69.4.1.

    Attributes:
        references: Each with its repository unique id set.
        transfer_syntaxes: Their UIDs; one at least.
        transaction: Whether a source is asked or a gateway.
    """

    references: tuple[InstanceReference, ...]
    transfer_syntaxes: tuple[str, ...]
    transaction: Transaction = "RAD-69"

    @property
    def action(self) -> str:
        return ACTIONS[self.transaction]

    @property
    def asked(self) -> int:
        return len(self.references)

    def xml(self, *, to: str, message_id: str, security_header: bytes = b"") -> bytes:
        """Studies and series are grouped: dcm4chee keeps only the last of two SeriesRequests with the same UID."""
        start, middle, end = _around(self.action, to, self.transfer_syntaxes)
        text = f"{start}{_MESSAGE_ID.format(escape(message_id))}{middle}{_study_requests(self.references)}{end}"
        return _secured(text, security_header)


@lru_cache(maxsize=64)
def _around(action: str, to: str, transfer_syntaxes: tuple[str, ...]) -> tuple[str, str, str]:
    """What is before, between and after the MessageID and the StudyRequests: the same for a whole retrieve."""
    body = {
        "@xmlns:iherad": _XDSI,
        "@xmlns:ihe": _XDS,
        "iherad:StudyRequest": _PLACEHOLDER,
        "iherad:TransferSyntaxUIDList": {"iherad:TransferSyntaxUID": list(transfer_syntaxes)},
    }
    text = _envelope(action, to, _PLACEHOLDER, {"iherad:RetrieveImagingDocumentSetRequest": body})
    start, _, rest = text.partition(_MESSAGE_ID.format(_PLACEHOLDER))
    # One pattern, hundreds of times over: written by itself it takes a tenth of the time.
    middle, _, end = rest.partition(f"<iherad:StudyRequest>{_PLACEHOLDER}</iherad:StudyRequest>")
    return start, middle, end


@dataclass(frozen=True, slots=True)
class RetrieveDocumentSet:
    """Asks for documents of a repository, ITI TF-2 3.43.4.1."""

    documents: tuple[DocumentReference, ...]

    @property
    def action(self) -> str:
        return _RETRIEVE_DOCUMENTS

    @property
    def asked(self) -> int:
        return len(self.documents)

    def xml(self, *, to: str, message_id: str, security_header: bytes = b"") -> bytes:
        body = {"@xmlns:ihe": _XDS, "ihe:DocumentRequest": _PLACEHOLDER}
        text = _envelope(self.action, to, message_id, {"ihe:RetrieveDocumentSetRequest": body})
        asked = "".join(
            _document_request(each.home_community_id, each.repository_unique_id, each.document_unique_id)
            for each in self.documents
        )
        placeholder = f"<ihe:DocumentRequest>{_PLACEHOLDER}</ihe:DocumentRequest>"
        return _secured(text.replace(placeholder, asked), security_header)


def _envelope(action: str, to: str, message_id: str, body: dict[str, Any]) -> str:
    header = {
        # IHE_WSA101: mustUnderstand on Action. IHE_WSA102, note 1: none on ReplyTo.
        "a:Action": {"@s:mustUnderstand": "1", "#text": action},
        "a:MessageID": message_id,
        "a:ReplyTo": {"a:Address": _ANONYMOUS},
        "a:To": to,
    }
    envelope = {"@xmlns:s": _SOAP_12, "@xmlns:a": _ADDRESSING, "s:Header": header, "s:Body": body}
    return str(xmltodict.unparse({"s:Envelope": envelope}))  # type: ignore[no-untyped-call]


def _secured(envelope: str, security_header: bytes) -> bytes:
    # Byte for byte: an assertion is signed, and another prefix or blank would break its signature.
    head, end, rest = envelope.encode().partition(b"</s:Header>")
    return b"".join((head, security_header, end, rest))


def _study_requests(references: Iterable[InstanceReference]) -> str:
    studies: dict[str, dict[str, list[str]]] = {}
    for each in references:
        series = studies.setdefault(each.study_instance_uid, {})
        series.setdefault(each.series_instance_uid, []).append(
            _document_request(each.home_community_id, each.repository_unique_id or "", each.sop_instance_uid)
        )
    return "".join(
        f'<iherad:StudyRequest studyInstanceUID="{escape(study_uid)}">{_series_requests(series)}</iherad:StudyRequest>'
        for study_uid, series in studies.items()
    )


def _series_requests(series: dict[str, list[str]]) -> str:
    return "".join(
        f'<iherad:SeriesRequest seriesInstanceUID="{escape(series_uid)}">{"".join(documents)}</iherad:SeriesRequest>'
        for series_uid, documents in series.items()
    )


def _document_request(home_community_id: str | None, repository_unique_id: str, document_unique_id: str) -> str:
    # xs:sequence: the order of the three is part of the schema.
    community = f"<ihe:HomeCommunityId>{escape(home_community_id)}</ihe:HomeCommunityId>" if home_community_id else ""
    return (
        f"<ihe:DocumentRequest>{community}"
        f"<ihe:RepositoryUniqueId>{escape(repository_unique_id)}</ihe:RepositoryUniqueId>"
        f"<ihe:DocumentUniqueId>{escape(document_unique_id)}</ihe:DocumentUniqueId></ihe:DocumentRequest>"
    )


def simple_body(envelope: bytes, action: str) -> tuple[str, bytes]:
    """Content-Type and body of a request in simple SOAP."""
    return f'{SOAP_MEDIA_TYPE}; charset=utf-8; action="{action}"', envelope


def mtom_body(envelope: bytes, action: str) -> tuple[str, bytes]:
    """
    Content-Type and body of a request in MTOM packaging, which ITI TF-2 3.43.5 demands of the consumer.

    The message has no attachment: it is the root part alone.
    """
    token = uuid.uuid4().hex
    boundary, content_id = f"MIMEBoundary_{token}", f"<0.{token}@asyncrad69.invalid>"
    content_type = (
        f'multipart/related; boundary="{boundary}"; type="{XOP_MEDIA_TYPE}"; start="{content_id}"; '
        f'start-info="{SOAP_MEDIA_TYPE}"; action="{action}"'
    )
    head = (
        f"--{boundary}\r\n"
        f'Content-Type: {XOP_MEDIA_TYPE}; charset=UTF-8; type="{SOAP_MEDIA_TYPE}"\r\n'
        "Content-Transfer-Encoding: binary\r\n"
        f"Content-ID: {content_id}\r\n\r\n"
    )
    return content_type, b"".join((head.encode(), envelope, f"\r\n--{boundary}--\r\n".encode()))
