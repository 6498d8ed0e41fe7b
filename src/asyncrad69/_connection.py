"""How the endpoint is reached: URL, TLS, proxies, and the HTTP client that all requests go through."""

from __future__ import annotations

import inspect
import ipaddress
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypedDict, cast
from urllib.request import getproxies, proxy_bypass

import httpx

from ._http_client import AuthFlow, HTTPClient, check_auth_flow, check_client, is_auth_flow
from ._limits import whole
from ._security_header import read_security_header
from ._threads import in_thread
from ._tls import tls_context
from ._transport import KEEP_ALIVE, READ_SIZE, DirectTransport, SocketOption, check_socket_options, on_asyncio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._tls import Certificate, Verify

TokenFunction: TypeAlias = Callable[[], str] | Callable[[], Awaitable[str]]
Auth: TypeAlias = httpx.Auth | AuthFlow | tuple[str, str] | Callable[[httpx.Request], httpx.Request] | TokenFunction
Login: TypeAlias = Callable[[httpx.AsyncClient], Awaitable[object]] | Callable[[httpx.Client], object]
SecurityHeaderGiven: TypeAlias = bytes | str | Callable[[], bytes | str] | Callable[[], Awaitable[bytes | str]]


class ConnectionOptions(TypedDict, total=False):
    """The keywords that say how to reach an endpoint; described at `AsyncRad69`."""

    auth: Auth | None
    login: Login | None
    security_header: SecurityHeaderGiven | None
    headers: Mapping[str, str] | None
    verify: Verify | None
    cert: Certificate | None
    ssl_context: ssl.SSLContext | None
    proxy: str | None
    trust_env: bool
    socket_options: Sequence[SocketOption] | None
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
    login: Login | None = field(default=None, repr=False)
    security_header: SecurityHeaderGiven | None = field(default=None, repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    verify: Verify | None = None
    cert: Certificate | None = field(default=None, repr=False)
    ssl_context: ssl.SSLContext | None = None
    proxy: str | None = field(default=None, repr=False)
    trust_env: bool = False
    socket_options: Sequence[SocketOption] | None = None
    allow_plaintext: bool = False
    http_client: HTTPClient | None = None
    read_size: int = READ_SIZE

    def __post_init__(self) -> None:
        whole("read_size", self.read_size)
        if not _LEAST_READ <= self.read_size <= _MOST_READ:
            raise ValueError(f"read_size is {_LEAST_READ} to {_MOST_READ} bytes, not {self.read_size}")
        self._check_types()
        self._check_identity(_checked_url(self.url))
        own = (self.verify, self.cert, self.ssl_context, self.proxy, self.trust_env, self.socket_options)
        if self.http_client is not None and any(own):
            raise ValueError("TLS, proxies and sockets are the http_client's own: set them where it is made")
        if self.ssl_context is not None and (self.verify is not None or self.cert is not None):
            raise ValueError("pass verify and cert, or ssl_context, not both: a context has all of TLS in it")
        if self.proxy is not None:
            _checked_proxy(self.proxy, "proxy")
        _check_verify(self.verify)
        check_socket_options(self.socket_options or ())

    def _check_types(self) -> None:
        """What annotations do not keep out: found later, it would end a retrieve in flight."""
        auth: object = self.auth
        is_pair = isinstance(auth, tuple) and len(auth) == 2 and all(isinstance(each, str | bytes) for each in auth)
        if not (auth is None or is_pair or callable(auth) or is_auth_flow(auth)):
            raise TypeError(
                "auth is (user, password), a function that gives a bearer token, or an httpx.Auth; "
                f"not {type(auth).__name__}"
            )
        check_auth_flow(auth, self.http_client)
        texts: tuple[object, ...] = (*self.headers, *self.headers.values())
        if not all(isinstance(each, str) for each in texts):
            raise TypeError("headers are texts by name, as in headers={'X-Site': 'north'}")
        for name, value in self.headers.items():
            if not _FIELD_NAME.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
                raise ValueError("headers have names and values of printable ASCII (RFC 9110 5.5); one has not")
        if own := _OWN_HEADERS.intersection(name.lower() for name in self.headers):
            raise ValueError(f"headers: {min(own)} is said by each request for itself")
        if self.http_client is not None:
            check_client(self.http_client)

    @property
    def token_function(self) -> TokenFunction | None:
        """*auth*, if it gives a bearer token."""
        return cast("TokenFunction", self.auth) if _gives_a_token(self.auth) else None

    def _check_identity(self, url: httpx.URL) -> None:
        given = any(each is not None for each in (self.auth, self.login, self.security_header))
        secrets = given or any(name.lower() in _SECRET_HEADERS for name in self.headers)
        if url.scheme == "http" and secrets and not self.allow_plaintext and not _is_loopback(url.host):
            raise ValueError(
                "credentials would go out in plain text: use https://, or say allow_plaintext=True if the network "
                "is trusted"
            )
        if is_async(self.auth) and not _gives_a_token(self.auth):
            raise TypeError("an async function as auth= takes nothing and gives a bearer token")
        if self.login is not None and not callable(self.login):
            raise TypeError("login is a function that takes an HTTP client and logs in with it")
        if self.login is not None and self.http_client is not None and not is_async(self.login):
            raise ValueError("with an http_client, which is async, login is an 'async def' function")
        if self.security_header is not None and not callable(self.security_header):
            read_security_header(self.security_header)


def _check_verify(verify: object) -> None:
    """What other libraries take for it, and this one does not."""
    if isinstance(verify, ssl.SSLContext):
        raise TypeError("verify is a file of CA certificates: pass an SSLContext as ssl_context=")
    if verify is True:
        raise TypeError("verify is a file of CA certificates: leave it out for the usual ones; checks are on anyway")
    if verify is False:
        raise TypeError("verify is a file of CA certificates: to switch checks off, build an ssl_context= that does")


def is_async(function: object) -> bool:
    """Whether calling it gives something to await, as far as one can see from outside."""
    call = getattr(function, "__call__", None)  # noqa: B004 - an object may have an async one
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _gives_a_token(auth: object) -> bool:
    """Whether *auth* is a function that takes nothing; httpx's own kind takes the request."""
    if not callable(auth) or is_auth_flow(auth):
        return False
    try:
        parameters = inspect.signature(auth).parameters.values()
    except ValueError:  # one that is written in C
        return False
    return all(each.default is not each.empty or each.kind is each.VAR_KEYWORD for each in parameters)


# Below, a system call costs more than the bytes it brings; above, a block does not fit the receiver's buffer.
_LEAST_READ = 1024
_MOST_READ = 512 * 1024

_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e]*")
_OWN_HEADERS = frozenset(("accept", "accept-encoding", "content-length", "content-type", "transfer-encoding"))
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


def _checked_proxy(text: str, name: str) -> str:
    """Checked here: elsewhere a complaint would quote it, password and all."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError, TypeError):
        url = httpx.URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(
            f"{name} is not the URL of an HTTP proxy, as in http://proxy.example:3128; others, such as SOCKS, are "
            "not supported"
        )
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@asynccontextmanager
async def own_client(connection: Connection) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of our own for *connection*, closed at the end."""
    # Certificates are files, and long to load.
    context, proxy = await in_thread(partial(_tls_and_proxy, connection))
    async with httpx.AsyncClient(
        transport=_transport(connection, context, proxy),
        trust_env=False,
        follow_redirects=False,
        timeout=_LOGIN_LIMIT_S,  # requests of ours have their own
    ) as client:
        yield client


def blocking_client(connection: Connection) -> httpx.Client:
    """An HTTP client for a login that blocks; it reaches what *connection* reaches."""
    context, proxy = _tls_and_proxy(connection)
    options = _socket_options(connection)
    transport = httpx.HTTPTransport(verify=context, proxy=proxy, trust_env=False, socket_options=options)
    return httpx.Client(transport=transport, trust_env=False, timeout=_LOGIN_LIMIT_S)


# A person may be at the other end of it: not shorter than a slow directory service takes.
_LOGIN_LIMIT_S = 30.0


def _socket_options(connection: Connection) -> tuple[SocketOption, ...]:
    return KEEP_ALIVE if connection.socket_options is None else tuple(connection.socket_options)


def _transport(connection: Connection, context: ssl.SSLContext, proxy: httpx.Proxy | None) -> httpx.AsyncBaseTransport:
    options = _socket_options(connection)
    if on_asyncio():
        return DirectTransport(ssl_context=context, proxy=proxy, read_size=connection.read_size, socket_options=options)
    # The retrieve's concurrency bounds the connections. None is kept alive: a byte left over on a reused one is read
    # as the answer to the next question, and may be another patient's.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return _StockTransport(verify=context, proxy=proxy, trust_env=False, limits=limits, socket_options=options)


def _tls_and_proxy(connection: Connection) -> tuple[ssl.SSLContext, httpx.Proxy | None]:
    url = connection.proxy
    if url is None and connection.trust_env:
        url = _environment_proxy(httpx.URL(connection.url))
    context = connection.ssl_context
    if context is None:
        context = _context(connection, proxy=url or "")
    # A proxy with https is trusted as the source is, and no otherwise.
    secured = url is not None and url.lower().startswith("https:")
    return context, None if url is None else httpx.Proxy(url, ssl_context=context if secured else None)


def _context(connection: Connection, *, proxy: str) -> ssl.SSLContext:
    secured = any(url.lower().startswith("https:") for url in (connection.url, proxy))
    if secured or connection.login is not None or connection.verify is not None or connection.cert is not None:
        return tls_context(connection.verify, connection.cert)
    # For an interface that wants one: the certificates take long to load, and http needs none.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class _StockTransport(httpx.AsyncHTTPTransport):
    """httpx's own, with a request body that is no generator: of one left half way trio complains."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.stream = _Block(request.content)
        return await super().handle_async_request(request)


class _Block(httpx.AsyncByteStream):
    """One block of bytes, once."""

    def __init__(self, block: bytes) -> None:
        self._blocks = [block]

    def __aiter__(self) -> _Block:
        return self

    async def __anext__(self) -> bytes:
        if not self._blocks:
            raise StopAsyncIteration
        return self._blocks.pop()


def _environment_proxy(url: httpx.URL) -> str | None:
    if proxy_bypass(url.host if url.port is None else f"{url.host}:{url.port}"):
        return None
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy:
        return None
    # By convention such a variable may leave the scheme out; httpx.Proxy would not take it.
    return _checked_proxy(proxy if "://" in proxy else f"http://{proxy}", "with trust_env, the environment's proxy")
