"""Through a proxy, forwarding and tunnelling, plain and over TLS, with credentials and without; and around it."""

from __future__ import annotations

import base64
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import anyio
import pytest

from asyncrad69 import AsyncRad69, AuthenticationError, Rad69Error

from .driver import AT_ONCE, BACKENDS, client_context, nothing_left, retrieve, server_context
from .server import FaultServer, good
from .wire import Study

if TYPE_CHECKING:
    import ssl

STUDY = Study.of(per_series=3)
CREDENTIALS = "proxyuser:proxypassword"


class Proxy:
    """
    Forwards http and tunnels https (RFC 9110 9.3.6).

    Args:
        credentials: ``user:password``, where it wants them.
        ssl_context: To be spoken to in TLS.

    Attributes:
        heads: The head of each request it was sent.
    """

    def __init__(self, *, credentials: str | None = None, ssl_context: ssl.SSLContext | None = None) -> None:
        self.heads: list[str] = []
        self._wanted = credentials and "Basic " + base64.b64encode(credentials.encode()).decode()
        self._ssl_context = ssl_context
        self._threads: list[threading.Thread] = []

    @property
    def address(self) -> str:
        """Host and port."""
        return f"localhost:{self._listener.getsockname()[1]}"

    @property
    def url(self) -> str:
        """Without credentials."""
        return f"{'https' if self._ssl_context else 'http'}://{self.address}"

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._start(self._accept)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in self._threads)

    def _start(self, target: Any, *args: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, name="proxy")
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._start(self._serve, self._listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            if self._ssl_context is None:
                self._answer(client)
            else:
                with self._ssl_context.wrap_socket(client, server_side=True) as secured:
                    self._answer(secured)

    def _answer(self, client: socket.socket) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            received += client.recv(65536) or _ended()
        head = received.partition(b"\r\n\r\n")[0].decode()
        self.heads.append(head)
        method, target, _ = head.split(" ", 2)
        if self._wanted and f"Proxy-Authorization: {self._wanted}" not in head:
            client.sendall(b"HTTP/1.1 407 Who are you?\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
        elif method == "CONNECT":
            self._pass_on(client, target, before=b"HTTP/1.1 200 Connection established\r\n\r\n", request=b"")
        else:
            self._pass_on(client, urlsplit(target).netloc, before=b"", request=received)

    def _pass_on(self, client: socket.socket, target: str, *, before: bytes, request: bytes) -> None:
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port))) as server:
            client.sendall(before)
            server.sendall(request)
            backwards = self._start(_pump, server, client)
            _pump(client, server)
            backwards.join()


def _ended() -> bytes:
    raise ConnectionError


def _pump(source: socket.socket, target: socket.socket) -> None:
    """All that comes from the one goes to the other, its end included."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        socket.socket.shutdown(target, socket.SHUT_WR)


def _ask(url: str, backend: str = "asyncio", **options: Any) -> Rad69Error | None:
    """Retrieve all, through what the options say: everything has come, or the reason why nothing has."""

    async def main() -> Rad69Error | None:
        async with AsyncRad69(
            url, repository_unique_id="1.2.3", ssl_context=client_context(), retry=AT_ONCE, **options
        ) as rad69:
            outcome = await retrieve(rad69, STUDY)
        outcome.check(STUDY, STUDY.instances if outcome.error is None else ())
        return outcome.error

    return anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("credentials", [None, CREDENTIALS], ids=["open", "credentials"])
@pytest.mark.parametrize("secured_proxy", [False, True], ids=["http-proxy", "https-proxy"])
@pytest.mark.parametrize("secured", [False, True], ids=["http", "https"])
def test_everything_comes_through_a_proxy(
    secured: bool, secured_proxy: bool, credentials: str | None, backend: str
) -> None:
    """Http is forwarded, https tunnelled; the proxy's credentials go to the proxy and no further."""
    heads: list[bytes] = []

    def noted(exchange: Any) -> None:
        heads.append(exchange.head)
        good(exchange)

    with (
        nothing_left(),
        FaultServer(STUDY, noted, ssl_context=server_context() if secured else None) as server,
        Proxy(credentials=credentials, ssl_context=server_context() if secured_proxy else None) as proxy,
    ):
        url = proxy.url.replace("://", f"://{credentials}@") if credentials else proxy.url
        assert _ask(server.url, backend, proxy=url) is None
    assert [head.partition(" ")[0] for head in proxy.heads] == ["CONNECT" if secured else "POST"]
    if secured:
        assert b"proxy-authorization" not in heads[0].lower()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("given", ["", "proxyuser:wrong@"], ids=["none", "wrong"])
@pytest.mark.parametrize("secured", [False, True], ids=["http", "https"])
def test_a_proxy_that_refuses_us_is_told_from_a_source(secured: bool, given: str, backend: str) -> None:
    """407, whether it answers the request or the CONNECT: final, with where the credentials belong; none is quoted."""
    with (
        nothing_left(),
        FaultServer(STUDY, good, ssl_context=server_context() if secured else None) as server,
        Proxy(credentials=CREDENTIALS) as proxy,
    ):
        error = _ask(server.url, backend, proxy=proxy.url.replace("://", f"://{given}"))
    assert type(error) is AuthenticationError
    assert error.http_status == 407
    assert "proxy='http://name:password@" in str(error)
    assert "wrong" not in str(error)
    assert len(proxy.heads) == 1
    assert not server.requests


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("exception", [None, "localhost", "127.0.0.1,elsewhere.example", "*"])
def test_the_environment_names_the_proxy_and_its_exceptions(
    clean_environment: pytest.MonkeyPatch, variable: str, exception: str | None
) -> None:
    """Through the whole client: the proxy is used unless NO_PROXY names the host of the URL, as it is written there."""
    with (
        nothing_left(),
        FaultServer(STUDY, good, ssl_context=server_context()) as server,
        Proxy() as proxy,
    ):
        clean_environment.setenv(variable, proxy.address)
        if exception:
            clean_environment.setenv("NO_PROXY", exception)
        assert _ask(server.url, trust_env=True) is None
    assert bool(proxy.heads) == (exception in {None, "127.0.0.1,elsewhere.example"})


def test_the_environment_is_left_alone_unasked(clean_environment: pytest.MonkeyPatch) -> None:
    """Without trust_env no variable sends anything anywhere."""
    with nothing_left(), FaultServer(STUDY, good) as server, Proxy() as proxy:
        clean_environment.setenv("HTTP_PROXY", proxy.url)
        clean_environment.setenv("ALL_PROXY", proxy.url)
        assert _ask(server.url) is None
    assert not proxy.heads


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_proxy_of_another_kind_in_the_environment(clean_environment: pytest.MonkeyPatch, backend: str) -> None:
    """ALL_PROXY=socks5://...: said before anything is sent, with what to do and without the password."""
    clean_environment.setenv("ALL_PROXY", "socks5://me:secret@proxy.example:1080")
    with pytest.raises(ValueError, match="the environment's proxy is not the URL of an HTTP proxy") as caught:
        _ask("https://source.example/", backend, trust_env=True)
    assert "SOCKS" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "proxy", ["socks5://me:secret@proxy.example:1080", "me:secret@proxy.example:3128", "http://", "", "http://a:b:c"]
)
def test_a_proxy_of_another_kind_is_refused_when_the_client_is_made(proxy: str) -> None:
    """What cannot be used as a proxy is the caller's mistake; the complaint quotes nothing."""
    with pytest.raises(ValueError, match="proxy is not the URL of an HTTP proxy") as caught:
        AsyncRad69("https://source.example/", proxy=proxy)
    assert "secret" not in str(caught.value)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No proxy is named by whoever runs the tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch
