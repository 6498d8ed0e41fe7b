"""
Writing the answer: a RetrieveDocumentSetResponse in MTOM packaging, or a SOAP fault.

Source: ITI TF-2 3.43 and its appendix V, XOP 1.0, RFC 2046, 2387 and 2392, ebRS 3.0, SOAP 1.2 part 1.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from ._names import ADDRESSING, EBRS, RESPONSE_ACTION, SOAP, SOAP_MEDIA_TYPE, XDS, XOP, XOP_MEDIA_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._outcome import Document, Outcome, Problem
    from ._request import Fault

_STATUS: Final = {
    "Success": "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success",
    # IHE's own: ebRS has no such status.
    "PartialSuccess": "urn:ihe:iti:2007:ResponseStatusType:PartialSuccess",
    "Failure": "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Failure",
}
_ERROR: Final = "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:Error"

# WS-Addressing 1.0 SOAP binding, 6: one action for its own faults, one for all others.
_ADDRESSING_FAULT: Final = "http://www.w3.org/2005/08/addressing/fault"
_SOAP_FAULT: Final = "http://www.w3.org/2005/08/addressing/soap/fault"

_XML_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>'


class Answer:
    """
    The answer to one request, as a multipart/related message.

    Args:
        outcome: What is sent.
        relates_to: The MessageID of the request.
        read_size: How much of an instance is read at a time, in bytes.
    """

    def __init__(self, outcome: Outcome, *, relates_to: str, read_size: int) -> None:
        self._outcome = outcome
        self._relates_to = relates_to
        self._read_size = read_size
        self._token = uuid.uuid4()  # no file contains it, so that no file contains the boundary

    @property
    def content_type(self) -> str:
        """The Content-Type header."""
        return (
            f'multipart/related; boundary="{self._boundary}"; type="{XOP_MEDIA_TYPE}"; '
            f'start="<{self._content_id(0)}>"; start-info="{SOAP_MEDIA_TYPE}"'
        )

    @property
    def reads_files(self) -> bool:
        """Whether iterating over the chunks blocks."""
        return any(document.stored.on_disk for document in self._outcome.documents)

    def chunks(self) -> Iterator[bytes]:
        """The body, in chunks of about *read_size* bytes. At most two of them are in memory at once."""
        return _coalesced(self._pieces(), self._read_size)

    def _pieces(self) -> Iterator[bytes]:
        yield self._head(0, f'{XOP_MEDIA_TYPE}; charset=UTF-8; type="{SOAP_MEDIA_TYPE}"').removeprefix(b"\r\n")
        yield self._root().encode()
        for number, document in enumerate(self._outcome.documents, start=1):
            yield self._head(number, "application/dicom")
            yield from document.stored.pieces(self._read_size)
        yield f"\r\n--{self._boundary}--\r\n".encode()

    @property
    def _boundary(self) -> str:
        return f"uuid:{self._token}"

    def _content_id(self, number: int) -> str:
        # The plus is legal here, and percent-encoded in a URL: a consumer has to undo that (RFC 2392 2).
        return f"{number}+{self._token}@simulated-source.invalid"

    def _head(self, number: int, content_type: str) -> bytes:
        # RFC 2046 5.1.1: the CRLF before the delimiter belongs to the delimiter, not to the part before it.
        return (
            f"\r\n--{self._boundary}\r\n"
            f"Content-Type: {content_type}\r\n"
            "Content-Transfer-Encoding: binary\r\n"
            f"Content-ID: <{self._content_id(number)}>\r\n\r\n"
        ).encode()

    def _root(self) -> str:
        documents = (
            _document_response(document, self._content_id(number))
            for number, document in enumerate(self._outcome.documents, start=1)
        )
        response = (
            f'<RetrieveDocumentSetResponse xmlns="{XDS}" xmlns:rs="{EBRS}">'
            f"{_registry_response(self._outcome)}{''.join(documents)}</RetrieveDocumentSetResponse>"
        )
        return _envelope(response, action=RESPONSE_ACTION, relates_to=self._relates_to)


def _coalesced(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Join neighbours until they are *size* bytes: small instances would cost a system call per header."""
    pending: list[bytes] = []
    length = 0
    for piece in pieces:
        pending.append(piece)
        length += len(piece)
        if length >= size:
            yield b"".join(pending)
            pending.clear()
            length = 0
    yield b"".join(pending)


def _registry_response(outcome: Outcome) -> str:
    errors = "".join(map(_registry_error, outcome.problems))
    if errors:
        errors = f'<rs:RegistryErrorList highestSeverity="{_ERROR}">{errors}</rs:RegistryErrorList>'
    return f'<rs:RegistryResponse status="{_STATUS[outcome.status]}">{errors}</rs:RegistryResponse>'


def _registry_error(problem: Problem) -> str:
    location = f" location={quoteattr(problem.location)}" if problem.location else ""
    return (
        f"<rs:RegistryError errorCode={quoteattr(problem.code)} codeContext={quoteattr(problem.context)} "
        f'severity="{_ERROR}"{location}/>'
    )


def _document_response(document: Document, content_id: str) -> str:
    asked = document.reference
    # ITI TF-2 3.43.4.2.2: the answer names the community if and only if the request did.
    home = asked.home_community_id
    community = f"<HomeCommunityId>{escape(home)}</HomeCommunityId>" if home else ""
    href = quoteattr("cid:" + quote(content_id, safe="@"))
    return (
        f"<DocumentResponse>{community}"
        f"<RepositoryUniqueId>{escape(asked.repository_unique_id or '')}</RepositoryUniqueId>"
        f"<DocumentUniqueId>{escape(asked.sop_instance_uid)}</DocumentUniqueId>"
        "<mimeType>application/dicom</mimeType>"
        f'<Document><xop:Include xmlns:xop="{XOP}" href={href}/></Document>'
        "</DocumentResponse>"
    )


def fault_xml(fault: Fault, *, relates_to: str | None) -> bytes:
    """The envelope of a SOAP 1.2 fault; *relates_to* is the MessageID of the request, if it had one."""
    code = ""
    for subcode in reversed(fault.subcodes):
        code = f"<s:Subcode><s:Value>a:{subcode}</s:Value>{code}</s:Subcode>"
    body = (
        f"<s:Fault><s:Code><s:Value>s:{fault.code}</s:Value>{code}</s:Code>"
        f'<s:Reason><s:Text xml:lang="en">{escape(fault.reason)}</s:Text></s:Reason></s:Fault>'
    )
    action = _ADDRESSING_FAULT if fault.subcodes else _SOAP_FAULT
    return _envelope(body, action=action, relates_to=relates_to).encode()


def _envelope(body: str, *, action: str, relates_to: str | None) -> str:
    related = f"<a:RelatesTo>{escape(relates_to)}</a:RelatesTo>" if relates_to else ""
    return (
        f'{_XML_DECLARATION}<s:Envelope xmlns:s="{SOAP}" xmlns:a="{ADDRESSING}"><s:Header>'
        f'<a:Action s:mustUnderstand="1">{action}</a:Action>'
        f"<a:MessageID>urn:uuid:{uuid.uuid4()}</a:MessageID>{related}"
        f"</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )
