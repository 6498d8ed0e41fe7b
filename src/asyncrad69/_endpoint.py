"""One HTTP endpoint: how a request is posted and a reply's bytes are read."""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, TypeVar, cast

import httpx
from anyio import fail_after, move_on_after

from ._connection import own_client
from ._errors import ConnectionLost, TransferTimeout
from ._http_client import library_of
from ._http_errors import CLIENT_HINT, ErrorTable, error_table, translated
from ._identity import Identity
from ._patience import Gate
from ._transport import BODY
from ._version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from types import ModuleType

    from ._connection import Connection
    from ._http_client import HTTPClient
    from ._options import Timeout

T = TypeVar("T")

#: The head of a reply, and its body in blocks.
Exchanging: TypeAlias = "AbstractAsyncContextManager[tuple[Response, AsyncIterator[bytes]]]"


class Response:
    """
    The head of a reply, and its body as it comes.

    Attributes:
        status: The HTTP status.
        content_type: The Content-Type header; empty without one.
        content_encoding: The Content-Encoding header; empty without one.
        server: The Server header, as the server wrote it; empty without one.
        retry_after_s: What Retry-After asks for, in seconds; ``None`` without one that can be read.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.content_type = response.headers.get("content-type", "")
        # httpx decodes what it reads in one.
        encoded = not response.is_stream_consumed
        self.content_encoding = response.headers.get("content-encoding", "") if encoded else ""
        self.server = response.headers.get("server", "")
        self.retry_after_s = _retry_after_s(response.headers.get("retry-after", ""))

    def connection_info(self, name: str) -> Any:
        """What the connection knows: ``"ssl_object"``, ``"server_addr"``; ``None`` where it does not."""
        stream = self._response.extensions.get("network_stream")
        return stream.get_extra_info(name) if stream is not None else None

    def raw(self) -> _Raw:
        """
        The body, encoded as it came; close it.

        Raises:
            RuntimeError: Somebody else has read it, and kept nothing.
        """
        if self._response.is_stream_consumed:
            return _Iterated(self._read_already())
        # Our own transport's as it is: httpx puts three generators around it, each of which takes a turn per block.
        own: _Raw | None = self._response.extensions.get(BODY)
        return own or _Iterated(cast("AsyncGenerator[bytes, None]", self._response.aiter_raw()))

    async def _read_already(self) -> AsyncGenerator[bytes, None]:
        """What an event hook of a borrowed client has read, or a transport that makes answers up for tests."""
        try:
            yield self._response.content
        except library_of(self._response).ResponseNotRead:
            raise RuntimeError("an event hook of the http_client has taken the reply's body: let it look on") from None


def _retry_after_s(value: str) -> float | None:
    """RFC 9110 10.2.3: seconds, or an HTTP date."""
    if value.strip().isdecimal():
        return float(value)
    try:
        then = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    now = datetime.now(tz=UTC)
    return max(0.0, (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now.timestamp())


class Endpoint:
    """
    Enter it to open what it owns; leave it to close that, and nothing it was lent. It may be entered again.

    Args:
        connection: How to reach it.

    Attributes:
        url: Where it is.
        gate: What holds requests back while it is busy.
    """

    def __init__(self, connection: Connection) -> None:
        self.url: str = connection.url
        self.gate: Gate = Gate()
        #: The URL's scheme, host and port, for people.
        self.origin: str = str(httpx.URL(connection.url).copy_with(raw_path=b"/"))
        self._connection = connection
        self._client: HTTPClient | None = None
        self._library: ModuleType = httpx
        self._errors: ErrorTable = ()
        self._identity: Identity | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.gate = Gate()  # by the clock of this event loop
        lent = self._connection.http_client
        client = lent if lent is not None else await self._stack.enter_async_context(own_client(self._connection))
        self._client, self._library = client, library_of(client)
        self._errors = error_table(self._library)
        self._identity = Identity(self._connection, client)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    @property
    def identity(self) -> Identity:
        """Who we are; for those who write requests."""
        if self._identity is None:
            raise RuntimeError("the endpoint is not open")
        return self._identity

    def post(
        self, body: bytes, *, content_type: str, accept: str, timeouts: Timeout, token: str | None = None
    ) -> Exchanging:
        """
        POST *body* and give the reply's head, and its body in blocks, encoded as it came.

        Raises:
            TransportError: Here and from the body's iterator: whatever the network does.
        """
        headers = {"Content-Type": content_type, "Accept": accept}
        return self._exchange("POST", self.url, headers, body, timeouts, token)

    def get(self, query: Mapping[str, str], *, accept: str, timeouts: Timeout, token: str | None = None) -> Exchanging:
        """GET with *query*; as `post`."""
        url = httpx.URL(self.url).copy_merge_params(dict(query))
        return self._exchange("GET", str(url), {"Accept": accept}, None, timeouts, token)

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes | None,
        timeouts: Timeout,
        token: str | None,
    ) -> AsyncIterator[tuple[Response, AsyncIterator[bytes]]]:
        if self._client is None:
            raise RuntimeError("the endpoint is not open")
        headers = {"User-Agent": f"asyncrad69/{__version__}", "Accept-Encoding": "identity", **headers}
        if any(name.lower() == "user-agent" for name in self._connection.headers):
            del headers["User-Agent"]
        headers |= self._connection.headers
        # Our own scopes bound the waits for the reply: the limit before its head is not the one inside its body.
        limits = self._library.Timeout(connect=timeouts.connect_s, write=timeouts.send_s, read=None, pool=None)
        request = self._client.build_request(method, url, headers=headers, content=body, timeout=limits)
        auth: object = self._library.USE_CLIENT_DEFAULT if self._connection.auth is None else self._connection.auth
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"  # RFC 6750 2.1
            auth = None
        waits = _Waits(timeouts)
        sending = self._client.send(request, stream=True, auth=auth, follow_redirects=False)
        with self._hinted(timeouts), translated(self._errors):
            response = await waits.head(sending)
        try:
            head = Response(response)
            async with aclosing(head.raw()) as raw:
                yield head, _Blocks(raw, waits, self._errors)
        finally:
            await response.aclose()

    @contextmanager
    def _hinted(self, timeouts: Timeout) -> Iterator[None]:
        """Until there is an answer, a lost connection is often one to a port that expects something else."""
        try:
            yield
        except TransferTimeout as late:  # of httpx's, which does not say how late
            if late.phase == "connect":
                late.limit_s = timeouts.connect_s or 0.0
                late.hint = "Check the host, the port, and the firewall; or raise it: timeout=Timeout(connect_s=...)."
            elif late.phase == "send":
                late.limit_s = timeouts.send_s or 0.0
                late.hint = "If the source is only slow, raise it: timeout=Timeout(send_s=...)."
            raise
        except ConnectionLost as lost:
            if self.url.startswith("http:"):
                lost.hint = "If this port speaks TLS, use https://."
            else:
                # In TLS 1.3 it is told after the handshake, and a reset may overtake the telling.
                lost.hint = f"If it is always so, the source may require a client certificate. {CLIENT_HINT}"
            raise


class _Raw(Protocol):
    """A body that has to be closed."""

    async def read(self, timeout_s: float | None) -> bytes:
        """The next block, empty at the end. Raises `TimeoutError` or `httpx.ReadTimeout` if none came for so long."""

    async def aclose(self) -> None: ...


# How long to wait for the end of a body of which nothing more is wanted.
_LAST_CHUNK_S = 0.05


class _Iterated:
    """The body of whatever transport."""

    def __init__(self, blocks: AsyncGenerator[bytes, None]) -> None:
        self._blocks = blocks

    async def aclose(self) -> None:
        # A generator of httpx's has others inside, which closing it leaves to the garbage collector: they end with the
        # body alone. Of a reply that is complete only the last chunk is missing, which is here or about to be.
        try:
            with suppress(Exception), move_on_after(_LAST_CHUNK_S):
                await anext(self._blocks, None)
        finally:
            await self._blocks.aclose()

    async def read(self, timeout_s: float | None) -> bytes:
        with fail_after(timeout_s):
            async for block in self._blocks:
                if block:
                    return block
        return b""


class _Blocks:
    """The blocks of a body, each waited for within the limits."""

    def __init__(self, raw: _Raw, waits: _Waits, errors: ErrorTable) -> None:
        self._raw = raw
        self._waits = waits
        self._errors = errors

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        with translated(self._errors):
            if block := await self._waits.block(self._raw):
                return block
        raise StopAsyncIteration


class _Waits:
    """The waits of one exchange, each within its limit. What the caller does between two of them takes no time here."""

    def __init__(self, timeouts: Timeout) -> None:
        self._timeouts = timeouts
        self._waited_s = 0.0
        self._window_s = 0.0
        self._window_bytes = 0

    async def head(self, sending: Awaitable[T]) -> T:
        """
        Wait for the reply's head.

        Raises:
            TransferTimeout: It took longer than `Timeout.first_byte_s` or `Timeout.total_s`.
        """
        with self._limited(self._timeouts.first_byte_s, "first byte") as limit_s, fail_after(limit_s):
            return await sending

    async def block(self, raw: _Raw) -> bytes:
        """
        Wait for the next block of the body; empty at its end.

        Raises:
            TransferTimeout: It took longer than `Timeout.idle_s` or `Timeout.total_s`, or too little came.
        """
        before = self._waited_s
        with self._limited(self._timeouts.idle_s, "idle") as limit_s:
            block = await raw.read(limit_s)
        if self._timeouts.min_bytes_per_s is not None:
            self._check_throughput(self._waited_s - before, len(block), self._timeouts.min_bytes_per_s)
        return block

    @contextmanager
    def _limited(self, limit_s: float | None, phase: str) -> Iterator[float | None]:
        """Inside, one wait that has to end by itself within what is given."""
        total_s = self._timeouts.total_s
        if total_s is not None and (limit_s is None or total_s - self._waited_s < limit_s):
            limit_s, phase = total_s - self._waited_s, "total"
        shown = total_s if phase == "total" else limit_s
        if limit_s is not None and limit_s <= 0:
            raise _nothing_came(phase, shown)
        started = monotonic()
        try:
            yield limit_s
        except (TimeoutError, httpx.ReadTimeout):
            raise _nothing_came(phase, shown) from None
        finally:
            self._waited_s += monotonic() - started

    def _check_throughput(self, waited_s: float, size: int, least: float) -> None:
        self._window_s += waited_s
        self._window_bytes += size
        if self._window_s < _WINDOW_S:
            return
        if self._window_bytes < least * self._window_s:
            raise _too_slow(f"less than {least:g} bytes per second came in {_WINDOW_S:g} s", "throughput", _WINDOW_S)
        self._window_s, self._window_bytes = 0.0, 0


# A source that drips never trips a limit on a single wait.
_WINDOW_S = 60.0

_NOTHING_CAME = {
    "first byte": "the reply did not begin within",
    "idle": "nothing more came for",
    "total": "the exchange was not over after waiting for",
}


def _nothing_came(phase: str, limit_s: float | None) -> TransferTimeout:
    return _too_slow(f"{_NOTHING_CAME[phase]} {limit_s} s", phase, limit_s)


def _too_slow(message: str, phase: str, limit_s: float | None) -> TransferTimeout:
    hint = "If the source is only slow, raise it: timeout=Timeout(first_byte_s=..., idle_s=...)."
    return TransferTimeout(message, phase=phase, limit_s=limit_s or 0.0, hint=hint)
