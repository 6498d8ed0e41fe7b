"""
A source on a raw socket that misbehaves on demand, plain or TLS: it can do what no HTTP library would let it.

One thread per connection. A behaviour is a function of an `Exchange`; `good` is the one that does everything right.
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from .wire import Reply, Study, Writing, mtom_reply

if TYPE_CHECKING:
    from collections.abc import Iterable

Framing: TypeAlias = Literal["chunked", "length", "close"]
FRAMINGS: tuple[Framing, ...] = ("chunked", "length", "close")

#: How a body that was cut ends: an orderly end of the connection in the middle of what the head announced; a reset;
#: an HTTP framing that says all is well; nothing, with the connection open; TLS gone without its close_notify.
Ending: TypeAlias = Literal["fin", "rst", "clean", "stall", "no close_notify"]

_DOCUMENT_UID = re.compile(rb"DocumentUniqueId>([^<]+)<")
_MESSAGE_ID = re.compile(rb"MessageID>([^<]+)<")
_CONTENT_LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)
_BLOCK = 8192


class Exchange:
    """One request on one connection, and the means to answer it."""

    def __init__(self, server: FaultServer, connection: socket.socket, head: bytes, body: bytes) -> None:
        self.server = server
        self.head = head
        self.wanted: list[str] = [uid.decode() for uid in _DOCUMENT_UID.findall(body)]
        found = _MESSAGE_ID.search(body)
        self.message_id = found[1].decode() if found else ""
        self.study = server.study
        self._connection = connection

    def reply(self, writing: Writing | None = None, *, leave_out: Iterable[str] = ()) -> Reply:
        """A reply with all that was asked for, but for what is to be left out."""
        writing = writing or Writing()
        if writing.relates_to is None:
            writing = replace(writing, relates_to=self.message_id)
        elif not writing.relates_to:
            writing = replace(writing, relates_to=None)
        uids = [uid for uid in self.wanted if uid not in set(leave_out)]
        return mtom_reply([(uid, self.study.instances[uid]) for uid in uids], writing)

    def send(
        self,
        reply: Reply,
        framing: Framing,
        *,
        cut: int | None = None,
        ending: Ending = "fin",
        status: str = "200 OK",
        headers: Iterable[str] = (),
    ) -> None:
        """Answer with *reply*; whole, or cut after so many bytes of its body."""
        body = reply.body
        announced = len(body)
        if cut is not None and ending == "clean":
            announced = cut
        self.send_head(status, reply.content_type, framing, announced, headers)
        self.send_body(body[:cut], framing)
        if cut is None or ending == "clean":
            self.finish(framing)
        elif ending == "rst":
            self.reset()
        elif ending == "stall":
            self.hold()
        elif ending == "no close_notify":
            self.vanish()
        else:
            self.end()

    def send_head(
        self, status: str, content_type: str, framing: Framing, length: int, headers: Iterable[str] = ()
    ) -> None:
        """Status line and headers."""
        lines = [f"HTTP/1.1 {status}", *headers]
        if content_type:
            lines.append(f"Content-Type: {content_type}")
        lines += {
            "chunked": ["Transfer-Encoding: chunked"],
            "length": [f"Content-Length: {length}"],
            "close": ["Connection: close"],
        }[framing]
        self.raw("\r\n".join((*lines, "", "")).encode("latin-1"))

    def send_body(self, body: bytes, framing: Framing) -> None:
        """Bytes of the body, in the chunks of the framing."""
        for start in range(0, len(body), _BLOCK):
            block = body[start : start + _BLOCK]
            self.raw(b"%x\r\n%b\r\n" % (len(block), block) if framing == "chunked" else block)

    def finish(self, framing: Framing) -> None:
        """End a body as its framing asks."""
        if framing == "chunked":
            self.raw(b"0\r\n\r\n")
        elif framing == "close":
            self.end()

    def pause(self, seconds: float) -> None:
        """Let time pass; the end of the server ends it early."""
        if self.server.stopping(seconds):
            raise ConnectionEnded

    # --- the connection

    def raw(self, data: bytes) -> None:
        """Bytes on the wire."""
        self._connection.sendall(data)

    def end(self) -> None:
        """No more from us, said in an orderly way; TLS with its close_notify."""
        if isinstance(self._connection, ssl.SSLSocket):
            self._connection.settimeout(0.2)
            with suppress(OSError, ValueError):
                self._connection.unwrap()
        self.vanish()

    def vanish(self) -> None:
        """End the TCP connection, in TLS without its close_notify."""
        with suppress(OSError):
            socket.socket.shutdown(self._connection, socket.SHUT_WR)
        raise ConnectionEnded

    def reset(self) -> None:
        """RST: what the peer has not read is lost to it."""
        linger = struct.pack("ii", 1, 0)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        raise ConnectionEnded

    def hold(self) -> None:
        """Say nothing until the peer has gone."""
        with suppress(OSError):
            while self._connection.recv(4096):
                pass
        raise ConnectionEnded


class ConnectionEnded(Exception):
    """A behaviour is done with its connection."""


Behaviour: TypeAlias = Callable[[Exchange], None]


def good(exchange: Exchange) -> None:
    """All that was asked for, as the standard wants it."""
    exchange.send(exchange.reply(), "chunked")


def until_asked_again(fault: Behaviour, cure: Behaviour = good) -> Behaviour:
    """*fault* for whatever is asked for the first time, *cure* for whatever is asked for again."""

    def behave(exchange: Exchange) -> None:
        asked_before = exchange.server.asked_before(exchange)
        (cure if asked_before else fault)(exchange)

    return behave


@dataclass(frozen=True)
class Asked:
    """One request, as the server saw it."""

    wanted: tuple[str, ...]
    message_id: str


class FaultServer:
    """
    Enter it to listen, leave it to end every connection and thread.

    Args:
        study: What it holds.
        behaviour: What it does with a request.
        ssl_context: For TLS.
        greeting: In place of HTTP, e.g. to stall a handshake: what to do with a bare connection.

    Attributes:
        requests: Every request, in the order in which they came.
        connections: How many connections were made.
    """

    def __init__(
        self,
        study: Study,
        behaviour: Behaviour = good,
        *,
        ssl_context: ssl.SSLContext | None = None,
        greeting: Callable[[socket.socket], None] | None = None,
    ) -> None:
        self.study = study
        self.behaviour = behaviour
        self.requests: list[Asked] = []
        self.connections = 0
        self.bug: Exception | None = None
        self._ssl_context = ssl_context
        self._greeting = greeting
        self._lock = threading.Lock()
        self._asked: set[str] = set()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1 (localhost)."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """The endpoint's URL."""
        return f"{'https' if self._ssl_context else 'http'}://localhost:{self.port}/rad69"

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._acceptor = threading.Thread(target=self._accept, name="fault server")
        self._acceptor.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(10)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in self._threads), "the server's own thread hangs"
        if self.bug is not None:
            raise self.bug

    def asked_before(self, exchange: Exchange) -> bool:
        """Whether any of what is wanted was asked for in an earlier request; notes that it is now."""
        with self._lock:
            known = not self._asked.isdisjoint(exchange.wanted)
            self._asked.update(exchange.wanted)
            return known

    def forget(self) -> None:
        """From now on nothing has been asked for before."""
        with self._lock:
            self._asked.clear()
            self.requests.clear()

    def stopping(self, seconds: float) -> bool:
        """Wait so long; whether the server is being left."""
        return self._stopping.wait(seconds)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), name="fault server connection")
            thread.start()
            self._threads = [*(each for each in self._threads if each.is_alive()), thread]

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
        try:
            if self._greeting is not None:
                self._greeting(connection)
            if self._ssl_context is not None:
                connection = self._wrapped(connection, self._ssl_context)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._converse(connection)
        except (OSError, ConnectionEnded):
            pass  # the peer has gone, or was meant to
        except Exception as exc:  # noqa: BLE001 - shown when the server is left
            self.bug = exc
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _wrapped(self, connection: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        with self._lock:
            self._open.discard(connection)
            wrapped = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            self._open.add(wrapped)
        try:
            wrapped.do_handshake()
        except BaseException:
            # The alert has been sent; closing now, with a request unread, would reset it away.
            with suppress(OSError):
                socket.socket.shutdown(wrapped, socket.SHUT_WR)
            _wait_for_peer(wrapped)
            with self._lock:
                self._open.discard(wrapped)
            wrapped.close()
            raise
        return wrapped

    def _converse(self, connection: socket.socket) -> None:
        received = b""
        try:
            while True:
                head, received = _read_until(connection, received, b"\r\n\r\n")
                length = _CONTENT_LENGTH.search(head)
                body, received = _read_size(connection, received, int(length[1]) if length else 0)
                exchange = Exchange(self, connection, head, body)
                with self._lock:
                    self.requests.append(Asked(tuple(exchange.wanted), exchange.message_id))
                self.behaviour(exchange)
        except ConnectionEnded:
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER) == 0:
                _wait_for_peer(connection)
            raise


def _read_until(connection: socket.socket, received: bytes, mark: bytes) -> tuple[bytes, bytes]:
    while mark not in received:
        received += _more(connection)
    head, _, rest = received.partition(mark)
    return head, rest


def _read_size(connection: socket.socket, received: bytes, size: int) -> tuple[bytes, bytes]:
    while len(received) < size:
        received += _more(connection)
    return received[:size], received[size:]


def _more(connection: socket.socket) -> bytes:
    block = connection.recv(65536)
    if not block:
        raise ConnectionEnded
    return block


def _wait_for_peer(connection: socket.socket) -> None:
    """Close second, so that nothing the peer has yet to read is lost to a reset."""
    connection.settimeout(5)
    with suppress(OSError, ValueError):
        while socket.socket.recv(connection, 65536):
            pass
