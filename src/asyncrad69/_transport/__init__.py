"""
An httpx transport for large replies: httpx and httpcore send and read the head, the body bypasses both.

`_backend` has the sockets, `_body` the framing.
"""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

import anyio
import httpcore
import httpx

from ._backend import READ_SIZE, Backend, Connection, translate
from ._body import FramingTooLong, response_body
from ._socket_options import KEEP_ALIVE, SocketOption, check_socket_options

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable

    from ._body import Body

__all__ = [
    "BODY",
    "KEEP_ALIVE",
    "READ_SIZE",
    "DirectTransport",
    "FramingTooLong",
    "SocketOption",
    "check_socket_options",
    "on_asyncio",
]

#: The response extension that is the body itself, beside ``response.stream``, which httpx wraps.
BODY: Final = "asyncrad69.body"

# Closing a connection takes one pass of the event loop; this is for what nobody thought of.
_CLOSE_LIMIT_S: Final = 5.0

_LARGEST_PART: Final = 4 * 1024 * 1024  # in bytes; larger ones are few

#: httpcore's errors as httpx's, the most specific first. httpx has the same table, but not in public.
HTTPX_ERRORS: Final[dict[type[Exception], type[Exception]]] = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.PoolTimeout: httpx.PoolTimeout,
    httpcore.TimeoutException: httpx.TimeoutException,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.NetworkError: httpx.NetworkError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.ProtocolError: httpx.ProtocolError,
    httpcore.ProxyError: httpx.ProxyError,
    httpcore.UnsupportedProtocol: httpx.UnsupportedProtocol,
}


class DirectTransport(httpx.AsyncBaseTransport):
    """
    HTTP/1.1 on asyncio, with the body read straight from the socket.

    httpcore makes the connection, through a proxy and TLS where asked, sends the request and reads the head, within
    httpx's timeouts. h11 then costs about 20 us per chunk, and httpcore's TLS more; so from the end of the head on,
    this class decodes the body itself, in blocks of up to 512 KiB.

    Every exchange has its own connection, dropped at its end. Connections are not kept alive by design: a byte left
    over from one reply would be read as the start of the next, which may be about another patient; and beside a reply
    of many megabytes a handshake is cheap. ``Connection: close`` is nevertheless not sent (RFC 9112 9.6 would have
    it): servers answer it with a body that ends with the connection, and a cut one could not be told from a whole one.

    Args:
        ssl_context: For servers with https; httpcore sets its ALPN protocols.
        proxy: An http or https proxy: forwards http, tunnels https (CONNECT). SOCKS is not supported.
        read_size: The most that one read of a socket takes, in bytes. TLS takes as much as it has.
        socket_options: Set on every socket once it is connected.
    Raises:
        ValueError: A proxy that is not http or https.
    """

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext,
        proxy: httpx.Proxy | str | None = None,
        read_size: int = READ_SIZE,
        socket_options: Iterable[SocketOption] = KEEP_ALIVE,
    ) -> None:
        # One pool per exchange: no bookkeeping of httpcore's can hand a connection on, or forget one.
        self._new_pool = partial(
            httpcore.AsyncConnectionPool,
            ssl_context=ssl_context,
            proxy=_httpcore_proxy(httpx.Proxy(proxy) if isinstance(proxy, str) else proxy),
            max_connections=1,
            max_keepalive_connections=0,
            http1=True,
            http2=False,
            retries=0,
            network_backend=Backend(read_size, socket_options),
        )
        self._pools: set[httpcore.AsyncConnectionPool] = set()
        _keep_freed_memory()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """
        Send a request and read the head of the response.

        Raises:
            httpx.TransportError: As httpx's own transport does.
            RuntimeError: Not on asyncio.
        """
        if not on_asyncio():
            raise RuntimeError("DirectTransport runs on asyncio only; elsewhere use httpx.AsyncHTTPTransport")
        pool = self._new_pool()
        self._pools.add(pool)
        try:
            with translate(HTTPX_ERRORS):
                response = await pool.handle_async_request(_httpcore_request(request))
            stream = _body_stream(request, response, partial(self._close, pool))
        except BaseException:
            await self._close(pool)
            raise
        extensions = {**response.extensions, BODY: stream}
        return httpx.Response(response.status, headers=response.headers, stream=stream, extensions=extensions)

    async def aclose(self) -> None:
        """Drop all connections, those in use included."""
        for pool in list(self._pools):
            await self._close(pool)

    async def _close(self, pool: httpcore.AsyncConnectionPool) -> None:
        self._pools.discard(pool)
        with anyio.move_on_after(_CLOSE_LIMIT_S, shield=True), translate(HTTPX_ERRORS):
            await pool.aclose()


class _BodyStream(httpx.AsyncByteStream):
    """The body of one response. Drops the connection when closed, and at any error or cancellation."""

    def __init__(
        self,
        connection: Connection,
        body: Body,
        timeout_s: float | None,
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self._connection = connection
        self._body = body
        self._timeout_s = timeout_s
        self._close = close

    def __aiter__(self) -> _BodyStream:
        # Its own iterator and not a generator: an iterator has no frame to finalise when a loop over it is left early.
        return self

    async def __anext__(self) -> bytes:
        if piece := await self.read(self._timeout_s):
            return piece
        raise StopAsyncIteration

    async def read(self, timeout_s: float | None) -> bytes:
        """
        The next content, in the largest piece to be had; empty at the end.

        Raises:
            httpx.ReadTimeout: None came for so long; framing does not count.
        """
        begin = monotonic()
        left_s = timeout_s
        try:
            while not self._body.complete:
                with translate(HTTPX_ERRORS):
                    readable = await self._connection.wait_readable(left_s)
                if timeout_s is not None:
                    left_s = begin + timeout_s - monotonic()
                if not readable:
                    self._body.end()
                elif piece := self._connection.decode(self._body.decode):
                    return piece
        except BaseException:
            await self.aclose()
            raise
        return b""

    async def aclose(self) -> None:
        self._connection.abort()
        await self._close()


def _keep_freed_memory() -> None:
    """
    Have glibc keep what is freed, up to twice the size below.

    It gives memory back to the kernel, and takes it again page by page, until a block of the size was freed once
    (mallopt(3): the thresholds are dynamic). A retrieve frees as much as it allocates, part by part.
    """
    bytes(_LARGEST_PART)


def _body_stream(
    request: httpx.Request, response: httpcore.Response, close: Callable[[], Awaitable[None]]
) -> _BodyStream:
    connection = response.extensions["network_stream"]
    if not isinstance(connection, Connection):  # httpcore wraps it after 101, and after a CONNECT of the caller's
        raise httpx.RemoteProtocolError("the connection is no longer HTTP")
    body = response_body(request.method, response.status, response.headers)
    return _BodyStream(connection, body, request.extensions.get("timeout", {}).get("read"), close)


def _httpcore_request(request: httpx.Request) -> httpcore.Request:
    return httpcore.Request(
        method=request.method,
        url=_httpcore_url(request.url),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


def _httpcore_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def _httpcore_proxy(proxy: httpx.Proxy | None) -> httpcore.Proxy | None:
    if proxy is None:
        return None
    # A SOCKS reply is binary; reading it as an HTTP head would cut it at the first address 10.10.x.x.
    if proxy.url.scheme not in {"http", "https"}:
        raise ValueError(f"an http or https proxy is supported, not {proxy.url.scheme}")
    if proxy.url.scheme == "https" and proxy.ssl_context is None:
        # httpcore would load the certificates anew, and block the event loop, for every connection.
        raise ValueError("an https proxy needs an ssl_context of its own")
    return httpcore.Proxy(
        _httpcore_url(proxy.url), auth=proxy.raw_auth, headers=proxy.headers.raw, ssl_context=proxy.ssl_context
    )


def on_asyncio() -> bool:
    """Whether this code runs in a task of asyncio: elsewhere there is `httpx.AsyncHTTPTransport`."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False
