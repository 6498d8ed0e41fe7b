"""
One reply as a machine: HTTP status and media type first, then bytes in, events out, and a proof that it is whole.

No I/O. The events of a reply are its `Manifest` and, for each document, a `Part`, its bytes in pieces, and ``None``.
A document inside the XML (base64, XOP 1.0 section 1.2: any, all or none may be optimised) makes the same events.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from string import ascii_letters, digits
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote

from . import _multipart
from ._errors import (
    PROXY_HINT,
    AuthenticationError,
    HTTPStatusRefused,
    LimitExceeded,
    NotARad69Response,
    RequestTooLarge,
    ServerBusy,
    SoapError,
)
from ._multipart import MultipartDecoder, Segment
from ._soap import SOAP_MEDIA_TYPE, XOP_MEDIA_TYPE, DocumentResponse, Manifest, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._limits import Limits

_XML_MEDIA_TYPES = frozenset((SOAP_MEDIA_TYPE, XOP_MEDIA_TYPE, "text/xml", "application/xml"))
_ROOT_MEDIA_TYPES = frozenset((SOAP_MEDIA_TYPE, XOP_MEDIA_TYPE))

# A root part beyond this takes long enough to parse to hold up an event loop (about 10 ms).
_LONG_ROOT = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """
    A document begins.

    Attributes:
        document_unique_id: What the manifest calls it; ``None`` if the manifest, as far as it is known, does not.
        media_type: The manifest's mimeType, else the part's Content-Type; may be empty.
        flaw: Why its bytes cannot be used; ``None`` as a rule.
    """

    document_unique_id: str | None
    media_type: str
    flaw: str | None = None


#: What a reply is made of: the manifest once; a part's head, its bytes in pieces, then ``None``.
ReplyEvent: TypeAlias = Manifest | Part | bytes | memoryview | None


def check_status(status: int, content_type: str, *, retry_after_s: float | None = None) -> None:
    """
    Refuse a reply for its HTTP status, unless it may hold a SOAP fault.

    Raises:
        AuthenticationError: 401, 403, 407.
        RequestTooLarge: 413.
        ServerBusy: 429, 503.
        HTTPStatusRefused: Any other status but 200, and 202, which has no answer in it.
    """
    if status == 200:
        return
    media_type = _multipart.content_type(content_type)[0]
    # SOAP 1.2 part 2, 7.5.2.2: a fault comes with 400 or 500; CXF wraps it in multipart.
    may_hold_a_fault = status >= 400 and status not in _BY_STATUS
    if may_hold_a_fault and (media_type in _XML_MEDIA_TYPES or media_type.startswith("multipart/")):
        return
    raise status_error(status, retry_after_s=retry_after_s, hint=_STATUS_HINTS.get(status))


def status_error(status: int, *, retry_after_s: float | None = None, hint: str | None = None) -> HTTPStatusRefused:
    """The error for an HTTP status that ends the exchange; *hint* in place of its class's."""
    cls = _BY_STATUS.get(status, HTTPStatusRefused)
    return cls(
        f"the source answered with HTTP status {status}",
        http_status=status,
        retry_after_s=retry_after_s,
        hint=hint or cls.hint,
    )


_BY_STATUS: dict[int, type[HTTPStatusRefused]] = {
    401: AuthenticationError,
    403: AuthenticationError,
    407: AuthenticationError,
    413: RequestTooLarge,
    429: ServerBusy,
    503: ServerBusy,
}
_STATUS_HINTS = {
    202: "It wants to answer elsewhere (WS-Addressing ReplyTo), which this client does not offer.",
    204: "RAD-69 has no answer without a body: look at the source's log.",
    404: "Check the path of the URL: it is the RAD-69 endpoint itself, not the server's front page.",
    405: "Check the path of the URL: RAD-69 is sent by POST.",
    407: PROXY_HINT,
    415: "It takes another packaging: try packaging='simple'.",
}
_STATUS_HINTS |= dict.fromkeys((301, 302, 303, 307, 308), "Redirects are not followed: use the final URL.")


class Reply:
    """
    The body of one reply.

    Args:
        http_status: Its HTTP status, already checked by `check_status`.
        content_type: Its Content-Type header; empty without one.
        limits: What to read at most.

    Attributes:
        manifest: The parsed root part, as soon as it is known.
        remarks: Deviations from the standard that were tolerated, for the report.
    """

    def __init__(self, *, http_status: int, content_type: str, limits: Limits) -> None:
        self.manifest: Manifest | None = None
        self.remarks: list[str] = []
        self._http_status = http_status
        self._limits = limits
        self._root_limit = "max_root" if http_status < 400 else "max_fault"
        self._media_type, self._parameters = _multipart.content_type(content_type)
        self._decoder: MultipartDecoder | None = None
        self._open = _OpenPart(Segment([]), is_root=True)
        self._segments = 0
        self._arrived: set[str] = set()
        self._unresolved: dict[str, list[DocumentResponse]] = {}
        self._without_content: list[DocumentResponse] = []
        self._start()

    def _start(self) -> None:
        if self._media_type.startswith("multipart/"):
            self._decoder = MultipartDecoder(self._parameters.get("boundary"), self._limits)
        elif self._media_type not in _XML_MEDIA_TYPES:
            raise NotARad69Response(
                f"the reply is {_multipart.shown(self._media_type) if self._media_type else 'without a Content-Type'}, "
                "not multipart/related or SOAP",
                content_type=self._media_type,
                http_status=self._http_status,
                hint=_NOT_RAD69_HINT,
            )

    @property
    def complete(self) -> bool:
        """Whether the rest of the body is of no interest: the closing delimiter has been seen."""
        return self._decoder is not None and self._decoder.complete

    @property
    def parses_long(self) -> bool:
        """Whether the next `feed` or `finish` may parse XML for long: call it off the event loop."""
        return len(self._open.root) > _LONG_ROOT

    @property
    def absent(self) -> tuple[DocumentResponse, ...]:
        """After `finish`: what the manifest promises and no part or text brought."""
        unresolved = (document for documents in self._unresolved.values() for document in documents)
        return (*self._without_content, *unresolved)

    def feed(self, data: bytes) -> Iterator[ReplyEvent]:
        """
        Read *data*, the next bytes of the body. Pieces are views: take them before the next feed.

        Raises:
            SoapFault: The source answered with a fault.
            MultipartError, SoapError, LimitExceeded: The reply is broken or too large.
        """
        if self._decoder is None:
            self._open.root += data
            self._check(self._root_limit, len(self._open.root))
            return
        for event in self._decoder.feed(data):
            if isinstance(event, Segment):
                yield from self._begin(event)
            elif event is None:
                yield from self._end()
            else:
                yield from self._piece(event)

    def finish(self) -> Iterator[ReplyEvent]:
        """
        Say that the body is over; a reply that is one XML document is read now.

        Raises:
            TruncatedResponse: It ended before its closing delimiter.
            SoapError: There was no root part.
            SoapFault: The source answered with a fault.
        """
        if self._decoder is None:
            yield from self._finish_xml()
            return
        self._decoder.finish()
        if self.manifest is None:
            raise SoapError("the reply has no root part: nothing says what the source did not send")

    def _finish_xml(self) -> Iterator[ReplyEvent]:
        if not self._open.root:
            raise NotARad69Response(
                "the reply is empty", content_type=self._media_type, http_status=self._http_status, hint=_NOT_RAD69_HINT
            )
        yield from self._read_root(bytes(self._open.root), self._parameters.get("charset"))

    # --- parts

    def _begin(self, segment: Segment) -> Iterator[ReplyEvent]:
        self._segments += 1
        self._open = _OpenPart(segment, is_root=self._is_root(segment))
        if not self._open.is_root:
            yield self._part(segment)

    def _is_root(self, segment: Segment) -> bool:
        """RFC 2387 3.2: the root is the part that start names, else the first."""
        if self.manifest is not None:
            return False
        start = self._parameters.get("start", "").strip("<> ")
        if start and segment.content_id is not None and _same_id(segment.content_id, start):
            return True
        if segment.content_type in _ROOT_MEDIA_TYPES:
            if start:
                self.remarks.append("the start parameter names no part")
            return True
        # A first part of another type is a document of a writer that puts the root last.
        return not start and self._segments == 1 and segment.content_type in {None, "text/xml", "application/xml"}

    def _part(self, segment: Segment) -> Part:
        identifier = unquote(segment.content_id or "")
        documents = self._unresolved.pop(identifier, [])
        if not documents and self.manifest is not None:
            self.remarks.append("a part came that the manifest does not name")
        self._arrived.add(identifier)
        # One part for several documents: whose it is, is in the part itself.
        document = documents[0] if len({each.document_unique_id for each in documents}) == 1 else None
        return Part(
            document_unique_id=document.document_unique_id if document else None,
            media_type=(document.mime_type if document else "") or segment.content_type or "",
            flaw=self._open.decoding.flaw,
        )

    def _piece(self, piece: bytes | memoryview) -> Iterator[ReplyEvent]:
        part = self._open
        part.size += len(piece)
        self._check(self._root_limit if part.is_root else "max_part", part.size)
        decoded = part.decoding.feed(piece)
        if part.is_root:
            part.root += decoded
        elif decoded:
            yield decoded

    def _end(self) -> Iterator[ReplyEvent]:
        part, self._open = self._open, _OpenPart(Segment([]), is_root=True)
        rest = part.decoding.finish()
        if part.is_root:
            yield from self._read_root(bytes(part.root) + rest, part.charset)
            return
        if rest:
            yield rest
        yield None

    # --- root

    def _read_root(self, data: bytes, charset: str | None) -> Iterator[ReplyEvent]:
        self.manifest = read_manifest(
            data, charset=charset, http_status=self._http_status, max_depth=self._limits.max_xml_depth
        )
        yield self.manifest
        for document in self.manifest.documents:
            if document.data is not None:
                yield from (_inline_part(document), document.data, None)
            elif document.content_id is None:
                self._without_content.append(document)
            elif document.content_id not in self._arrived:
                self._unresolved.setdefault(document.content_id, []).append(document)

    def _check(self, limit: str, value: int) -> None:
        maximum = getattr(self._limits, limit)
        if value > maximum:
            raise LimitExceeded(
                f"the reply has more than {maximum} bytes in {limit}",
                limit=limit,
                maximum=maximum,
            )


_NOT_RAD69_HINT = "A login page or a proxy may stand in front of the source: check the URL and the credentials."


def _inline_part(document: DocumentResponse) -> Part:
    return Part(document_unique_id=document.document_unique_id, media_type=document.mime_type)


def _same_id(content_id: str, other: str) -> bool:
    # Writers percent-encode one of the two, both or neither (CXF-8698).
    return unquote(content_id) == unquote(other)


class _OpenPart:
    """The part that is being read: the root is collected, a document passes through."""

    def __init__(self, segment: Segment, *, is_root: bool) -> None:
        self.is_root = is_root
        self.charset = segment.charset
        self.decoding = _TransferDecoder(segment.transfer_encoding)
        self.root = bytearray()
        self.size = 0


class _TransferDecoder:
    """Content-Transfer-Encoding (RFC 2045 6), undone piece by piece."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._kept = bytearray()
        self._padded = False
        #: Why the part cannot be read.
        self.flaw: str | None = None
        if encoding not in {"binary", "8bit", "7bit", "base64", "quoted-printable"}:
            self.flaw = "comes in an unknown Content-Transfer-Encoding"

    def feed(self, piece: bytes | memoryview) -> bytes | memoryview:
        if self._encoding == "base64":
            return self._feed_base64(bytes(piece))
        if self._encoding == "quoted-printable":
            self._kept += piece  # an escape may span pieces, and nobody sends an image this way
            return b""
        return piece

    def finish(self) -> bytes:
        if self._encoding == "base64":
            # Of a lone character nothing can be made; the document's own check says what is missing.
            return binascii.a2b_base64(self._kept + b"==") if len(self._kept) >= 2 else b""
        if self._encoding == "quoted-printable":
            return binascii.a2b_qp(bytes(self._kept))
        return b""

    def _feed_base64(self, piece: bytes) -> bytes:
        # RFC 2045 6.8: line breaks, and whatever else is not of the alphabet, are ignored; padding ends the data.
        text, padding, _ = piece.translate(None, _NOT_BASE64).partition(b"=")
        if self._padded:
            return b""
        self._padded = bool(padding)
        self._kept += text
        whole = len(self._kept) // 4 * 4
        quads, self._kept = self._kept[:whole], self._kept[whole:]
        return binascii.a2b_base64(quads)


_NOT_BASE64 = bytes(set(range(256)) - set(ascii_letters.encode() + digits.encode() + b"+/="))
