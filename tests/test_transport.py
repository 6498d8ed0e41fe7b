"""`DirectTransport` against servers on real sockets."""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import ssl

import httpx
import pytest

from asyncrad69 import AsyncRad69
from asyncrad69._connection import _environment_proxy
from asyncrad69._transport import FramingTooLong
from asyncrad69.testing import SimulatedSource
from certificates import served, trusting
from serving import CHUNKED, OK, client, sends, serving, tls

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """asyncio's own event loop, and the one that uvicorn runs in."""
    if request.param:
        pytest.importorskip("uvloop")
    return "asyncio", {"use_uvloop": request.param}


def one_by_one(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize(
    "pieces",
    [
        [OK + b"Content-Length: 5\r\n\r\nhello"],
        [OK + b"Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 left over"],
        [CHUNKED + b"2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nT: 1\r\n\r\n"],
        [OK + b"\r\nhel", b"lo"],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello"],
        one_by_one(b"HTTP/1.1 103 Early Hints\r\n\r\n" + CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"),
    ],
    ids=["sized", "left over", "chunked", "unsized", "100", "byte by byte"],
)
async def test_a_body_comes_whole(pieces: list[bytes]) -> None:
    """Every framing gives the same body, and a second request on the client gets its own answer."""
    async with serving(sends(*pieces)) as url, client() as http:
        for _ in range(2):
            assert (await http.get(url)).content == b"hello"


async def test_a_connection_takes_the_buffer_of_one_that_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many buffers as there were connections at once; and nothing of an earlier reply is in a later one."""
    made: list[int] = []

    def counted(descriptor: int, size: int) -> mmap.mmap:
        made.append(size)
        return mmap.mmap(descriptor, size)

    monkeypatch.setattr("asyncrad69._transport._backend.mmap", counted)
    bodies = iter([b"long" * 100_000, b"", b"short", b"x" * 300])

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        body = next(bodies)
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async with serving(answer) as url, client() as http:
        received = [(await http.get(url)).content for _ in range(4)]
    assert received == [b"long" * 100_000, b"", b"short", b"x" * 300]
    assert len(made) == 1


@pytest.mark.parametrize("endless", [b"HTTP/1.1 200 " + b"x" * 8000, b"HTTP/1.1 102 Processing\r\n\r\n" * 300])
async def test_heads_without_an_end_are_refused(endless: bytes) -> None:
    """A status line that does not end, and interim replies without a final one, cost 100 KiB and no timeout."""

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(endless)
            await writer.drain()

    async with serving(answer) as url, client() as http:
        with pytest.raises(FramingTooLong):
            await http.get(url)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_big_body_over_tls_is_the_same(version: ssl.TLSVersion) -> None:
    """Eight megabytes in chunks through TLS arrive unchanged."""
    (theirs, ours), data = tls(), bytes(range(251)) * 32_000
    theirs.minimum_version = theirs.maximum_version = version
    chunks = [data[at : at + 8190] for at in range(0, len(data), 8190)]
    wire = CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    async with serving(sends(wire), theirs) as url, client(ours) as http:
        received = (await http.get(url)).content
    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("fault", ["unknown authority", "wrong host"])
async def test_a_certificate_is_checked(fault: str) -> None:
    """A server that is not who the URL names is refused before the request is sent."""
    wrong_host = fault == "wrong host"
    theirs = served("other.example" if wrong_host else "localhost")
    ours = trusting() if wrong_host else ssl.create_default_context()
    async with serving(sends(OK + b"\r\n"), theirs) as url, client(ours) as http:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await http.get(url)


async def test_a_proxy_is_sent_the_whole_url() -> None:
    """Plain http goes to the proxy in absolute form (RFC 9112 3.2.2)."""
    heads: list[bytes] = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(OK + b"Content-Length: 0\r\n\r\n")

    async with serving(answer) as url, client(proxy=url) as http:
        await http.get("http://source.example/rad69")
    assert heads[0].startswith(b"GET http://source.example/rad69 HTTP/1.1\r\n")


async def test_a_silent_server_is_a_read_timeout() -> None:
    """The read limit ends a wait inside the body."""
    release = asyncio.Event()

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"5\r\nhe")
        await release.wait()

    async with serving(answer) as url, client(timeout_s=0.1) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.get(url)
        release.set()


@pytest.mark.parametrize("sent", [b"", OK[:9], CHUNKED, CHUNKED + b"5\r\nhe"], ids=["no head", "head", "body", "chunk"])
async def test_cancelling_drops_the_connection(sent: bytes) -> None:
    """A request cancelled at any stage leaves no task, and the server sees its connection end."""
    asked, gone = asyncio.Event(), asyncio.Event()

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()
        asked.set()
        await gone_at_server(writer)
        gone.set()

    async with serving(answer) as url, client() as http:
        request = asyncio.create_task(http.get(url))
        await asked.wait()
        before = asyncio.all_tasks() - {request}
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert asyncio.all_tasks() <= before
        async with asyncio.timeout(10):
            await gone.wait()


async def gone_at_server(writer: asyncio.StreamWriter) -> None:
    """Write until the peer refuses it."""
    try:
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.001)
    except ConnectionError:
        pass


async def test_a_slow_consumer_stops_the_source() -> None:
    """While nobody reads, no more than the buffers' worth is taken; closing then ends the connection."""
    written, stopped, gone = 0, asyncio.Event(), asyncio.Event()
    total = 256 << 20

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % total)
        try:
            while written < total:
                writer.write(bytes(1 << 16))
                written += 1 << 16
                async with asyncio.timeout(0.5):
                    await writer.drain()
        except TimeoutError:
            stopped.set()
        try:
            await writer.drain()
        except ConnectionError:
            gone.set()

    async with serving(answer) as url, client() as http:
        async with http.stream("GET", url) as response:
            assert await anext(response.aiter_raw())
            async with asyncio.timeout(10):
                await stopped.wait()
            assert written < 32 << 20
        async with asyncio.timeout(10):
            await gone.wait()


async def test_framing_that_drips_restarts_no_limit() -> None:
    """One wait for content has one limit, however much framing comes meanwhile."""

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n2;extension=")
        for _number in range(30):
            writer.write(b"x")
            await asyncio.sleep(0.1)
        writer.write(b"\r\nok\r\n0\r\n\r\n")

    async with serving(answer) as url, client() as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.get(url, timeout=httpx.Timeout(None, read=0.5))


async def test_digest_authentication_asks_twice() -> None:
    """httpx's authentication works over this transport: the challenge is answered on a second connection."""
    heads: list[bytes] = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        challenge = b'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\n'
        writer.write((OK if b"Authorization: Digest" in head else challenge) + b"Content-Length: 0\r\n\r\n")

    async with serving(answer) as url, client() as http:
        assert (await http.get(url, auth=httpx.DigestAuth("user", "secret"))).status_code == 200
    assert len(heads) == 2


@pytest.mark.parametrize("shown", [True, False])
async def test_a_client_certificate(shown: bool) -> None:
    """A certificate in the ssl_context is shown to a server that requires one, and its absence is an error."""
    theirs, ours = served(asks=True), trusting(shows=shown)
    async with serving(sends(OK + b"Content-Length: 2\r\n\r\nok"), theirs) as url, client(ours) as http:
        if shown:
            assert (await http.get(url)).content == b"ok"
        else:
            with pytest.raises(httpx.TransportError):
                await http.get(url)


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({"https_proxy": "http://proxy.example:3128"}, "http://proxy.example:3128"),
        ({"https_proxy": "proxy.example:3128"}, "http://proxy.example:3128"),
        ({"all_proxy": "http://proxy.example:3128"}, "http://proxy.example:3128"),
        ({"https_proxy": "http://proxy.example:3128", "no_proxy": "source.example"}, None),
        ({"http_proxy": "http://proxy.example:3128"}, None),
    ],
)
def test_the_environment_names_the_proxy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], proxy: str | None
) -> None:
    """The variables of the URL's scheme, or of all, name the proxy, with or without a scheme; no_proxy wins."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert _environment_proxy(httpx.URL("https://source.example/rad69")) == proxy


@pytest.mark.parametrize(("exception", "direct"), [("source.example:8443", True), ("source.example:1", False)])
def test_no_proxy_may_name_a_port(monkeypatch: pytest.MonkeyPatch, exception: str, direct: bool) -> None:
    """An exception with a port is for that port."""
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", exception)
    assert (_environment_proxy(httpx.URL("https://source.example:8443/rad69")) is None) == direct


@pytest.mark.parametrize("read_size", [1024, 4096, 512 * 1024])
async def test_any_read_size_reads_the_same(read_size: int) -> None:
    """However much is read at once, it is the same reply."""
    with SimulatedSource.demo(slices=2) as source:
        async with AsyncRad69(source.url, read_size=read_size) as rad69:
            async for instance in rad69.instances(source.references()):
                assert instance.data == source.data(instance.reference.sop_instance_uid)


@pytest.mark.parametrize("read_size", [0, 1023, 512 * 1024 + 1])
async def test_read_sizes_have_bounds(read_size: int) -> None:
    """What would crawl or not fit is refused before anything is sent."""
    with pytest.raises(ValueError, match="read_size is 1024 to 524288 bytes"):
        AsyncRad69("http://127.0.0.1/rad69", read_size=read_size)
