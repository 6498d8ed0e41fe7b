"""
One HTTP endpoint: how a request is posted and a reply's bytes are read. The only room that knows httpx, beside the
transport it installs; every error of httpx becomes one of ours here.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias, TypedDict, TypeVar, cast
from urllib.request import getproxies, proxy_bypass

import httpx
from anyio import fail_after

from ._errors import ConnectionFailed, ConnectionLost, Rad69Error, TLSError, TransferTimeout, TransportError
from ._transport import BODY, DirectTransport, on_asyncio
from ._transport._backend import READ_SIZE
from ._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager
    from os import PathLike
    from types import ModuleType

    from ._options import Timeout

T = TypeVar("T")

Auth: TypeAlias = httpx.Auth | tuple[str, str] | Callable[[httpx.Request], httpx.Request]
HTTPClient: TypeAlias = httpx.AsyncClient


class ConnectionOptions(TypedDict, total=False):
    """The keywords that say how to reach an endpoint; described at `AsyncRad69`."""

    auth: Auth | None
    headers: Mapping[str, str] | None
    verify: str | PathLike[str] | None
    ssl_context: ssl.SSLContext | None
    proxy: str | None
    trust_env: bool
    allow_plaintext: bool
    http_client: HTTPClient | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """
    How to reach the endpoint; described at `AsyncRad69`.

    With a borrowed *http_client*, whatever belongs to the connection is that client's business.
    """

    url: str
    auth: Auth | None = field(default=None, repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    verify: str | PathLike[str] | None = None
    ssl_context: ssl.SSLContext | None = None
    proxy: str | None = field(default=None, repr=False)
    trust_env: bool = False
    allow_plaintext: bool = False
    http_client: HTTPClient | None = None
    read_size: int = READ_SIZE

    def __post_init__(self) -> None:
        if not _LEAST_READ <= self.read_size <= _MOST_READ:
            raise ValueError(f"read_size is {_LEAST_READ} to {_MOST_READ} bytes, not {self.read_size}")
        url = _checked_url(self.url)
        secrets = self.auth is not None or any(name.lower() in _SECRET_HEADERS for name in self.headers)
        if url.scheme == "http" and secrets and not self.allow_plaintext and not _is_loopback(url.host):
            raise ValueError(
                "credentials would go out in plain text: use https://, or say allow_plaintext=True if the network "
                "is trusted"
            )
        if self.http_client is not None and (self.verify or self.ssl_context or self.proxy or self.trust_env):
            raise ValueError("TLS and proxies are the http_client's own: set them where it is made")
        if self.verify is not None and self.ssl_context is not None:
            raise ValueError("pass verify or ssl_context, not both")
        if isinstance(self.verify, bool):
            raise TypeError("verify is a file of CA certificates; to switch checks off, build an ssl_context that does")


# Below, a system call costs more than the bytes it brings; above, a block does not fit the receiver's buffer.
_LEAST_READ = 1024
_MOST_READ = 512 * 1024

_SECRET_HEADERS = frozenset(("authorization", "proxy-authorization", "cookie", "x-api-key"))


def _checked_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
        host = url.host
    except (httpx.InvalidURL, ValueError, TypeError) as exc:
        raise ValueError(f"url is not an URL: {type(exc).__name__}") from None
    if url.scheme not in {"http", "https"} or not host:
        raise ValueError("url is the RAD-69 endpoint, http:// or https:// with a host")
    if url.port is not None and not 0 < url.port < 1 << 16:
        raise ValueError("url has a port that is none: 1 to 65535")
    if url.userinfo:
        raise ValueError("url carries credentials, which end up in logs: pass auth=(user, password) instead")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Response:
    """
    The head of a reply, and its body as it comes.

    Attributes:
        status: The HTTP status.
        content_type: The Content-Type header; empty without one.
        content_encoding: The Content-Encoding header; empty without one.
        retry_after_s: What Retry-After asks for, in seconds; ``None`` without one that can be read.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.content_type = response.headers.get("content-type", "")
        self.content_encoding = response.headers.get("content-encoding", "")
        self.retry_after_s = _retry_after_s(response.headers.get("retry-after", ""))

    def raw(self) -> _Raw:
        """The body in blocks, encoded as it came; close it."""
        # Our own transport's as it is: httpx puts three generators around it, each of which takes a turn per block.
        own = self._response.extensions.get(BODY)
        return cast("_Raw", self._response.aiter_raw() if own is None else own)


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
    Enter it to open what it owns; leave it to close that, and nothing it was lent.

    Args:
        connection: How to reach it.
    """

    def __init__(self, connection: Connection) -> None:
        self.url = connection.url
        #: The URL's scheme, host and port, for people.
        self.origin = str(httpx.URL(connection.url).copy_with(raw_path=b"/"))
        self._connection = connection
        self._client = connection.http_client
        self._errors: _ErrorTable = ()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._client is None:
            self._client = await self._stack.enter_async_context(_own_client(self._connection))
        self._errors = _error_table(_module_of(self._client))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    def post(
        self, body: bytes, *, content_type: str, accept: str, timeouts: Timeout
    ) -> AbstractAsyncContextManager[tuple[Response, AsyncIterator[bytes]]]:
        """
        POST *body* and give the reply's head, and its body in blocks, encoded as it came.

        Raises:
            TransportError: Here and from the body's iterator: whatever the network does.
        """
        return self._exchange(
            "POST", httpx.URL(self.url), {"Content-Type": content_type, "Accept": accept}, body, timeouts
        )

    def get(
        self, query: Mapping[str, str], *, accept: str, timeouts: Timeout
    ) -> AbstractAsyncContextManager[tuple[Response, AsyncIterator[bytes]]]:
        """GET with *query*; as `post`."""
        url = httpx.URL(self.url).copy_merge_params(dict(query))
        return self._exchange("GET", url, {"Accept": accept}, None, timeouts)

    @asynccontextmanager
    async def _exchange(
        self, method: str, url: httpx.URL, of_request: dict[str, str], body: bytes | None, timeouts: Timeout
    ) -> AsyncIterator[tuple[Response, AsyncIterator[bytes]]]:
        if self._client is None:
            raise RuntimeError("the endpoint is not open")
        headers = {
            **self._connection.headers,
            **of_request,
            "Accept-Encoding": "identity",
            "User-Agent": f"asyncrad69/{__version__}",
        }
        # Our own scopes bound the waits for the reply: the limit before its head is not the one inside its body.
        limits = httpx.Timeout(connect=timeouts.connect_s, write=timeouts.send_s, read=None, pool=None)
        auth = self._connection.auth if self._connection.auth is not None else httpx.USE_CLIENT_DEFAULT
        request = self._client.build_request(method, url, headers=headers, content=body, timeout=limits)
        waits = _Waits(timeouts)
        sending = self._client.send(request, stream=True, auth=auth, follow_redirects=False)
        with _translated(self._errors):
            response = await waits.head(sending)
        try:
            head = Response(response)
            async with aclosing(head.raw()) as raw:
                yield head, _Blocks(raw, waits, self._errors)
        finally:
            await response.aclose()


class _Raw(Protocol):
    """A body that has to be closed."""

    def __anext__(self) -> Awaitable[bytes]: ...

    async def aclose(self) -> None: ...


class _Blocks:
    """The blocks of a body, each waited for within the limits."""

    def __init__(self, raw: _Raw, waits: _Waits, errors: _ErrorTable) -> None:
        self._raw = raw
        self._waits = waits
        self._errors = errors

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        with _translated(self._errors):
            return await self._waits.block(self._raw.__anext__())


@contextmanager
def _translated(errors: _ErrorTable) -> Iterator[None]:
    try:
        yield
    except StopAsyncIteration:
        raise
    except Exception as exc:
        ours = _translate(exc, errors)
        if ours is None:
            raise
        raise ours from _without_body(exc)


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
        return await self._wait(sending, self._timeouts.first_byte_s, "first byte")

    async def block(self, reading: Awaitable[bytes]) -> bytes:
        """
        Wait for the next block of the body.

        Raises:
            StopAsyncIteration: At its end.
            TransferTimeout: It took longer than `Timeout.idle_s` or `Timeout.total_s`, or too little came.
        """
        before = self._waited_s
        block = await self._wait(reading, self._timeouts.idle_s, "idle")
        if self._timeouts.min_bytes_per_s is not None:
            self._check_throughput(self._waited_s - before, len(block), self._timeouts.min_bytes_per_s)
        return block

    async def _wait(self, awaitable: Awaitable[T], limit_s: float | None, phase: str) -> T:
        total_s = self._timeouts.total_s
        if total_s is not None and (limit_s is None or total_s - self._waited_s < limit_s):
            limit_s, phase = total_s - self._waited_s, "total"
        started = monotonic()
        try:
            with fail_after(limit_s):
                return await awaitable
        except TimeoutError:
            shown = total_s if phase == "total" else limit_s
            raise _too_slow(f"{_NOTHING_CAME[phase]} {shown} s", phase, shown) from None
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


def _too_slow(message: str, phase: str, limit_s: float | None) -> TransferTimeout:
    hint = "If the source is only slow, raise it: timeout=Timeout(first_byte_s=..., idle_s=...)."
    return TransferTimeout(message, phase=phase, limit_s=limit_s or 0.0, hint=hint)


@asynccontextmanager
async def _own_client(connection: Connection) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=_transport(connection),
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # noqa: S113 - each request has its own
    ) as client:
        yield client


def _transport(connection: Connection) -> httpx.AsyncBaseTransport:
    context = connection.ssl_context
    if context is None and connection.verify is not None:
        context = ssl.create_default_context(cafile=connection.verify)
    if context is None and connection.url.startswith("https:"):
        context = httpx.create_ssl_context()
    if context is None:  # for an interface that wants one: the certificates take long to load, and http needs none
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    proxy = connection.proxy
    if proxy is None and connection.trust_env:
        proxy = _environment_proxy(httpx.URL(connection.url))
    if on_asyncio():
        return DirectTransport(ssl_context=context, proxy=proxy, read_size=connection.read_size)
    # The retrieve's concurrency bounds the connections. None is kept alive: a byte left over on a reused one is read
    # as the answer to the next question, and may be another patient's.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncHTTPTransport(verify=context, proxy=proxy, trust_env=False, limits=limits)


def _environment_proxy(url: httpx.URL) -> str | None:
    if proxy_bypass(url.host if url.port is None else f"{url.host}:{url.port}"):
        return None
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    # By convention such a variable may leave the scheme out; httpx.Proxy would not take it.
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


# --- errors --------------------------------------------------------------------------------------------

_ErrorTable: TypeAlias = tuple[tuple[type[Exception], Callable[[Exception], Rad69Error]], ...]


def _module_of(client: object) -> ModuleType:
    """httpx, or the library with the same names (httpx2) that the client's class comes from."""
    for cls in type(client).__mro__:
        module = sys.modules.get(cls.__module__.partition(".")[0])
        if module is not None and hasattr(module, "RemoteProtocolError"):
            return module
    return httpx


def _error_table(module: ModuleType) -> _ErrorTable:
    """Exception class to ours, the most specific first."""
    named: tuple[tuple[str, Callable[[Exception], Rad69Error]], ...] = (
        ("ConnectTimeout", lambda _: TransferTimeout("no connection was made in time", phase="connect")),
        ("ReadTimeout", lambda _: TransferTimeout("nothing came for too long", phase="idle")),
        ("WriteTimeout", lambda _: TransferTimeout("the request could not be sent in time", phase="send")),
        ("PoolTimeout", _pool_timeout),
        ("ConnectError", _connect_error),
        ("ProxyError", lambda _: ConnectionFailed("the proxy refused the connection")),
        ("UnsupportedProtocol", lambda _: ConnectionFailed("the proxy's or the source's URL scheme is not supported")),
        ("LocalProtocolError", lambda _: TransportError("the request cannot be sent: a header is not valid HTTP")),
        ("RemoteProtocolError", _framing_error),
        ("NetworkError", _network_error),
        ("TransportError", lambda exc: TransportError(f"the transport failed: {type(exc).__name__}")),
        ("HTTPError", lambda exc: TransportError(f"the exchange failed: {type(exc).__name__}")),
    )
    return tuple((getattr(module, name), make) for name, make in named)


def _translate(exc: Exception, table: _ErrorTable) -> Rad69Error | None:
    return next((make(exc) for cls, make in table if isinstance(exc, cls)), None)


def _without_body(exc: Exception) -> Exception:
    """httpx's exceptions carry the request, and with it the assertion or the password: leave method and URL."""
    request = getattr(exc, "_request", None)
    if isinstance(request, httpx.Request):
        exc.request = httpx.Request(request.method, request.url.copy_with(query=None))  # type: ignore[attr-defined]
    return exc


def _pool_timeout(_: Exception) -> Rad69Error:
    return TransportError(
        "no connection of the http_client became free",
        hint="Give the http_client at least as many connections as concurrency, and no pool timeout.",
    )


def _framing_error(exc: Exception) -> Rad69Error:
    # Some of these texts quote the peer's bytes, which may be anything.
    ended = any(phrase in str(exc) for phrase in ("peer closed connection", "Server disconnected"))
    return ConnectionLost(f"the reply's HTTP framing broke{': ' + str(exc) if ended else ''}")


def _network_error(exc: Exception) -> Rad69Error:
    tls = _tls_error(exc)
    return tls or ConnectionLost(f"the connection was lost: {_system_reason(exc)}")


def _connect_error(exc: Exception) -> Rad69Error:
    return _tls_error(exc) or ConnectionFailed(
        f"no connection to the source: {_system_reason(exc)}", hint="Check the host, the port, and the firewall."
    )


def _causes(exc: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = exc
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _system_reason(exc: Exception) -> str:
    """The operating system's words, which httpx often leaves out."""
    for cause in _causes(exc):
        if isinstance(cause, OSError) and cause.strerror:
            # asyncio writes its own words beside the number; name resolution has numbers of its own, below 0.
            return os.strerror(cause.errno) if cause.errno and cause.errno > 0 else cause.strerror
    return str(exc) or type(exc).__name__


def _tls_error(exc: Exception) -> TLSError | None:
    for cause in _causes(exc):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _certificate_error(cause)
        if isinstance(cause, ssl.SSLError) and (cause.reason or "") in _TLS_ALERTS:
            message, hint = _TLS_ALERTS[cause.reason or ""]
            return TLSError(message, hint=hint)
    return None


_CA_HINT = "Pass verify='/path/to/ca.pem' with the certificate authority that the source's operator names."
_HOST_HINT = "The URL must use the name that the certificate is for."
_CLIENT_HINT = "Pass ssl_context=context, an ssl.SSLContext with load_cert_chain(certificate, key)."

_TLS_ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": ("the source requires a client certificate", _CLIENT_HINT),
    "SSLV3_ALERT_HANDSHAKE_FAILURE": ("the source refused the TLS handshake", _CLIENT_HINT),
    "TLSV1_ALERT_UNKNOWN_CA": ("the source does not trust our client certificate", _CLIENT_HINT),
    "TLSV1_ALERT_PROTOCOL_VERSION": ("the source offers no TLS version that is safe", "TLS 1.2 or later is needed."),
    "WRONG_VERSION_NUMBER": ("the source does not speak TLS on this port", "Check the port, or use http://."),
    "UNSUPPORTED_PROTOCOL": ("the source offers no TLS version that is safe", "TLS 1.2 or later is needed."),
}


def _certificate_error(error: ssl.SSLCertVerificationError) -> TLSError:
    # OpenSSL's X509_V_ERR numbers.
    if error.verify_code == 10:
        return TLSError("the source's certificate has expired", hint="Its operator has to renew it.")
    if error.verify_code in {62, 64}:
        return TLSError("the source's certificate is for another host", hint=_HOST_HINT)
    if error.verify_code in {2, 18, 19, 20, 21}:
        return TLSError("the source's certificate is signed by an authority this Python does not know", hint=_CA_HINT)
    return TLSError(f"the source's certificate is not valid: {error.verify_message}", hint=_CA_HINT)


# Every name the table needs is there at import: a later httpx that drops one fails here, not in an exchange.
_error_table(httpx)
