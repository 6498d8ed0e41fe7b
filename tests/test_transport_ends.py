"""`DirectTransport` when something ends that should not have: a connection, patience, the client itself."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from serving import CHUNKED, OK, client, sends, serving, tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

SIZED = OK + b"Content-Length: 9\r\n\r\n"
UNSIZED = OK + b"\r\n"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """asyncio's own event loop, and the one that uvicorn runs in."""
    if request.param:
        pytest.importorskip("uvloop")
    return "asyncio", {"use_uvloop": request.param}


#: Where a test puts something in the place of what uvloop has in C.
on_asyncio_s_own_loop = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS for both sides, made once."""
    return tls()


async def outcome(http: httpx.AsyncClient, url: str) -> bytes | type[Exception]:
    """What a request ends with: its body, or the class of its error."""
    try:
        return (await http.get(url)).content
    except httpx.TransportError as exc:
        return type(exc)


# --- cuts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(OK[:9], id="status line"),
        pytest.param(OK + b"Content-Le", id="head"),
        pytest.param(CHUNKED, id="no chunk"),
        pytest.param(CHUNKED + b"5", id="chunk header"),
        pytest.param(CHUNKED + b"5\r\nhe", id="chunk"),
        pytest.param(CHUNKED + b"5\r\nhello\r\n", id="between chunks"),
        pytest.param(CHUNKED + b"5\r\nhello\r\n0\r\nT: ", id="trailer"),
        pytest.param(SIZED, id="no length"),
        pytest.param(SIZED + b"hello", id="length"),
        pytest.param(UNSIZED + b"hello", id="until closed"),
    ],
)
async def test_a_cut_reply_ends_as_on_httpx_s_own_transport(wire: bytes, secured: bool, reset: bool) -> None:
    """The same bytes and the same end of the connection give the same class of error, or the same body."""
    theirs, ours = contexts() if secured else (None, None)

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(wire)
        await writer.drain()
        if reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    stock = httpx.AsyncClient(trust_env=False, verify=ours or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    async with serving(answer, theirs) as url, client(ours) as http, stock:
        end = await outcome(http, url)
        assert end == await outcome(stock, url)
    if reset:
        assert end is httpx.ReadError
    else:
        assert end == (b"hello" if wire.startswith(UNSIZED) else httpx.RemoteProtocolError)


@pytest.mark.parametrize("head", [CHUNKED + b"5\r\n", SIZED, UNSIZED], ids=["chunked", "length", "until closed"])
async def test_tls_that_ends_without_its_close_notify(head: bytes) -> None:
    """
    What HTTP delimits is known to be cut. A body that ends with the connection is not, there as with httpx, whether or
    not TLS took its leave: its content has to prove it (tests/faults, ending "no close_notify"). uvloop takes every end
    without leave for an error.
    """
    theirs, ours = contexts()

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(head + b"half")
        await writer.drain()
        # Below TLS: a FIN and nothing else.
        with socket.socket(fileno=socket.dup(writer.get_extra_info("socket").fileno())) as bare:
            bare.shutdown(socket.SHUT_WR)

    async with serving(answer, theirs) as url, client(ours) as http:
        expected = b"half" if head == UNSIZED else httpx.RemoteProtocolError
        uvloop = not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)
        assert await outcome(http, url) == (httpx.ReadError if uvloop else expected)


# --- patience ------------------------------------------------------------------------------------------


@asynccontextmanager
async def holding(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that takes connections and reads nothing from them; gives its port."""
    over = asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(hold, "localhost", 0, ssl=context, limit=1024, family=socket.AF_INET)
    async with server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            over.set()


async def test_a_handshake_that_never_comes_is_a_connect_timeout() -> None:
    """The connect limit holds for TLS too."""
    async with holding() as port, client(contexts()[1]) as http:
        with pytest.raises(httpx.ConnectTimeout):
            await http.get(f"https://localhost:{port}/", timeout=httpx.Timeout(None, connect=0.1))


@on_asyncio_s_own_loop
async def test_a_connection_that_is_not_made_is_a_connect_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A firewall that drops what comes: nothing answers within the limit."""

    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    async with client() as http:
        with pytest.raises(httpx.ConnectTimeout):
            await http.get("http://127.0.0.1:9/", timeout=httpx.Timeout(None, connect=0.05))


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
async def test_a_server_that_does_not_read_is_a_write_timeout(secured: bool) -> None:
    """A request that nobody takes ends at the write limit; the connection is dropped."""
    theirs, ours = contexts() if secured else (None, None)
    async with holding(theirs) as port, client(ours) as http:
        url = f"http{'s' if secured else ''}://localhost:{port}/"
        with pytest.raises(httpx.WriteTimeout):
            await http.post(url, content=bytes(32 << 20), timeout=httpx.Timeout(None, write=0.1))


# --- the client ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", CHUNKED, CHUNKED + b"5\r\nhe"], ids=["before the head", "body", "chunk"])
async def test_closing_the_client_ends_what_is_under_way(sent: bytes) -> None:
    """Whoever waits for a reply gets an error of the transport, and no task is left."""
    asked, over = asyncio.Event(), asyncio.Event()

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()
        asked.set()
        await over.wait()

    async with serving(answer) as url:
        async with client() as http:
            request = asyncio.create_task(http.get(url))
            await asked.wait()
            before = asyncio.all_tasks() - {request}
        async with asyncio.timeout(10):
            with pytest.raises(httpx.TransportError):
                await request
        assert asyncio.all_tasks() <= before
        over.set()


# --- a name with several addresses ---------------------------------------------------------------------

FOUR, SIX = "127.0.0.1", "::1"


def _has_six() -> bool:
    try:
        socket.create_server((SIX, 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> str:
    """A name with an address of each family, as localhost has on most machines."""
    if not _has_six():
        pytest.skip("this machine has no IPv6")
    original = socket.getaddrinfo

    def resolve(host: str | None, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        if host != "both.example":
            return original(host, port, *args, **kwargs)
        return [entry for address in (SIX, FOUR) for entry in original(address, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return "both.example"


@on_asyncio_s_own_loop
@pytest.mark.parametrize("listening", [(FOUR,), (SIX,), (FOUR, SIX)], ids=" and ".join)
async def test_a_name_with_an_address_of_each_family(both: str, listening: tuple[str, ...]) -> None:
    """Whichever of them the server listens on, it is reached, and by one connection that stays."""
    async with AsyncExitStack() as stack:
        port = 0
        for address in listening:
            serves = serving(sends(SIZED + b"ninebytes"), host=address, port=port)
            port = httpx.URL(await stack.enter_async_context(serves)).port or 0
        async with client() as http:
            assert (await http.get(f"http://{both}:{port}/")).content == b"ninebytes"


@on_asyncio_s_own_loop
async def test_an_address_that_does_not_answer_does_not_hold_up_the_other(
    both: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 8305: the second address is tried beside the first."""
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect

    async def sock_connect(sock: socket.socket, address: Any) -> None:
        if sock.family == socket.AF_INET6:
            await asyncio.Event().wait()
        await connect(sock, address)

    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    async with serving(sends(SIZED + b"ninebytes"), host=FOUR) as url, client() as http:
        assert (await http.get(url.replace(FOUR, both))).content == b"ninebytes"
