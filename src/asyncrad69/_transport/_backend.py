"""
A network backend for httpcore on asyncio's own transports.

httpcore's backend goes through anyio, whose TLS runs in Python and awaits once per record of 16 KiB. `loop.start_tls`
reads whole blocks and is level with curl.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from mmap import mmap
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import anyio.lowlevel
import httpcore

from asyncrad69._threads import in_thread

from ._body import HeadEnd
from ._socket_options import KEEP_ALIVE

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from ._socket_options import SocketOption

KIB: Final = 1024
# The most that one read takes: each costs a system call, and a turn of the event loop.
READ_SIZE: Final = 512 * KIB
_WRITE_SIZE: Final = 256 * KIB
# When the peer closes, asyncio's TLS layer hands out what it holds, up to 512 KiB and the record begun in OpenSSL, in
# one read: what finds no room then is lost. So reading pauses while there still is room for all of it.
_ROOM_FOR_TLS: Final = 544 * KIB
BUFFER_SIZE: Final = READ_SIZE + _ROOM_FOR_TLS
_MOST_FREE_BUFFERS: Final = 4
# What comes on a connection that is over goes here.
_NO_BUFFER: Final = memoryview(bytearray(1))
_TLS_RECORD_SIZE: Final = 16 * KIB  # RFC 8446 5.1

_HAPPY_EYEBALLS_DELAY_S: Final = 0.25  # RFC 8305 5 and 8
# A handshake has the caller's limit, or none; asyncio would add 60 seconds of its own.
_NO_HANDSHAKE_LIMIT_S: Final = 24 * 3600.0

# A TimeoutError is an OSError, so it comes first. A UnicodeError is the idna codec's refusal of a host name.
_ErrorTable: TypeAlias = dict[type[Exception], type[Exception]]
_CONNECT_ERRORS: Final[_ErrorTable] = {
    TimeoutError: httpcore.ConnectTimeout,
    OSError: httpcore.ConnectError,
    UnicodeError: httpcore.ConnectError,
}
_READ_ERRORS: Final[_ErrorTable] = {TimeoutError: httpcore.ReadTimeout, OSError: httpcore.ReadError}
_WRITE_ERRORS: Final[_ErrorTable] = {TimeoutError: httpcore.WriteTimeout, OSError: httpcore.WriteError}


class translate:  # noqa: N801 - a context manager; a generator would cost more than the reading it surrounds
    """Raise an error as the first class the table has for it, with the error itself as the cause."""

    __slots__ = ("_errors",)

    def __init__(self, errors: Mapping[type[Exception], type[Exception]]) -> None:
        self._errors = errors

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, cls: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is None:
            return
        for source, target in self._errors.items():
            if isinstance(exc, source):
                raise target(str(exc)) from exc


class Backend(httpcore.AsyncNetworkBackend):
    """
    Opens connections. Of httpcore's interface only what this transport uses: TCP.

    Args:
        read_size: The most that one read of a socket takes, in bytes.
        socket_options: Set on every socket, that to a proxy included.
    """

    def __init__(self, read_size: int = READ_SIZE, socket_options: Iterable[SocketOption] = KEEP_ALIVE) -> None:
        self._new_receiver = partial(Receiver, read_size, Buffers())
        self._socket_options = tuple(socket_options)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - httpcore passes None
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002 - the same
    ) -> Connection:
        with translate(_CONNECT_ERRORS):
            async with asyncio.timeout(timeout):
                addresses = await _addresses(host, port)
                # With one address there is no race; asyncio would hold one all the same, and if that is cancelled
                # just when it is decided, nobody closes the winner's socket.
                alone = len(addresses) == 1
                loop = asyncio.get_running_loop()
                # uvloop knows no race: it tries one address after the other.
                races = not alone and isinstance(loop, asyncio.BaseEventLoop)
                options: dict[str, Any] = {"happy_eyeballs_delay": _HAPPY_EYEBALLS_DELAY_S} if races else {}
                transport, receiver = await loop.create_connection(
                    self._new_receiver, addresses[0] if alone else host, port, **options
                )
                try:
                    for option in self._socket_options:
                        transport.get_extra_info("socket").setsockopt(*option)
                except BaseException:
                    transport.abort()
                    raise
        return Connection(transport, receiver)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _addresses(host: str, port: int) -> list[str]:
    with suppress(ValueError):
        ip_address(host)
        return [host]  # the resolver would say the same, but in another thread and a millisecond later
    resolve = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await in_thread(resolve, abandon_on_cancel=True)
    return [str(address[0]) for *_, address in found]


class Connection(httpcore.AsyncNetworkStream):
    """
    One connection, read in two ways: heads by httpcore with `read`, the body by us with `wait_readable` and `decode`.

    h11, httpcore's parser, keeps what it was given beyond a head. So it is given nothing beyond one: `read` stops after
    the empty line, and the body stays here.
    """

    def __init__(self, transport: asyncio.Transport, receiver: Receiver) -> None:
        self._transport = transport
        self._receiver = receiver
        self._head_end = HeadEnd()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not await self.wait_readable(timeout):
            return b""
        block = self._receiver.peek()[:max_bytes]
        head = bytes(block[: self._head_end.find(block)])
        self._receiver.discard(len(head))
        # A flood of interim replies must neither hold up the event loop nor outrun a cancellation.
        await asyncio.sleep(0)
        return head

    async def wait_readable(self, timeout_s: float | None) -> bool:
        """
        Wait for bytes; ``False`` if the peer has ended the connection in an orderly way.

        Raises:
            httpcore.ReadTimeout, httpcore.ReadError: None came in time, or the connection is lost.
        """
        receiver = self._receiver
        if receiver.buffered:
            return True
        with translate(_READ_ERRORS):
            await receiver.wait_until(lambda: receiver.readable, timeout_s)
            if receiver.error and not receiver.buffered:
                raise receiver.error
        return receiver.buffered > 0

    def decode(self, decode: Callable[[memoryview], bytes]) -> bytes:
        """Apply a function to all that has come. It must not keep the view: the buffer is used again."""
        block = self._receiver.peek()
        try:
            return decode(block)
        finally:
            self._receiver.discard(len(block))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        receiver = self._receiver
        with translate(_WRITE_ERRORS):
            # In pieces: asyncio's TLS encrypts all it is given at once, and does not say that nobody takes it.
            for start in range(0, len(buffer), _WRITE_SIZE):
                if self._transport.is_closing():
                    raise receiver.error or BrokenPipeError("the peer has closed the connection")
                self._transport.write(buffer[start : start + _WRITE_SIZE])
                await receiver.wait_until(lambda: receiver.writable, timeout)
                if receiver.error:
                    raise receiver.error

    async def aclose(self) -> None:
        self.abort()
        # asyncio closes the socket on the loop's next pass; after this await it is closed.
        await anyio.lowlevel.cancel_shielded_checkpoint()

    def abort(self) -> None:
        """
        Drop the connection, without an await that a cancellation could hit.

        There is nothing to flush, and a TLS shutdown would wait for the peer, 30 seconds if need be; httpcore's own
        backend sends no close_notify either.
        """
        self._receiver.lose(ConnectionAbortedError("the connection was closed on this side"))
        self._transport.abort()
        self._receiver.release()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> Connection:
        with translate(_CONNECT_ERRORS):
            try:
                async with asyncio.timeout(timeout):
                    transport = await self._tls_transport(ssl_context, server_hostname)
            except BaseException:
                await self.aclose()
                raise
        self._receiver.connection_made(transport)
        return Connection(transport, self._receiver)

    async def _tls_transport(self, ssl_context: ssl.SSLContext, server_hostname: str | None) -> asyncio.Transport:
        # Bytes sent in clear would be taken for decrypted ones afterwards (for SMTP's STARTTLS: CVE-2011-0411).
        if self._receiver.buffered:
            raise ConnectionError("the peer sent data before the TLS handshake")
        transport = await asyncio.get_running_loop().start_tls(
            self._transport,
            self._receiver,
            ssl_context,
            server_hostname=server_hostname,
            ssl_handshake_timeout=_NO_HANDSHAKE_LIMIT_S,
        )
        if transport is None:
            raise ConnectionResetError("the peer closed the connection in the TLS handshake")
        return transport

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._receiver.readable
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._transport.get_extra_info(names.get(info, info))


class Buffers:
    """
    Buffers of connections that are over, for those to come: a new one costs a page fault for every 4 KiB that are used,
    more than the reading itself.
    """

    def __init__(self) -> None:
        self._free: list[memoryview] = []

    def take(self) -> memoryview:
        # Mapped, so that only what is used of it costs memory, and the time to clear it.
        return self._free.pop() if self._free else memoryview(mmap(-1, BUFFER_SIZE))

    def give_back(self, buffer: memoryview) -> None:
        if len(self._free) < _MOST_FREE_BUFFERS:
            self._free.append(buffer)


class Receiver(asyncio.BufferedProtocol):
    """
    One buffer, filled by the event loop and used over and over: no allocation per block and, in TLS, one copy less.

    Its size bounds what is read ahead of a slow consumer. The rest waits in the kernel, and then at the peer.
    """

    def __init__(self, read_size: int, buffers: Buffers) -> None:
        self._read_size = read_size
        self._buffers = buffers
        self.error: Exception | None = None  # why the connection is lost
        self.writable = True
        self._at_end = False  # the peer has sent its last byte
        self._transport: asyncio.Transport | None = None
        self._buffer = buffers.take()
        self._start = 0  # what is between start and stop has come and has not been read
        self._stop = 0
        self._paused = False
        self._expired = False  # what is waited for did not come in time
        self._event: asyncio.Future[None] | None = None

    @property
    def buffered(self) -> int:
        return self._stop - self._start

    @property
    def readable(self) -> bool:
        """Whether a reader need not wait: there are bytes, an end or an error."""
        return self.buffered > 0 or self._at_end or self.error is not None

    def peek(self) -> memoryview:
        return self._buffer[self._start : self._stop]

    def discard(self, size: int) -> None:
        self._start += size
        if self._start == self._stop:
            self._start = self._stop = 0
        self._control_reading()

    async def wait_until(self, condition: Callable[[], bool], timeout_s: float | None) -> None:
        if condition():
            return
        if timeout_s is not None and timeout_s <= 0:
            raise TimeoutError
        # A timer of the loop's, and no `asyncio.timeout`: this is waited for once per block.
        self._expired = False
        timer = None if timeout_s is None else asyncio.get_running_loop().call_later(timeout_s, self._expire)
        try:
            while not condition():
                if self._expired:
                    raise TimeoutError
                await self._next_event()
        finally:
            if timer is not None:
                timer.cancel()

    def lose(self, error: Exception) -> None:
        self.error = self.error or error
        self._wake()

    def release(self) -> None:
        """
        Give the buffer back: nobody reads any more. Does nothing the second time.

        Transport and receiver know each other, so that the garbage collector alone would free it, long after.
        """
        if self._buffer is not _NO_BUFFER:
            self._buffers.give_back(self._buffer)
        self._buffer, self._start, self._stop = _NO_BUFFER, 0, 0

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        # TLS says how many bytes it holds, OpenSSL's own apart; a socket does not know and says -1.
        size = max(self._read_size, sizehint + _TLS_RECORD_SIZE)
        return self._buffer[self._stop : self._stop + size]

    def buffer_updated(self, nbytes: int) -> None:
        self._stop += nbytes
        self._control_reading()
        self._wake()

    def eof_received(self) -> None:
        self._at_end = True
        self._wake()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.writable = True
        if not self._at_end:
            self.lose(exc or ConnectionAbortedError("the connection was lost"))
        self._wake()

    # Waking up and flow control.

    async def _next_event(self) -> None:
        self._event = asyncio.get_running_loop().create_future()
        try:
            await self._event
        finally:
            self._event = None

    def _expire(self) -> None:
        self._expired = True
        self._wake()

    def _wake(self) -> None:
        if self._event and not self._event.done():
            self._event.set_result(None)

    def _control_reading(self) -> None:
        pause = BUFFER_SIZE - self._stop < _ROOM_FOR_TLS
        if self._transport is None or self._transport.is_closing() or pause == self._paused:
            return
        self._paused = pause
        if pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
