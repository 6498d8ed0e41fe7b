"""
Writing the answer: an envelope and the instances, in MTOM packaging, in the shape of a profile.

Source: XOP 1.0, RFC 2046, 2387 and 2392, ITI TF-2 appendix V.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from ._envelope import fault_xml, response_xml
from ._names import RESPONSE_ACTION, SOAP_MEDIA_TYPE, XOP_MEDIA_TYPE
from ._outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ._outcome import Document
    from ._profiles import Profile
    from ._request import Refusal


class Multipart:
    """
    A multipart/related message.

    Args:
        profile: Its shape.
        read_size: How much of an instance is read at a time, in bytes.
    """

    def __init__(self, profile: Profile, *, read_size: int) -> None:
        self._profile = profile
        self._read_size = read_size
        self._token = uuid.uuid4()  # no file contains it, so that no file contains the boundary
        self._boundary = self._filled(profile.boundary)

    @property
    def content_type(self) -> str:
        """The Content-Type header."""
        root_id = self._filled(self._profile.root_id)
        return self._profile.content_type.format(boundary=self._boundary, root_id=root_id, action=RESPONSE_ACTION)

    def part_id(self, number: int) -> str:
        """The Content-ID of an instance, the first being number 1."""
        return self._filled(self._profile.part_id, number)

    def size(self, root: bytes, documents: Sequence[Document]) -> int:
        """The length of the body, in bytes. No document is read."""
        around = self._pieces(root, documents, lambda _: ())
        return sum(map(len, around)) + sum(document.stored.size_bytes for document in documents)

    def chunks(self, root: bytes, documents: Sequence[Document]) -> Iterator[bytes]:
        """The body, in chunks of about *read_size* bytes. At most two of them are in memory at once."""
        pieces = self._pieces(root, documents, lambda document: document.stored.pieces(self._read_size))
        return _coalesced(pieces, self._read_size)

    def _pieces(
        self, root: bytes, documents: Sequence[Document], content: Callable[[Document], Iterable[bytes]]
    ) -> Iterator[bytes]:
        profile = self._profile
        root_type = f'{XOP_MEDIA_TYPE}; charset=UTF-8; type="{SOAP_MEDIA_TYPE}"'
        yield profile.preamble
        yield self._head(root_type, profile.root_encoding, self._filled(profile.root_id)).removeprefix(b"\r\n")
        yield root + profile.after_root
        for number, document in enumerate(documents, start=1):
            yield self._head(profile.part_type, "binary", self.part_id(number))
            yield from content(document)
        yield f"\r\n--{self._boundary}".encode() + profile.close

    def _filled(self, template: str, number: int = 0) -> str:
        return template.format(token=self._token, hex=self._token.hex, number=number)

    def _head(self, content_type: str, encoding: str, content_id: str) -> bytes:
        values = {
            "content-type": content_type,
            "content-transfer-encoding": encoding,
            "content-id": f"<{content_id}>",
        }
        headers = "".join(f"{name}: {values[name.lower()]}\r\n" for name in self._profile.headers)
        # RFC 2046 5.1.1: the CRLF before the delimiter belongs to the delimiter, not to the part before it.
        return f"\r\n--{self._boundary}\r\n{headers}\r\n".encode()


class Answer:
    """
    The answer to one request.

    Args:
        outcome: What is sent.
        profile: In which shape.
        relates_to: The MessageID of the request.
        read_size: How much of an instance is read at a time, in bytes.
    """

    def __init__(self, outcome: Outcome, profile: Profile, *, relates_to: str, read_size: int) -> None:
        documents = outcome.documents[::-1] if profile.backwards else outcome.documents
        self._multipart = Multipart(profile, read_size=read_size)
        self._attached = [each for each in documents if each.stored.size_bytes > profile.inline_size]
        # By identity: a document that is sent twice has two parts.
        ids = {id(document): self._multipart.part_id(number) for number, document in enumerate(self._attached, start=1)}
        self._root = response_xml(
            Outcome(documents, outcome.problems),
            profile,
            relates_to=relates_to,
            maybe_content_id=lambda document: ids.get(id(document)),
        )

    @property
    def content_type(self) -> str:
        """The Content-Type header."""
        return self._multipart.content_type

    @property
    def size(self) -> int:
        """The length of the body, in bytes."""
        return self._multipart.size(self._root, self._attached)

    @property
    def reads_files(self) -> bool:
        """Whether iterating over the chunks blocks."""
        return any(document.stored.on_disk for document in self._attached)

    def chunks(self) -> Iterator[bytes]:
        """The body, in chunks. At most two of them are in memory at once."""
        return self._multipart.chunks(self._root, self._attached)


def fault_message(fault: Refusal, profile: Profile, *, relates_to: str | None) -> tuple[int, str, bytes]:
    """HTTP status, Content-Type and body of a SOAP fault."""
    # SOAP 1.2 part 2, table 20: 400 for Sender, 500 for all others.
    status = 200 if profile.faults_with_200 else 400 if fault.code == "Sender" else 500
    xml = fault_xml(fault, profile, relates_to=relates_to)
    if not profile.faults_in_multipart:
        return status, f"{SOAP_MEDIA_TYPE}; charset=utf-8", xml
    multipart = Multipart(profile, read_size=len(xml))
    return status, multipart.content_type, b"".join(multipart.chunks(xml, ()))


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
