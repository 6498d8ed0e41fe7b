"""RAD-69 replies as the known SOAP stacks write them, byte by byte: their boundaries, header orders, line ends."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from asyncrad69 import Rad69Error
from asyncrad69._limits import Limits
from asyncrad69._reply import Part, Reply
from asyncrad69._soap import DocumentResponse, Manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

EBRS_STATUS: Final = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:"
IHE_STATUS: Final = "urn:ihe:iti:2007:ResponseStatusType:"
SEVERITY: Final = "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:"
SOAP_12: Final = "http://www.w3.org/2003/05/soap-envelope"
SOAP_11: Final = "http://schemas.xmlsoap.org/soap/envelope/"

_UUID: Final = "5eb2c8f0-7d4b-4a53-9f35-2a3f4d0c8b11"


@dataclass(frozen=True, slots=True)
class Sent:
    """A document as the source has it."""

    uid: str
    data: bytes
    mime_type: str = "application/dicom"


@dataclass(frozen=True, slots=True)
class Written:
    """A reply on the wire."""

    content_type: str
    body: bytes
    http_status: int = 200


def error(code: str, *, location: str | None = None, severity: str | None = "Error", context: str = "text") -> str:
    """One RegistryError element."""
    attributes = {"codeContext": context, "errorCode": code, "location": location}
    if severity is not None:
        attributes["severity"] = SEVERITY + severity
    written = "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items() if value is not None)
    return f"<rs:RegistryError{written}/>"


def include(href: str) -> str:
    """The xop:Include of a part."""
    return f'<xop:Include xmlns:xop="http://www.w3.org/2004/08/xop/include" href="{href}"/>'


def inline(data: bytes) -> str:
    """A document inside the XML."""
    return base64.b64encode(data).decode()


def document(uid: str, content: str, *, mime_type: str = "application/dicom") -> str:
    """One DocumentResponse; *content* is what `include` or `inline` gave."""
    return (
        "<DocumentResponse><HomeCommunityId/><RepositoryUniqueId>1.9</RepositoryUniqueId>"
        f"<DocumentUniqueId>{escape(uid)}</DocumentUniqueId><mimeType>{mime_type}</mimeType>"
        f"<Document>{content}</Document></DocumentResponse>"
    )


def answer(
    documents: Sequence[str] = (),
    *,
    status: str = EBRS_STATUS + "Success",
    errors: Sequence[str] = (),
    relates_to: str | None = "urn:uuid:1",
) -> str:
    """The envelope of a RetrieveDocumentSetResponse."""
    error_list = f"<rs:RegistryErrorList>{''.join(errors)}</rs:RegistryErrorList>" if errors else ""
    return envelope(
        '<RetrieveDocumentSetResponse xmlns="urn:ihe:iti:xds-b:2007" '
        'xmlns:rs="urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0">'
        f'<rs:RegistryResponse status="{status}">{error_list}</rs:RegistryResponse>'
        f"{''.join(documents)}</RetrieveDocumentSetResponse>",
        relates_to=relates_to,
    )


def envelope(body: str, *, relates_to: str | None = None, soap: str = SOAP_12) -> str:
    """A SOAP envelope around *body*."""
    related = f"<a:RelatesTo>{relates_to}</a:RelatesTo>" if relates_to else ""
    return (
        f'<s:Envelope xmlns:s="{soap}" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header>'
        '<a:Action s:mustUnderstand="1">urn:ihe:iti:2007:RetrieveDocumentSetResponse</a:Action>'
        f"{related}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )


def fault_12(code: str = "Sender", *, subcode: str | None = None, reason: str = "no") -> str:
    """A SOAP 1.2 fault."""
    sub = f"<s:Subcode><s:Value>a:{subcode}</s:Value></s:Subcode>" if subcode else ""
    return envelope(
        f"<s:Fault><s:Code><s:Value>s:{code}</s:Value>{sub}</s:Code>"
        f'<s:Reason><s:Text xml:lang="en">{reason}</s:Text></s:Reason><s:Detail><x>1</x></s:Detail></s:Fault>'
    )


def fault_11(code: str = "Server", *, reason: str = "no") -> str:
    """A SOAP 1.1 fault, whose children are in no namespace."""
    return envelope(
        f"<s:Fault><faultcode>s:{code}</faultcode><faultstring>{reason}</faultstring></s:Fault>", soap=SOAP_11
    )


def _bare(content_id: str) -> str:
    return content_id.strip("<>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """How one SOAP stack writes a multipart reply; part 0 is the root."""

    content_type: str
    boundary: str
    content_id: Callable[[int], str]
    root_head: tuple[str, ...]
    part_head: tuple[str, ...]
    href: Callable[[str], str] = _bare
    preamble: str = ""
    after_root: str = ""
    end: str = "--"
    inlines_up_to: int = -1
    eol: str = "\r\n"
    root_last: bool = False

    def write(
        self,
        documents: Sequence[Sent] = (),
        *,
        status: str = EBRS_STATUS + "Success",
        errors: Sequence[str] = (),
        root: str | None = None,
        http_status: int = 200,
    ) -> Written:
        """A reply with *documents*; *root* replaces the envelope, e.g. by a fault."""
        numbers = count(1)
        numbered = [(0 if len(each.data) <= self.inlines_up_to else next(numbers), each) for each in documents]
        if root is None:
            root = answer([self._response(number, each) for number, each in numbered], status=status, errors=errors)
        parts = [self._part(number, self.part_head, each.mime_type, each.data) for number, each in numbered if number]
        root_part = self._part(0, self.root_head, "", (root + self.after_root).encode())
        parts.insert(len(parts) if self.root_last else 0, root_part)
        body = self.preamble.encode() + b"".join(parts) + f"--{self.boundary}{self.end}".encode()
        content_type = self.content_type.format(boundary=self.boundary, start=self.content_id(0))
        return Written(content_type, body, http_status)

    def _response(self, number: int, sent: Sent) -> str:
        href = f"cid:{self.href(self.content_id(number))}"
        return document(sent.uid, include(href) if number else inline(sent.data), mime_type=sent.mime_type)

    def _part(self, number: int, head: Sequence[str], mime_type: str, data: bytes) -> bytes:
        lines = (f"--{self.boundary}", *head, "", "")
        text = self.eol.join(lines).format(id=self.content_id(number), type=mime_type)
        return text.encode() + data + self.eol.encode()


_XOP_ROOT = 'Content-Type: application/xop+xml; charset=UTF-8; type="application/soap+xml"'
_BINARY = "Content-Transfer-Encoding: binary"
_ID = "Content-ID: {id}"
_TYPE = "Content-Type: {type}"


def _cxf_id(number: int) -> str:
    return f"<{_UUID}-{number}@urn:ihe:iti:xds-b:2007>" if number else "<root.message@cxf.apache.org>"


STACKS: Final[dict[str, Stack]] = {
    "cxf": Stack(
        content_type='multipart/related; type="application/xop+xml"; boundary="{boundary}"; start="{start}"; '
        'start-info="application/soap+xml; action=\\"urn:x\\""',
        boundary=f"uuid:{_UUID}",
        content_id=_cxf_id,
        href=lambda content_id: quote(content_id.strip("<>"), safe="@"),
        preamble="\r\n",
        root_head=(_XOP_ROOT, _BINARY, _ID),
        part_head=(_TYPE, _BINARY, _ID),
    ),
    "cxf-old": Stack(
        content_type='multipart/related; type="application/xop+xml"; boundary="{boundary}"; start="{start}"; '
        'start-info="application/soap+xml"',
        boundary=f"uuid:{_UUID}",
        content_id=lambda number: quote(_cxf_id(number), safe="<>@"),
        root_head=(_XOP_ROOT, _BINARY, _ID),
        part_head=(_TYPE, _BINARY, _ID),
    ),
    "metro": Stack(
        content_type='multipart/related;start="{start}";type="application/xop+xml";boundary="{boundary}";'
        'start-info="application/soap+xml;action=\\"urn:x\\""',
        boundary=f"uuid:{_UUID}",
        content_id=lambda number: (
            f"<{_UUID}{number}@example.jaxws.sun.com>" if number else f"<rootpart*{_UUID}@example.jaxws.sun.com>"
        ),
        root_head=(_ID, _XOP_ROOT, _BINARY),
        part_head=(_ID, _TYPE, _BINARY),
    ),
    "axis2": Stack(
        content_type="multipart/related; boundary={boundary}; "
        'type="application/xop+xml"; start="{start}"; start-info="application/soap+xml; action=\\"urn:x\\""',
        boundary="MIMEBoundary_0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6071",
        content_id=lambda number: f"<{number}.urn:uuid:0A1B2C3D@apache.org>",
        root_head=(_XOP_ROOT, _BINARY, _ID),
        part_head=(_BINARY, _ID),
        end="--\r\n",
    ),
    "wcf": Stack(
        content_type='multipart/related;type="application/xop+xml";start="{start}";boundary="{boundary}";'
        'start-info="application/soap+xml"',
        boundary=f"uuid:{_UUID}+id=1",
        content_id=lambda number: (
            f"<http://tempuri.org/{number}>" if not number else f"<http://tempuri.org/{number}/632>"
        ),
        href=lambda content_id: quote(content_id.strip("<>"), safe=""),
        preamble="\r\n",
        root_head=(_ID, "Content-Transfer-Encoding: 8bit", _XOP_ROOT.replace("UTF-8", "utf-8")),
        part_head=(_ID, _BINARY, "Content-Type: application/octet-stream"),
        end="--\r\n",
        inlines_up_to=767,
    ),
    "gsoap": Stack(
        content_type="multipart/related; charset=utf-8; "
        'type="application/xop+xml"; start="{start}"; start-info="application/soap+xml"; boundary="{boundary}"',
        boundary="==sGjEh07k+3ZQ==",
        content_id=lambda number: f"<id{number}>" if number else "<SOAP-ENV:Envelope>",
        root_head=(_XOP_ROOT, _BINARY, _ID),
        part_head=(_TYPE, _BINARY, _ID),
    ),
    "toolkit2": Stack(
        content_type="multipart/related; boundary={boundary};  "
        'type="application/xop+xml"; start="{start}"; start-info="application/soap+xml"',
        boundary="MIMEBoundary112233445566778899",
        content_id=lambda number: f"<doc{number}@ihexds.nist.gov>",
        root_head=(_XOP_ROOT, _BINARY, _ID),
        part_head=(_TYPE, _BINARY, _ID),
        after_root="\r\n\r\n",
        end="--\r\n",
    ),
    "vitrea": Stack(
        content_type='multipart/related; type="application/xop+xml"; start="{start}"; '
        'start-info="application/soap+xml"; boundary={boundary}',
        boundary="----=_Part_1_1788103738.1647962762356",
        content_id=lambda number: f"e6f6b279-0000-4000-8000-{number:012d}",
        root_head=(_XOP_ROOT, "Content-Id: {id}", _BINARY),
        part_head=(_TYPE, _ID),
    ),
}


def simple(root: str, *, content_type: str = "application/soap+xml; charset=utf-8", http_status: int = 200) -> Written:
    """A reply that is one XML document."""
    return Written(content_type, root.encode(), http_status)


# --- reading them back ---------------------------------------------------------------------------------

LIMITS: Final = Limits(
    max_root=1 << 20,
    max_fault=1 << 20,
    max_xml_depth=64,
    max_part=1 << 20,
    max_preamble=4096,
    max_header_line=2048,
    max_header_count=16,
    max_headers=4096,
    max_parts=40,
    max_boundary=1024,
)


@dataclass(slots=True)
class Read:
    """What a `Reply` made of its bytes."""

    manifest: Manifest | None = None
    parts: list[Part] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    #: How many documents were ended.
    ended: int = 0
    absent: tuple[DocumentResponse, ...] = ()
    remarks: list[str] = field(default_factory=list)
    complete: bool = False
    error: Rad69Error | None = None

    @property
    def documents(self) -> dict[str | None, bytes]:
        """The bytes of each document that came to its end, by the manifest's name for it."""
        return {
            part.document_unique_id: data for part, data in list(zip(self.parts, self.data, strict=True))[: self.ended]
        }

    @property
    def gist(self) -> tuple[object, ...]:
        """What must not depend on how the bytes were cut."""
        errors = [vars(each) for each in self.manifest.errors] if self.manifest else None
        manifest = self.manifest and (self.manifest.status, self.manifest.documents, self.manifest.relates_to)
        complete = [*zip(self.parts, self.data, strict=True)][: self.ended]
        return (
            manifest,
            errors,
            complete,
            len(self.parts),
            self.absent,
            self.remarks,
            type(self.error),
            str(self.error),
        )


def read(written: Written, *, cuts: Iterable[bytes] | None = None, limits: Limits = LIMITS) -> Read:
    """Feed *written* to a `Reply`, whole or as *cuts*."""
    result = Read()
    try:
        reply = Reply(http_status=written.http_status, content_type=written.content_type, limits=limits)
        result.remarks = reply.remarks
        for data in [written.body] if cuts is None else cuts:
            for event in reply.feed(data):
                _note(result, event)
        result.complete = reply.complete
        for event in reply.finish():
            _note(result, event)
        result.absent = reply.absent
    except Rad69Error as exc:
        result.error = exc
    return result


def _note(result: Read, event: Manifest | Part | bytes | memoryview | None) -> None:
    if isinstance(event, Manifest):
        result.manifest = event
    elif isinstance(event, Part):
        result.parts.append(event)
        result.data.append(b"")
    elif event is None:
        result.ended += 1
    else:
        result.data[-1] += event


def singly(body: bytes) -> Iterable[bytes]:
    """*body* byte by byte."""
    return (body[index : index + 1] for index in range(len(body)))


def read_all_ways(written: Written, *, limits: Limits = LIMITS) -> Read:
    """Read *written* whole, byte by byte, and with a tail; all of them must agree."""
    whole = read(written, limits=limits)
    assert read(written, cuts=singly(written.body), limits=limits).gist == whole.gist
    if whole.complete:
        tail = [written.body + b"\r\nepilogue\r\n--"]
        assert read(written, cuts=tail, limits=limits).gist == whole.gist
    return whole
