"""
A scripted HTTP/1.1 server on a real socket, for what a well-behaved source would never do.

    with ScriptedSource(lambda request: Scripted(status="302 Found")) as source:
        ...                                     # source.url, source.requests
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeAlias

from replies import answer, error

if TYPE_CHECKING:
    import ssl

#: The header of an answer that is a bare SOAP envelope.
SOAP = ("Content-Type: application/soap+xml",)

_LENGTH = re.compile(r"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Asked:
    """
    One request.

    Attributes:
        head: Request line and headers.
        body: Its body.
    """

    head: str
    body: bytes

    def header(self, name: str) -> str:
        """A header's value; empty without one."""
        found = re.search(rf"^{re.escape(name)}: *(.*?)\r?$", self.head, re.IGNORECASE | re.MULTILINE)
        return found[1] if found else ""

    @property
    def message_id(self) -> str:
        """The WS-Addressing MessageID."""
        found = re.search(rb"MessageID[^>]*>([^<]+)<", self.body)
        return found[1].decode() if found else ""

    @property
    def wanted(self) -> list[str]:
        """The document unique ids, in order."""
        return [uid.decode() for uid in re.findall(rb"DocumentUniqueId>([^<]+)<", self.body)]


@dataclass(frozen=True)
class Scripted:
    """
    One reply.

    Attributes:
        status: Code and reason.
        headers: Header lines, without Content-Length and Connection.
        body: Its body.
        length: What Content-Length says; ``None`` tells the truth.
    """

    status: str = "200 OK"
    headers: tuple[str, ...] = ()
    body: bytes = b""
    length: int | None = None


#: What to answer; ``None`` closes the connection without a word.
Script: TypeAlias = Callable[[Asked], Scripted | None]


def no(asked: Asked, code: str = "XDSMissingDocument") -> Scripted:
    """A well-formed refusal of every instance: the request has arrived, and who asks is known."""
    errors = [error(code, location=uid) for uid in asked.wanted]
    status = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Failure"
    return Scripted(headers=SOAP, body=answer(status=status, errors=errors, relates_to=asked.message_id).encode())


class ScriptedSource:
    """
    Enter it to listen, leave it to end its socket and threads.

    Args:
        script: What it answers.
        tls: For TLS.

    Attributes:
        requests: Every request, in the order in which they came.
    """

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self.requests: list[Asked] = []
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}/rad69"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *exc_info: object) -> None:
        # A thread that waits in accept() is not woken by close() alone.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for connection in self._connections:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name="scripted source", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if self._tls is None:
                self._answer(connection)
                return
            with self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as secured:
                self._answer_secured(secured)

    def _answer_secured(self, secured: ssl.SSLSocket) -> None:
        try:
            secured.do_handshake()
        except OSError:
            # To close with the request unread would be a reset, which may overtake the alert that says why.
            with suppress(OSError):
                socket.socket.shutdown(secured, socket.SHUT_WR)
                while os.read(secured.fileno(), 65536):
                    pass
            return
        self._answer(secured)

    def _answer(self, connection: socket.socket) -> None:
        asked = _read(connection)
        self.requests.append(asked)
        reply = self._script(asked)
        if reply is None:
            return
        length = len(reply.body) if reply.length is None else reply.length
        lines = [f"HTTP/1.1 {reply.status}", *reply.headers, f"Content-Length: {length}", "Connection: close", "", ""]
        connection.sendall("\r\n".join(lines).encode("latin-1") + reply.body)


def _read(connection: socket.socket) -> Asked:
    received = b""
    # A TLS handshake on a plain port is answered at once, as real servers do.
    while b"\r\n\r\n" not in received and not received.startswith(b"\x16"):
        received += _more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    text = head.decode("latin-1")
    found = _LENGTH.search(text)
    size = int(found[1]) if found else 0
    while len(body) < size:
        body += _more(connection)
    return Asked(text, body)


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the client has gone")
    return data
