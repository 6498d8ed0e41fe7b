"""Before a request can be sent: names, connections, TLS and proxies that fail; each with its class and its hint."""

from __future__ import annotations

import asyncio
import socket
import ssl
import warnings
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme

from asyncrad69 import (
    AsyncRad69,
    ConnectionFailed,
    ConnectionLost,
    ConnectionTimedOut,
    Rad69Error,
    Timeout,
    TLSError,
    TransportError,
)
from certificates import served, trusting

from .driver import AT_ONCE, client, client_context, nothing_left, retrieve, server_context
from .server import Behaviour, Exchange, FaultServer, good
from .wire import Study

STUDY = Study.of(per_series=2)


def _other_authority() -> ssl.SSLContext:
    return served(by=trustme.CA())


def _other_host() -> ssl.SSLContext:
    return served("elsewhere.example")


def _expired() -> ssl.SSLContext:
    return served(not_after=datetime.now(UTC) - timedelta(days=1))


def _client_certificate_required() -> ssl.SSLContext:
    return served(asks=True)


def _old_version() -> ssl.SSLContext:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = served()
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def _failure(rad69: AsyncRad69) -> Rad69Error:
    """Why nothing came."""

    async def main() -> Rad69Error:
        async with rad69:
            outcome = await retrieve(rad69, STUDY)
        outcome.check(STUDY, ())
        reason = outcome.reasons()[0]
        assert reason is not None
        return reason

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("make_context", "message"),
    [
        pytest.param(_other_authority, "authority", id="unknown-ca"),
        pytest.param(_other_host, "another host", id="wrong-host"),
        pytest.param(_expired, "expired", id="expired"),
        pytest.param(_client_certificate_required, "client certificate", id="client-certificate-required"),
        pytest.param(_old_version, "TLS version", id="tls-1.1"),
    ],
)
def test_tls_that_repeating_does_not_mend(make_context: Any, message: str) -> None:
    """The class says that it is TLS, the message what about it, the hint what to do; and it is not tried again."""
    with nothing_left(), FaultServer(STUDY, good, ssl_context=make_context()) as server:
        error = _failure(client(server))
    assert type(error) is TLSError
    assert message in str(error)
    assert error.hint
    assert server.connections == 1


def _in_the_body(exchange: Exchange) -> None:
    exchange.send(exchange.reply(), "chunked", cut=0, ending="rst")


@pytest.mark.parametrize(
    ("behaviour", "tls", "hinted"),
    [
        pytest.param(Exchange.reset, True, True, id="reset"),
        pytest.param(Exchange.vanish, True, True, id="no close_notify"),
        pytest.param(Exchange.end, True, True, id="close"),
        pytest.param(Exchange.reset, False, False, id="plain"),
        pytest.param(_in_the_body, True, False, id="in the body"),
    ],
)
def test_connection_lost_before_the_reply_may_be_a_missing_certificate(
    behaviour: Behaviour, tls: bool, hinted: bool
) -> None:
    """A reset may overtake the alert that asks for a client certificate: the hint says so, where it can be that."""
    with nothing_left(), FaultServer(STUDY, behaviour, ssl_context=server_context() if tls else None) as server:
        error = _failure(client(server))
    assert type(error) is ConnectionLost
    assert ("client certificate" in str(error)) == hinted


def test_client_certificate_is_accepted() -> None:
    """The same source, and a context with a certificate: everything arrives."""
    context = trusting(shows=True)

    async def main() -> None:
        async with AsyncRad69(server.url, repository_unique_id="1.2.3", ssl_context=context) as rad69:
            (await retrieve(rad69, STUDY)).check(STUDY, STUDY.instances)

    with nothing_left(), FaultServer(STUDY, good, ssl_context=_client_certificate_required()) as server:
        asyncio.run(main())


def _hold(connection: socket.socket) -> None:
    """Never say a word of TLS."""
    with suppress(OSError):
        while connection.recv(4096):
            pass


def _answer_in_clear(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def test_handshake_that_stalls_ends_in_time() -> None:
    """A peer that accepts and says nothing costs the connect limit, no more."""
    with nothing_left(), FaultServer(STUDY, good, ssl_context=server_context(), greeting=_hold) as server:
        error = _failure(client(server, timeout=Timeout(connect_s=0.2)))
    assert type(error) is ConnectionTimedOut
    assert isinstance(error, ConnectionFailed)
    assert (error.phase, error.limit_s) == ("connect", 0.2)
    assert "connect_s" in str(error)


def test_https_to_a_plain_port_is_told() -> None:
    """TLS spoken to a server without it."""
    with nothing_left(), FaultServer(STUDY, good, ssl_context=server_context(), greeting=_answer_in_clear) as server:
        error = _failure(client(server))
    assert type(error) is TLSError
    assert "http://" in str(error)


def test_http_to_a_tls_port_is_a_transport_error() -> None:
    """HTTP spoken to a server with TLS."""
    with nothing_left(), FaultServer(STUDY, good, ssl_context=server_context()) as server:
        url = server.url.replace("https", "http")
        error = _failure(AsyncRad69(url, repository_unique_id="1.2.3", ssl_context=client_context(), retry=AT_ONCE))
    assert isinstance(error, TransportError)


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_refused_connection_ends_the_retrieve() -> None:
    """Nobody listens: the class, the reason of the operating system, and only a few attempts."""
    url = f"http://localhost:{_closed_port()}/"
    with nothing_left():
        error = _failure(AsyncRad69(url, repository_unique_id="1.2.3", ssl_context=client_context(), retry=AT_ONCE))
    assert type(error) is ConnectionFailed
    assert "refused" in str(error).lower()


def test_unknown_host_ends_the_retrieve(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that does not resolve."""

    def fail(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with nothing_left():
        error = _failure(
            AsyncRad69(
                "http://source.invalid/", repository_unique_id="1.2.3", ssl_context=client_context(), retry=AT_ONCE
            )
        )
    assert type(error) is ConnectionFailed
    assert "not known" in str(error)


@pytest.mark.parametrize("status", [b"502 Bad Gateway", b"403 Forbidden"])
def test_proxy_that_refuses_the_tunnel(status: bytes) -> None:
    """The proxy's refusal is a failed connection, and says that it was the proxy."""

    def refuse(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

    with nothing_left(), FaultServer(STUDY, good, greeting=refuse) as proxy:
        error = _failure(
            AsyncRad69(
                "https://source.invalid/",
                repository_unique_id="1.2.3",
                ssl_context=client_context(),
                proxy=f"http://localhost:{proxy.port}",
                retry=AT_ONCE,
            )
        )
    assert isinstance(error, ConnectionFailed)
    assert "proxy" in str(error)


@pytest.mark.parametrize(
    "url",
    ["http://localhost:99999/", "http:///rad69", "localhost/rad69", "ftp://localhost/", "http://a..b\u2488/", ""],
)
def test_bad_url_is_refused_when_the_client_is_made(url: str) -> None:
    """What cannot be a URL is the caller's mistake, and said before anything is sent."""
    with pytest.raises(ValueError, match="url"):
        AsyncRad69(url, repository_unique_id="1.2.3")
