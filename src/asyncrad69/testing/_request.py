"""
Reading the question, as a strict source does: packaging, envelope, addressing, then the request itself.

Source: RAD TF-2 4.69, ITI TF-2 3.43 and its appendix V, SOAP 1.2 part 1, WS-Addressing 1.0 SOAP binding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message as MimePart
from typing import TYPE_CHECKING, Literal, NoReturn
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from asyncrad69._documents import DocumentReference
from asyncrad69._errors import InvalidReferenceError
from asyncrad69._references import InstanceReference, valid_uid

from ._names import (
    ADDRESSING,
    CROSS_GATEWAY_ACTION,
    DOCUMENTS_ACTION,
    REQUEST_ACTION,
    SOAP,
    SOAP_MEDIA_TYPE,
    WSSE,
    XDS,
    XDSI,
    XOP_MEDIA_TYPE,
)

if TYPE_CHECKING:
    from collections.abc import Container

    from ._requests_log import Packaging


class UnsupportedMediaTypeError(Exception):
    """Neither MTOM nor simple SOAP 1.2: HTTP 415."""


class Refusal(Exception):
    """
    The request breaks a rule; answered with a SOAP fault.

    Args:
        reason: What is wrong, for a person.
        code: SOAP 1.2's fault code.
        subcodes: Local names in WS-Addressing, or in WS-Security, outermost first.
        security: Whether they are WS-Security's.
    """

    def __init__(
        self,
        reason: str,
        *,
        code: Literal["Sender", "Receiver", "VersionMismatch"] = "Sender",
        subcodes: tuple[str, ...] = (),
        security: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.subcodes = subcodes
        self.security = security


class Rejection(Exception):
    """
    The request can be read and not be served; answered with a RegistryError for all of it.

    Args:
        code: Its errorCode.
        context: What is wrong, for a person.
    """

    def __init__(self, code: str, context: str) -> None:
        super().__init__(context)
        self.code = code
        self.context = context


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """
    A SOAP message that can be read, whatever it says.

    Attributes:
        action: wsa:Action.
        action_parameter: The action parameter of the Content-Type, if it has one (RFC 3902).
        message_id: wsa:MessageID.
        body: The Body element, if there is one.
        has_security: Whether there is a wsse:Security.
        envelope: The XML as it came.
    """

    action: str | None
    action_parameter: str | None
    message_id: str | None
    body: Element | None
    has_security: bool
    envelope: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RetrieveRequest:
    """
    A RetrieveImagingDocumentSetRequest.

    Attributes:
        references: What is asked for, each with its repository unique id; each once.
        transfer_syntaxes: What the consumer can process.
    """

    references: tuple[InstanceReference, ...]
    transfer_syntaxes: tuple[str, ...]


# --- packaging -----------------------------------------------------------------------------------------


def maybe_packaging(content_type: str) -> Packaging | None:
    """How the message is packaged; ``None`` if in no way a source knows."""
    header = _header(content_type)
    if header.get_content_type() == SOAP_MEDIA_TYPE:
        return "simple"
    if header.get_content_type() == "multipart/related" and header.get_param("type") == XOP_MEDIA_TYPE:
        return "mtom"
    return None


def _header(content_type: str) -> MimePart:
    header = MimePart()
    header["Content-Type"] = content_type
    return header


def read_message(content_type: str, body: bytes) -> Message:
    """
    Unpack the SOAP envelope.

    Raises:
        UnsupportedMediaTypeError: It is packaged in another way.
        Refusal: The multipart or the XML is broken, or it is not SOAP 1.2.
    """
    packaging = maybe_packaging(content_type)
    if packaging is None:
        raise UnsupportedMediaTypeError
    xml = body if packaging == "simple" else _root_part(content_type, body)
    envelope = _envelope(xml)
    action = _header(content_type).get_param("action")
    return Message(
        action=envelope.findtext(f"{{{SOAP}}}Header/{{{ADDRESSING}}}Action"),
        action_parameter=action if isinstance(action, str) else None,
        message_id=envelope.findtext(f"{{{SOAP}}}Header/{{{ADDRESSING}}}MessageID"),
        body=envelope.find(f"{{{SOAP}}}Body"),
        has_security=envelope.find(f"{{{SOAP}}}Header/{{{WSSE}}}Security") is not None,
        envelope=xml,
    )


def _root_part(content_type: str, body: bytes) -> bytes:
    """The part that ``start`` names, or the first (RFC 2387 3.2)."""
    multipart = message_from_bytes(b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n" + body)
    if multipart.defects or not multipart.is_multipart():
        raise Refusal("the body is not the multipart/related message that its Content-Type announces")
    parts = [part for part in multipart.walk() if part is not multipart]
    start = multipart.get_param("start")
    root = next((part for part in parts if part["Content-ID"] == start), None) if start else parts[0]
    if root is None or root.get_content_type() != XOP_MEDIA_TYPE:
        raise Refusal(f"the root part is missing or not {XOP_MEDIA_TYPE}")
    data = root.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


class _WithoutDoctype(TreeBuilder):
    def doctype(self, *_: str | None) -> NoReturn:
        # SOAP 1.2 part 1, 5: "must not contain a document type declaration". No entity can be declared then.
        raise Refusal("a SOAP message has no document type declaration")


def _envelope(xml: bytes) -> Element:
    parser = XMLParser(target=_WithoutDoctype())  # noqa: S314 - it refuses what makes it vulnerable
    try:
        parser.feed(xml)
        root = parser.close()
    except ParseError as exc:
        line, column = exc.position
        raise Refusal(f"the envelope is not well-formed XML: line {line}, column {column}") from exc
    if root.tag != f"{{{SOAP}}}Envelope":
        raise Refusal("the message is not a SOAP 1.2 Envelope", code="VersionMismatch")
    return root


# --- addressing ----------------------------------------------------------------------------------------


def check_addressing(message: Message, *, seen: Container[str]) -> None:
    """
    Check Action and MessageID as WS-Addressing 1.0 SOAP binding, 6.4, names the faults.

    Args:
        message: The message.
        seen: The MessageIDs of earlier requests.

    Raises:
        Refusal: One is missing, unknown, contradicted or repeated.
    """
    if message.action is None or message.message_id is None:
        missing = "Action" if message.action is None else "MessageID"
        raise Refusal(f"wsa:{missing} is missing", subcodes=("MessageAddressingHeaderRequired",))
    # Compared as it stands, blanks included: URIs are equal if their characters are.
    if message.action not in (REQUEST_ACTION, CROSS_GATEWAY_ACTION, DOCUMENTS_ACTION):
        raise Refusal(f"wsa:Action is not {REQUEST_ACTION}", subcodes=("ActionNotSupported",))
    if message.action_parameter not in (None, message.action):
        _invalid_header("ActionMismatch", "the action parameter of the Content-Type is not wsa:Action")
    if not message.message_id.strip():
        _invalid_header("InvalidCardinality", "wsa:MessageID is empty")
    if message.message_id in seen:
        _invalid_header("DuplicateMessageID", "wsa:MessageID was used before; every attempt needs its own")


def _invalid_header(subcode: str, reason: str) -> NoReturn:
    raise Refusal(reason, subcodes=("InvalidAddressingHeader", subcode))


# --- the request itself --------------------------------------------------------------------------------


def retrieve_request(message: Message) -> RetrieveRequest:
    """
    Read what is asked for.

    Raises:
        Refusal: The Body does not hold one RetrieveImagingDocumentSetRequest, complete and with valid UIDs.
        Rejection: A UID is blank.
    """
    request = _only_child(message.body, f"{{{XDSI}}}RetrieveImagingDocumentSetRequest")
    try:
        references = tuple(dict.fromkeys(_references(request)))
        syntaxes = request.findall(f"{{{XDSI}}}TransferSyntaxUIDList/{{{XDSI}}}TransferSyntaxUID")
        if not all((each.text or "").strip() for each in syntaxes):
            raise Rejection("XDSRepositoryError", "a TransferSyntaxUID is blank")
        transfer_syntaxes = tuple(valid_uid(each.text, "TransferSyntaxUID") for each in syntaxes)
    except InvalidReferenceError as exc:
        raise Refusal(str(exc)) from exc
    if not transfer_syntaxes:
        raise Refusal("TransferSyntaxUIDList is missing or empty")
    if message.action == CROSS_GATEWAY_ACTION and not all(each.home_community_id for each in references):
        raise Rejection("XDSMissingHomeCommunityId", "RAD-75 names the home community of each instance")
    return RetrieveRequest(references, transfer_syntaxes)


def documents_request(message: Message) -> tuple[DocumentReference, ...]:
    """
    Read which documents ITI-43 asks for.

    Raises:
        Fault: The Body does not hold one RetrieveDocumentSetRequest, complete and valid.
    """
    request = _only_child(message.body, f"{{{XDS}}}RetrieveDocumentSetRequest")
    try:
        return tuple(dict.fromkeys(map(_document, _required(request, f"{{{XDS}}}DocumentRequest"))))
    except InvalidReferenceError as exc:
        raise Refusal(str(exc)) from exc


def _document(document: Element) -> DocumentReference:
    return DocumentReference(
        repository_unique_id=document.findtext(f"{{{XDS}}}RepositoryUniqueId", ""),
        document_unique_id=document.findtext(f"{{{XDS}}}DocumentUniqueId", ""),
        home_community_id=document.findtext(f"{{{XDS}}}HomeCommunityId"),
    )


def _only_child(body: Element | None, tag: str) -> Element:
    """ITI TF-2 appendix V: document/literal, hence one element in the Body and no text beside it."""
    children = [] if body is None else list(body)
    if body is None or len(children) != 1:
        raise Refusal(f"the Body holds exactly one element, not {len(children)}")
    request = children[0]
    if (body.text or "").strip() or (request.tail or "").strip():
        raise Refusal("the Body holds text beside its element")
    if request.tag != tag:
        raise Refusal(f"the Body does not hold a {_local(tag)}")
    return request


def _references(request: Element) -> list[InstanceReference]:
    return [
        _reference(study, series, document)
        for study in _required(request, f"{{{XDSI}}}StudyRequest")
        for series in _required(study, f"{{{XDSI}}}SeriesRequest")
        for document in _required(series, f"{{{XDS}}}DocumentRequest")
    ]


def _required(parent: Element, tag: str) -> list[Element]:
    """The children of that name; each level of the request has one or more."""
    children = parent.findall(tag)
    if not children:
        raise Refusal(f"a {_local(parent.tag)} holds no {_local(tag)}")
    return children


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _reference(study: Element, series: Element, document: Element) -> InstanceReference:
    uids = {
        "studyInstanceUID": study.get("studyInstanceUID", ""),
        "seriesInstanceUID": series.get("seriesInstanceUID", ""),
        "DocumentUniqueId": document.findtext(f"{{{XDS}}}DocumentUniqueId", ""),
    }
    if blank := [name for name, uid in uids.items() if not uid.strip()]:
        raise Rejection("XDSIRequestError", f"{blank[0]} is blank")
    return InstanceReference(
        *uids.values(),
        repository_unique_id=valid_uid(document.findtext(f"{{{XDS}}}RepositoryUniqueId"), "RepositoryUniqueId"),
        home_community_id=document.findtext(f"{{{XDS}}}HomeCommunityId"),
    )
