"""The endpoint: every error of httpx has one of ours, and nothing is sent to where it should not go."""

from __future__ import annotations

import inspect
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc
import httpx
import pytest
import trustme

from asyncrad69 import (
    AsyncRad69,
    AuthenticationError,
    ConnectionFailed,
    ConnectionLost,
    Event,
    HTTPStatusRefused,
    IncompleteRetrieveError,
    InstanceReference,
    LimitExceeded,
    Rad69Error,
    RequestFinished,
    RequestStarted,
    Retry,
    RetryScheduled,
    SoapFault,
    Timeout,
    TLSError,
    TransferTimeout,
    TransportError,
    XDSMissingDocumentError,
    _endpoint,
)
from asyncrad69._connection import Connection, own_client
from asyncrad69._http_errors import error_table, translate
from asyncrad69._transport import FramingTooLong, SocketOption
from certificates import authority, served, trusting
from replies import fault_12
from source import SOAP, Asked, Scripted, ScriptedSource, no

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

REFERENCE = InstanceReference("1.2.3", "1.2.3.1", "1.2.3.1.1", repository_unique_id="1.9")
ONCE = Retry(attempts=1)


async def failure(url: str, **options: Any) -> Rad69Error:
    """What asking for one instance ends with."""
    async with AsyncRad69(url, retry=ONCE, **options) as rad69:
        with pytest.raises(Rad69Error) as caught:
            await rad69.get_dataset(REFERENCE)
    return caught.value


# --- errors --------------------------------------------------------------------------------------------

HTTPX_ERRORS = [
    cls
    for _, cls in inspect.getmembers(httpx, inspect.isclass)
    if issubclass(cls, httpx.HTTPError) and cls is not httpx.HTTPStatusError
]


@pytest.mark.parametrize("cls", HTTPX_ERRORS)
def test_every_error_of_httpx_istranslated(cls: type[Exception]) -> None:
    """No class of the installed httpx passes through untranslated, and none tells what a peer wrote."""
    ours = translate(cls("secret bytes"), error_table(httpx))
    assert isinstance(ours, TransportError)
    if not issubclass(cls, httpx.NetworkError):
        assert "secret" not in str(ours)


@pytest.mark.parametrize(
    ("error", "maximum"), [(FramingTooLong(7), 7), (httpx.RemoteProtocolError("Receive buffer too long"), 100 * 1024)]
)
def test_framing_without_an_end_is_a_limit(error: Exception, maximum: int) -> None:
    """From our transport, and from h11 where httpx's own is used."""
    ours = translate(error, error_table(httpx))
    assert isinstance(ours, LimitExceeded)
    assert (ours.limit, ours.maximum, ours.retryable) == ("http_framing", maximum, False)
    assert f"{maximum} bytes" in str(ours)


def test_a_bug_is_nottranslated() -> None:
    """What is not the transport's error stays what it is."""
    assert translate(KeyError("x"), error_table(httpx)) is None


@pytest.mark.anyio
async def test_nobody_listens() -> None:
    """A closed port is ConnectionFailed with what to check."""
    with ScriptedSource(no) as source:
        url = source.url
    error = await failure(url)
    assert isinstance(error, ConnectionFailed)
    assert "no connection to the source" in error.message
    assert error.hint == "Check the host, the port, and the firewall."


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
async def test_redirects_are_refused(status: str) -> None:
    """Credentials and UIDs do not follow a redirect."""
    with ScriptedSource(no) as target:
        redirect = Scripted(status=status, headers=(f"Location: {target.url}",))
        with ScriptedSource(lambda _: redirect) as source:
            error = await failure(source.url)
    assert isinstance(error, HTTPStatusRefused)
    assert str(error.http_status) == status[:3]
    assert target.requests == []


# --- TLS -----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_tls_that_is_right() -> None:
    """A trusted certificate for this host lets the request through."""
    with ScriptedSource(no, tls=served()) as source:
        assert isinstance(await failure(source.url, ssl_context=trusting()), XDSMissingDocumentError)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("tls", "trust", "message", "hint"),
    [
        (served, False, "an authority this Python does not know", "verify='/path/to/ca.pem'"),
        (lambda: served("elsewhere.example"), True, "for another host", "The URL must use the name"),
        (lambda: served(asks=True), True, "requires a client certificate", "ssl_context="),
        (lambda: None, True, "does not speak TLS on this port", "http://"),
    ],
    ids=["unknown authority", "another host", "client certificate", "no TLS"],
)
async def test_tls_failures_are_told_apart(tls: Any, trust: bool, message: str, hint: str) -> None:
    """Each reason for a failed handshake has its own words and its own way out."""
    with ScriptedSource(no, tls=tls()) as source:
        url = source.url.replace("http:", "https:")
        error = await failure(url, ssl_context=trusting() if trust else ssl.create_default_context())
    assert isinstance(error, TLSError)
    assert message in error.message
    assert hint in (error.hint or "")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("script", "tls"), [(no, served), (lambda _: None, lambda: None)], ids=["TLS", "closes without a word"]
)
async def test_http_to_a_port_with_tls(script: Any, tls: Any) -> None:
    """A connection that ends before any answer: the error says what may be wrong with the URL."""
    with ScriptedSource(script, tls=tls()) as source:
        error = await failure(source.url.replace("https:", "http:"))
    assert isinstance(error, ConnectionLost)
    assert error.hint == "If this port speaks TLS, use https://."


@pytest.mark.anyio
async def test_an_answer_that_breaks_off_says_nothing_of_tls() -> None:
    """Once there is a head, it is certain what the port speaks."""
    with ScriptedSource(lambda asked: replace(no(asked), length=10_000)) as source:
        error = await failure(source.url)
    assert "TLS" not in (error.hint or "")


# --- where requests go, and with what ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "options", "error", "message"),
    [
        ("ftp://source.example/", {}, ValueError, "http:// or https://"),
        ("https:///rad69", {}, ValueError, "with a host"),
        ("https://a:b:c/", {}, ValueError, "not an URL"),
        ("https://me:pw@source.example/", {}, ValueError, r"pass auth=\(user, password\)"),
        ("http://source.example/", {"auth": ("me", "pw")}, ValueError, "plain text"),
        ("http://source.example/", {"headers": {"Authorization": "Bearer pw"}}, ValueError, "plain text"),
        ("https://source.example/", {"auth": "pw"}, TypeError, r"auth is \(user, password\), .*; not str"),
        ("https://source.example/", {"auth": ("me", "pw", "x")}, TypeError, "not tuple"),
        ("https://source.example/", {"headers": {"a": 1}}, TypeError, "headers are texts by name"),
        ("https://source.example/", {"headers": {"Accept": "*/*"}}, ValueError, "accept is said by each request"),
        ("https://source.example/", {"http_client": httpx.Client()}, TypeError, "an httpx.AsyncClient; not a Client"),
        ("https://source.example/", {"endpoints": ["https://a/"]}, TypeError, "URLs by repository unique id"),
        ("https://source.example/", {"repository": "1.2.3"}, TypeError, "did you mean repository_unique_id"),
        ("https://source.example/", {"timeout": 10}, TypeError, "timeout is a Timeout"),
        ("https://source.example/", {"verify": True}, TypeError, "checks are on anyway"),
        ("https://source.example/", {"verify": False}, TypeError, "to switch checks off, build an ssl_context="),
        ("https://source.example/", {"verify": ssl.create_default_context()}, TypeError, "as ssl_context="),
        ("https://source.example/", {"verify": "x", "ssl_context": ssl.create_default_context()}, ValueError, "both"),
        ("https://source.example/", {"http_client": httpx.AsyncClient(), "proxy": "http://p"}, ValueError, "own"),
        ("https://source.example/", {"headers": {"X-Site": "K\u00f6ln"}}, ValueError, "printable ASCII"),
        ("https://source.example/", {"headers": {"X Site": "north"}}, ValueError, "printable ASCII"),
        ("https://source.example/", {"headers": {"X-Site": "a\r\nb: c"}}, ValueError, "printable ASCII"),
        ("https://source.example/", {"read_size": 65536.5}, TypeError, "read_size is a whole number"),
        ("https://source.example/", {"memory_budget_bytes": "x"}, TypeError, "or None for no bound; not 'x'"),
        ("https://source.example/", {"socket_options": [(1, 2)]}, ValueError, "what socket.setsockopt takes"),
        ("https://source.example/", {"socket_options": [(-1, -1, 1)]}, ValueError, "what socket.setsockopt takes"),
        ("https://source.example/", {"socket_options": [()]}, ValueError, "what socket.setsockopt takes"),
    ],
)
def test_connections_are_checked(url: str, options: dict[str, Any], error: type[Exception], message: str) -> None:
    """What would fail, leak or be ignored is refused before anything is sent, without repeating a secret."""
    with pytest.raises(error, match=message) as caught:
        AsyncRad69(url, **options)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost/", "http://127.0.0.1/", "http://[::1]/", "https://source.example/"])
def test_credentials_may_go_to_this_machine_and_over_tls(url: str) -> None:
    """Loopback and TLS need no permission; elsewhere it has to be given."""
    AsyncRad69(url, auth=("me", "pw"))
    assert "pw" not in repr(AsyncRad69("http://source.example/", auth=("me", "pw"), allow_plaintext=True))


@pytest.mark.anyio
@pytest.mark.parametrize("options", [None, (), [(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)]])
async def test_socket_options(options: list[SocketOption] | None) -> None:
    """Probes are on by default; what is given stands in their place."""
    with ScriptedSource(no) as source:
        async with (
            own_client(Connection(url=source.url, socket_options=options)) as client,
            client.stream("POST", source.url, content=b"") as response,
        ):
            used = response.extensions["network_stream"].get_extra_info("socket")
            assert bool(used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) == (options is None)
            if options is None and hasattr(socket, "TCP_KEEPIDLE"):
                assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
            if options:  # Linux counts its own bookkeeping in
                assert used.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) in {100_000, 200_000}


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_socket_option_that_fails_leaves_no_connection() -> None:
    """Of the other address family, which is known only then: an error of our transport's, and no socket is left."""
    with ScriptedSource(no) as source:
        wrong = [(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)]
        error = await failure(source.url, socket_options=wrong)
    assert isinstance(error, ConnectionFailed)
    assert source.requests == []


@pytest.mark.anyio
async def test_the_environment_s_proxy_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only trust_env=True takes a proxy from the environment."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ScriptedSource(lambda _: Scripted(status="502 Bad Gateway")) as proxy, ScriptedSource(no) as source:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert isinstance(await failure(source.url), XDSMissingDocumentError)
        assert proxy.requests == []
        assert isinstance(await failure(source.url, trust_env=True), HTTPStatusRefused)
        assert len(proxy.requests) == len(source.requests) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("auth", [("me", "pw"), httpx.BasicAuth("me", "pw")], ids=["tuple", "httpx"])
async def test_basic_authentication(auth: Any) -> None:
    """A pair and an httpx auth object send the same header."""
    with ScriptedSource(no) as source:
        await failure(source.url, auth=auth)
    assert source.requests[0].header("Authorization") == "Basic bWU6cHc="


@pytest.mark.anyio
async def test_digest_authentication() -> None:
    """A challenge is answered with the same request, credentials added."""

    def script(asked: Asked) -> Scripted:
        if asked.header("Authorization").startswith("Digest "):
            return no(asked)
        challenge = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'
        return Scripted(status="401 Unauthorized", headers=(challenge,))

    with ScriptedSource(script) as source:
        assert isinstance(await failure(source.url, auth=httpx.DigestAuth("me", "pw")), XDSMissingDocumentError)
    first, second = source.requests
    assert first.body == second.body


@pytest.mark.anyio
@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "407 Proxy Authentication Required"])
async def test_refused_credentials(status: str) -> None:
    """Who may not ask is told how to say who they are, once."""
    with ScriptedSource(lambda _: Scripted(status=status)) as source:
        error = await failure(source.url)
    assert isinstance(error, AuthenticationError)
    assert ("proxy='http://" if status.startswith("407") else "Pass auth=") in str(error)
    assert len(source.requests) == 1


# --- packaging -----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_requests_that_are_refused_together_are_all_put_otherwise() -> None:
    """Four find out at once that a source takes simple SOAP only: each is put again, the others so from the start."""
    together = threading.Barrier(4)

    def script(asked: Asked) -> Scripted:
        if asked.header("Content-Type").startswith("multipart/related"):
            together.wait(10)
            return Scripted(status="415 Unsupported Media Type")
        return no(asked)

    series = [InstanceReference("1.2.3", f"1.2.3.{n}", f"1.2.3.{n}.1", repository_unique_id="1.9") for n in range(8)]
    events: list[Event] = []
    with ScriptedSource(script) as source:
        async with (
            AsyncRad69(source.url, on_failure="report", on_event=events.append) as rad69,
            rad69.retrieve(series) as retrieval,
        ):
            assert [each async for each in retrieval] == []
    report = retrieval.report
    assert all(isinstance(row.error, XDSMissingDocumentError) for row in report.refused)
    assert len(report.refused) == 8
    assert report.requests == len(source.requests) == 12
    assert report.answers == {"HTTPStatusRefused": 4, "Failure": 8}
    for kind in (RequestStarted, RequestFinished):
        assert {each.message_id for each in events if isinstance(each, kind)} == {
            asked.message_id for asked in source.requests
        }


@pytest.mark.anyio
async def test_a_source_without_mtom_is_asked_in_simple_soap() -> None:
    """415 for MTOM: the same question once more in simple SOAP, with a MessageID of its own."""

    def script(asked: Asked) -> Scripted:
        is_mtom = asked.header("Content-Type").startswith("multipart/related")
        return Scripted(status="415 Unsupported Media Type") if is_mtom else no(asked)

    with ScriptedSource(script) as source:
        assert isinstance(await failure(source.url), XDSMissingDocumentError)
    first, second = source.requests
    assert first.wanted == second.wanted == [REFERENCE.sop_instance_uid]
    assert first.message_id != second.message_id


@pytest.mark.anyio
async def test_a_source_that_takes_no_packaging() -> None:
    """It is asked in both, once each; nothing is said of what it takes."""
    with ScriptedSource(lambda _: Scripted(status="415 Unsupported Media Type")) as source:
        error = await failure(source.url)
    assert isinstance(error, IncompleteRetrieveError | HTTPStatusRefused)
    assert len(source.requests) == 2
    assert error.report is None or not error.report.remarks


@pytest.mark.anyio
async def test_nothing_is_put_otherwise_once_nothing_is_asked() -> None:
    """After stop_asking: the source has not said what it would have answered, and nothing is entered for it."""
    with ScriptedSource(lambda _: Scripted(status="415 Unsupported Media Type")) as source:

        def stop(event: Event) -> None:
            if isinstance(event, RequestFinished):
                retrieval.stop_asking()

        async with (
            AsyncRad69(source.url, retry=ONCE, on_failure="report", on_event=stop) as rad69,
            rad69.retrieve([REFERENCE]) as retrieval,
        ):
            assert [each async for each in retrieval] == []
    assert len(source.requests) == 1
    assert [(row.state, row.error) for row in retrieval.report.rows] == [("missing", None)]


@pytest.mark.anyio
async def test_a_source_that_doubts_us_when_nothing_more_is_asked() -> None:
    """That it wants a new token is not its last word, and no reason to end what is in flight."""
    series = [InstanceReference("1.2.3", f"1.2.3.{n}", f"1.2.3.{n}.1", repository_unique_id="1.9") for n in (1, 2)]
    doubted = threading.Event()

    def script(asked: Asked) -> Scripted:
        if asked.wanted[0] == series[0].sop_instance_uid:
            return Scripted(status="401 Unauthorized")
        doubted.wait(10)
        return no(asked)

    def stop(event: Event) -> None:
        if isinstance(event, RequestFinished) and event.error is not None:
            retrieval.stop_asking()
            doubted.set()

    with ScriptedSource(script) as source:
        async with (
            AsyncRad69(source.url, auth=lambda: "token", on_failure="report", on_event=stop) as rad69,
            rad69.retrieve(series) as retrieval,
        ):
            assert [each async for each in retrieval] == []
    first, second = retrieval.report.rows
    assert (first.state, first.error) == ("missing", None)
    assert isinstance(second.error, XDSMissingDocumentError)


@pytest.mark.anyio
async def test_a_question_that_is_put_otherwise_waits_for_a_busy_source() -> None:
    """While one is refused for its packaging, another hears that the source is busy: both wait."""
    series = [InstanceReference("1.2.3", f"1.2.3.{n}", f"1.2.3.{n}.1", repository_unique_id="1.9") for n in (1, 2)]
    busy = iter([Scripted(status="503 Busy", headers=("Retry-After: 1",))])
    told, came = threading.Event(), []

    def script(asked: Asked) -> Scripted:
        came.append(time.monotonic())
        if asked.wanted[0] == series[0].sop_instance_uid and (answer := next(busy, None)) is not None:
            return answer
        if asked.header("Content-Type").startswith("multipart/related"):
            told.wait(10)
            return Scripted(status="415 Unsupported Media Type")
        return no(asked)

    def note(event: Event) -> None:
        if isinstance(event, RetryScheduled):
            told.set()

    with ScriptedSource(script) as source:
        async with (
            AsyncRad69(source.url, on_failure="report", on_event=note) as rad69,
            rad69.retrieve(series) as retrieval,
        ):
            assert [each async for each in retrieval] == []
    assert all(isinstance(row.error, XDSMissingDocumentError) for row in retrieval.report.rows)
    assert came[2] - came[0] >= 0.9  # not a speed: what the source asked for


@pytest.mark.anyio
async def test_headers_of_our_own_are_sent_once() -> None:
    """Whatever their case; a User-Agent stands in the place of ours."""
    with ScriptedSource(no) as source:
        await failure(source.url, headers={"user-agent": "mine", "x-site": "north"})
    names = [line.partition(":")[0].lower() for line in source.requests[0].head.splitlines()[1:] if line]
    assert len(names) == len(set(names))
    assert source.requests[0].header("User-Agent") == "mine"
    assert source.requests[0].header("X-Site") == "north"


@pytest.mark.anyio
async def test_a_source_that_wants_mtom_is_asked_in_it() -> None:
    """A fault that names MTOM turns simple SOAP into MTOM; any other fault stays one."""

    def script(asked: Asked) -> Scripted:
        is_mtom = asked.header("Content-Type").startswith("multipart/related")
        fault = fault_12(reason="this service wants MTOM")
        return no(asked) if is_mtom else Scripted(status="400 Bad Request", headers=SOAP, body=fault.encode())

    with ScriptedSource(script) as source:
        assert isinstance(await failure(source.url, packaging="simple"), XDSMissingDocumentError)
    fault = Scripted(status="400 Bad Request", headers=SOAP, body=fault_12(reason="no").encode())
    with ScriptedSource(lambda _: fault) as source:
        assert isinstance(await failure(source.url, packaging="simple"), SoapFault)
    assert len(source.requests) == 1


# --- a file of certificates ----------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [str, Path])
async def test_verify_is_a_file_of_authorities(tmp_path: Path, kind: type[str | Path]) -> None:
    """verify= trusts the authorities in a PEM file, and no other; the host's name is checked all the same."""
    own, other = tmp_path / "ca.pem", tmp_path / "other.pem"
    authority().cert_pem.write_to_path(str(own))
    trustme.CA().cert_pem.write_to_path(str(other))
    with ScriptedSource(no, tls=served()) as source:
        assert isinstance(await failure(source.url, verify=kind(own)), XDSMissingDocumentError)
        assert isinstance(await failure(source.url, verify=kind(other)), TLSError)
    with ScriptedSource(no, tls=served("elsewhere.example")) as source:
        assert isinstance(await failure(source.url, verify=kind(own)), TLSError)


@pytest.mark.anyio
async def test_verify_names_a_file_that_is_there(tmp_path: Path) -> None:
    """A path that is wrong is the caller's mistake, said with both names when the client is opened."""
    with pytest.raises(FileNotFoundError, match=r"verify: No such file.*nowhere\.pem"):
        await AsyncRad69("https://localhost/", verify=tmp_path / "nowhere.pem").__aenter__()
    other = tmp_path / "other.pem"
    other.write_text("no certificate")
    with pytest.raises(ValueError, match="verify is not a file of PEM certificates"):
        await AsyncRad69("https://localhost/", verify=other).__aenter__()


# --- how long to wait ----------------------------------------------------------------------------------


class SlowSource:
    """
    A source that sends a reply's head and pieces when it is told to.

    Attributes:
        url: Where it is.
    """

    def __init__(self, *pieces: bytes, pause_s: float) -> None:
        self._pieces = pieces
        self._pause_s = pause_s
        self.url = ""

    async def serve(self, *, task_status: TaskStatus[None]) -> None:
        """Listen until cancelled."""
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            self.url = f"http://localhost:{listener.extra(anyio.abc.SocketAttribute.local_port)}/"
            task_status.started()
            await listener.serve(self._answer)

    async def _answer(self, stream: anyio.abc.SocketStream) -> None:
        async with stream:
            with suppress(anyio.BrokenResourceError):
                await stream.receive()
                for piece in self._pieces:
                    await stream.send(piece)
                    await anyio.sleep(self._pause_s)
                await anyio.sleep_forever()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\nContent-Length: 100000\r\n\r\n"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("pieces", "limits", "phase"),
    [
        pytest.param((), Timeout(first_byte_s=0.1), "first byte", id="no head"),
        pytest.param((HEAD[:30],), Timeout(first_byte_s=0.1), "first byte", id="half a head"),
        pytest.param((HEAD,), Timeout(idle_s=0.1), "idle", id="no body"),
        pytest.param((HEAD, b"<"), Timeout(idle_s=0.1, first_byte_s=None), "idle", id="one byte"),
        pytest.param((), Timeout(total_s=0.1), "total", id="total, before the head"),
        pytest.param(
            (HEAD, *[b"<"] * 5000), Timeout(total_s=0.2, min_bytes_per_s=None), "total", id="total, while it drips"
        ),
        pytest.param(
            (HEAD, *[b"<"] * 5000), Timeout(total_s=0.2, idle_s=None, min_bytes_per_s=None), "total", id="total alone"
        ),
        pytest.param((HEAD, *[b"<"] * 5000), Timeout(min_bytes_per_s=1e6), "throughput", id="a drip"),
        pytest.param(
            (HEAD, b"<" * 50000, *[b"<"] * 100),
            Timeout(min_bytes_per_s=1e4, idle_s=1.0),
            "throughput",
            id="a drip after a burst",
        ),
    ],
)
async def test_every_wait_has_its_limit(
    monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...], limits: Timeout, phase: str
) -> None:
    """The error names the phase whose limit was passed, and what to raise."""
    monkeypatch.setattr(_endpoint, "_WINDOW_S", 0.1)
    source = SlowSource(*pieces, pause_s=0.005)
    async with anyio.create_task_group() as tasks:
        await tasks.start(source.serve)
        error = await failure(source.url, timeout=limits)
        tasks.cancel_scope.cancel()
    error = error.__cause__ if isinstance(error.__cause__, TransferTimeout) else error
    assert isinstance(error, TransferTimeout)
    assert error.phase == phase
    assert "timeout=Timeout(" in (error.hint or "")


@pytest.mark.anyio
async def test_a_drip_that_is_fast_enough_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the least throughput each window is counted anew: only the idle limit ends it."""
    monkeypatch.setattr(_endpoint, "_WINDOW_S", 0.02)
    source = SlowSource(HEAD, *[b"<" * 100] * 30, pause_s=0.005)
    async with anyio.create_task_group() as tasks:
        await tasks.start(source.serve)
        error = await failure(source.url, timeout=Timeout(min_bytes_per_s=10.0, idle_s=0.5))
        tasks.cancel_scope.cancel()
    assert isinstance(error, TransferTimeout)
    assert error.phase == "idle"
