"""
The source that is measured against: one process, a thread per connection, replies built beforehand and kept.

It is no model of a server: it sends what it has as fast as a socket takes it, so that the client is what is measured.
Run as ``python -m benchmarks.source JSON``; it writes its port, then serves until its standard input ends.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from .workloads import REPOSITORY, WARM_UP, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PLAIN: Final = "X-Benchmark-Plain"  # asks for the files alone, one after the other, without HTTP chunks or MIME

BOUNDARY: Final = "uuid:5b3f4f2e-benchmark"
_DOCUMENT_UID: Final = re.compile(rb"DocumentUniqueId>\s*([0-9.]+)\s*<")
_MESSAGE_ID: Final = re.compile(rb"MessageID[^>]*>\s*([^<\s]+)")
_CONTENT_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length:\s*(\d+)")
_CLOSE: Final = re.compile(rb"(?i)\r\nconnection:\s*close")
_EXPECT: Final = re.compile(rb"(?i)\r\nexpect:\s*100-continue")
_WARM_UP_UID: Final = WARM_UP.uids[0].encode()
_PACED_PIECE: Final = 64 * 1024
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class SourceSettings:
    """
    How the source answers.

    Args:
        workload: What it has.
        chunk_bytes: The size of the HTTP chunks it sends; 0 sends a Content-Length.
        certificate: A PEM file with key and certificate, for https.
        think_ms: Waited before each reply begins.
        think_per_instance_ms: Waited before each instance of a reply.
        megabit_per_s: The speed of each connection; 0 for no limit.
    """

    workload: Workload
    chunk_bytes: int = 8192
    certificate: str = ""
    think_ms: float = 0
    think_per_instance_ms: float = 0
    megabit_per_s: float = 0

    def to_json(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> SourceSettings:
        """From the command line."""
        values = json.loads(text)
        return cls(**values | {"workload": Workload(**values["workload"])})


class Replies:
    """The bodies of replies, each built once."""

    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        self._bodies: dict[tuple[bytes, ...], bytes] = {}
        self._lock = threading.Lock()

    def plain(self, uids: Sequence[bytes]) -> bytes:
        """The files one after the other."""
        return self._kept((b"plain", *uids), lambda: b"".join(map(self._file, uids)))

    def documents(self, uids: Sequence[bytes]) -> bytes:
        """All parts but the root part, in HTTP chunks where the source sends chunks."""
        return self._kept((b"parts", *uids), lambda: self._framed(b"".join(self._parts(uids))))

    def _kept(self, key: tuple[bytes, ...], build: Callable[[], bytes]) -> bytes:
        with self._lock:
            if key not in self._bodies:
                self._bodies[key] = build()
            return self._bodies[key]

    def _file(self, uid: bytes) -> bytes:
        return self._settings.workload.instance(uid.decode())

    def _parts(self, uids: Sequence[bytes]) -> Iterator[bytes]:
        for uid in uids:
            yield part_head(b"application/dicom", uid)
            yield self._file(uid)
        yield f"\r\n--{BOUNDARY}--\r\n".encode()

    def _framed(self, body: bytes) -> bytes:
        size = self._settings.chunk_bytes
        return b"".join((*_chunks(body, size), b"0\r\n\r\n")) if size else body


def _chunks(body: bytes, size: int) -> Iterator[bytes | memoryview]:
    view = memoryview(body)
    for start in range(0, len(body), size):
        piece = view[start : start + size]
        yield b"%x\r\n" % len(piece)
        yield piece
        yield b"\r\n"


def part_head(media_type: bytes, content_id: bytes) -> bytes:
    """The delimiter and the headers of a part."""
    return (
        b"\r\n--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: binary\r\n"
        b"Content-ID: <%s@benchmark.invalid>\r\n\r\n" % (BOUNDARY.encode(), media_type, content_id)
    )


def _root_part(uids: Sequence[bytes], message_id: bytes) -> bytes:
    documents = b"".join(
        b"<DocumentResponse><RepositoryUniqueId>%s</RepositoryUniqueId><DocumentUniqueId>%s</DocumentUniqueId>"
        b"<mimeType>application/dicom</mimeType><Document>"
        b'<xop:Include xmlns:xop="http://www.w3.org/2004/08/xop/include" href="cid:%s@benchmark.invalid"/>'
        b"</Document></DocumentResponse>" % (REPOSITORY.encode(), uid, uid)
        for uid in uids
    )
    return part_head(b'application/xop+xml; charset=UTF-8; type="application/soap+xml"', b"root")[2:] + (
        b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing">'
        b"<s:Header><a:Action>urn:ihe:iti:2007:RetrieveDocumentSetResponse</a:Action>"
        b"<a:RelatesTo>%s</a:RelatesTo></s:Header><s:Body>"
        b'<RetrieveDocumentSetResponse xmlns="urn:ihe:iti:xds-b:2007">'
        b'<r:RegistryResponse xmlns:r="urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0" '
        b'status="urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success"/>%s'
        b"</RetrieveDocumentSetResponse></s:Body></s:Envelope>" % (message_id, documents)
    )


class Source:
    """Answers on one listening socket."""

    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        self._replies = Replies(settings)
        self._warm_up = Replies(SourceSettings(workload=WARM_UP, chunk_bytes=settings.chunk_bytes))
        self._tls = _tls(settings.certificate) if settings.certificate else None

    def serve(self, listener: socket.socket) -> None:
        """Answer until the process ends."""
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, plain: socket.socket) -> None:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with self._tls.wrap_socket(plain, server_side=True) if self._tls else plain as connection:
                while self._answer(connection):
                    pass
        except OSError:
            return  # the client is done with the connection

    def _answer(self, connection: socket.socket) -> bool:
        """Answer one request; whether another may follow."""
        head, body = _read_request(connection)
        if not head:
            return False
        uids = _DOCUMENT_UID.findall(body)
        warm_up = uids == [_WARM_UP_UID]
        replies = self._warm_up if warm_up else self._replies
        if f"\r\n{PLAIN}:".encode() in head:
            connection.sendall(replies.plain(uids))
            return False
        found = _MESSAGE_ID.search(body)
        root = _root_part(uids, found[1] if found else b"")
        documents = replies.documents(uids)
        if not warm_up:
            time.sleep(self._settings.think_ms / 1000)
        close = _CLOSE.search(head) is not None
        connection.sendall(self._head(root, documents, close=close))
        self._send(connection, documents, 0 if warm_up else len(uids))
        return not close

    def _head(self, root: bytes, documents: bytes, *, close: bool) -> bytes:
        chunked = self._settings.chunk_bytes > 0
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(root) + len(documents)}"
        head = (
            "HTTP/1.1 200 OK\r\n"
            f'Content-Type: multipart/related; boundary="{BOUNDARY}"; type="application/xop+xml"; '
            'start="<root@benchmark.invalid>"; start-info="application/soap+xml"\r\n'
            f"{length}\r\n{'Connection: close' if close else 'Connection: keep-alive'}\r\n\r\n"
        ).encode()
        return head + (b"".join(_chunks(root, self._settings.chunk_bytes)) if chunked else root)

    def _send(self, connection: socket.socket, body: bytes, instances: int) -> None:
        view = memoryview(body)
        if instances and self._settings.think_per_instance_ms:
            self._send_thinking(connection, view, instances)
        elif self._settings.megabit_per_s:
            self._send_paced(connection, view)
        else:
            connection.sendall(view)

    def _send_thinking(self, connection: socket.socket, body: memoryview, instances: int) -> None:
        size = -(-len(body) // instances)
        for start in range(0, len(body), size):
            time.sleep(self._settings.think_per_instance_ms / 1000)
            connection.sendall(body[start : start + size])

    def _send_paced(self, connection: socket.socket, body: memoryview) -> None:
        # Against the clock of the whole reply, so that no error adds up.
        begin, bytes_per_s = time.perf_counter(), self._settings.megabit_per_s * 1e6 / 8
        for start in range(0, len(body), _PACED_PIECE):
            time.sleep(max(0.0, begin + start / bytes_per_s - time.perf_counter()))
            connection.sendall(body[start : start + _PACED_PIECE])


def _tls(certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def _read_request(connection: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of a request; both empty if the client has closed the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(_MIB)
        if not more:
            return b"", b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    if _EXPECT.search(head):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    length = _CONTENT_LENGTH.search(head)
    pieces, received = [body], len(body)
    while received < int(length[1] if length else 0):
        pieces.append(connection.recv(_MIB))
        received += len(pieces[-1])
    return head, b"".join(pieces)


def main() -> None:
    """Serve until standard input ends."""
    source = Source(SourceSettings.from_json(sys.argv[1]))
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    threading.Thread(target=source.serve, args=(listener,), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
