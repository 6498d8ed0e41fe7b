"""A server in the test's own event loop, which sends exactly the bytes it is told to; and a client on our transport."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import httpx

from asyncrad69._transport import DirectTransport
from certificates import served, trusting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

#: What a server does once it has read the head of a request.
Answer: TypeAlias = "Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]"


@asynccontextmanager
async def serving(
    answer: Answer, context: ssl.SSLContext | None = None, *, host: str = "localhost", port: int = 0
) -> AsyncIterator[str]:
    """A server that reads one head and its body, answers, and closes; gives its URL."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(await reader.readuntil(b"\r\n\r\n"), writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = await asyncio.start_server(handle, host, port, ssl=context, family=family)
    async with server:
        shown = f"[{host}]" if ":" in host else host
        yield f"http{'s' if context else ''}://{shown}:{server.sockets[0].getsockname()[1]}/"


def sends(*pieces: bytes) -> Answer:
    """An answer in pieces, each sent on its own."""

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return answer


def client(
    context: ssl.SSLContext | None = None, proxy: str | None = None, timeout_s: float | None = None
) -> httpx.AsyncClient:
    transport = DirectTransport(ssl_context=context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), proxy=proxy)
    return httpx.AsyncClient(transport=transport, trust_env=False, timeout=timeout_s)


def tls(host: str = "localhost") -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for *host*, and a client's that trusts it."""
    return served(host), trusting()
