"""An ASGI application on a socket, in a thread of its own. The only room that knows uvicorn."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

try:
    import uvicorn
except ImportError as exc:
    raise ImportError('SimulatedSource needs uvicorn: pip install "asyncrad69[server]"') from exc

# An idle connection is kept for so long, in seconds. Tests do not pause, and a stale one costs nothing.
_KEEP_ALIVE_S: Final = 5


class ServerThread:
    """
    Answers requests from the moment ``start`` returns until ``stop`` does.

    The thread has its own event loop: a caller that blocks its loop, or has none, is answered all the same.

    Args:
        app: The ASGI application.
        listener: A bound socket. It is closed at the end.
        ssl_context: TLS, if connections are secured.
    """

    def __init__(
        self, app: Callable[..., Any], listener: socket.socket, *, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        config = _config(self._with_hang_up)
        config.load()
        # uvicorn itself takes files only.
        config.ssl = ssl_context
        self._server = _Server(config)
        self._app = app
        self._listener = listener
        # Daemonic: a source that nobody stopped must not keep the interpreter from ending.
        self._thread = threading.Thread(target=self._run, name="asyncrad69-simulated-source", daemon=True)

    def start(self) -> None:
        """Return when requests are answered."""
        self._thread.start()
        self._server.running.result()

    def stop(self) -> None:
        """Cut what is in flight and return when all is closed."""
        self._server.running.result()()
        self._thread.join()

    async def _with_hang_up(self, scope: dict[str, Any], *channels: Any) -> None:
        """ASGI has no word for what a broken server does: the scope gets one."""
        await self._app({**scope, "hang_up": partial(self._server.hang_up, scope["client"])}, *channels)

    def _run(self) -> None:
        try:
            asyncio.run(self._server.serve(sockets=[self._listener]))
        finally:
            self._listener.close()
            if not self._server.running.done():
                self._server.running.set_exception(RuntimeError("the server did not start"))


def _config(app: Callable[..., Any]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        interface="asgi3",
        lifespan="off",
        ws="none",
        # Logging belongs to the process we are a guest in; access_log=False would silence its own uvicorn.
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )


class _Server(uvicorn.Server):
    """
    uvicorn's server, stopped from another thread and at once.

    uvicorn itself looks ten times a second whether it should stop, and then waits for what is in flight.

    Attributes:
        running: Has a result once requests are answered; calling that, in any thread, stops the server.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        config.http_protocol_class = self._unless_stopped(config.http_protocol_class)
        self.running: Future[Callable[[], object]] = Future()
        self._stopped = False

    async def main_loop(self) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        self.running.set_result(partial(loop.call_soon_threadsafe, stopping.set))
        await stopping.wait()

    def hang_up(self, client: tuple[str, int], *, reset: bool) -> None:
        """Close the connection of *client* below HTTP, after what was sent or with a TCP reset."""
        for connection in list(self.server_state.connections):
            transport = connection.transport
            if transport.get_extra_info("peername")[:2] != client:
                continue
            if reset:
                # Linger for no time: what TCP has not sent is dropped, and the peer is told with RST.
                linger = struct.pack("ii", 1, 0)
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                transport.abort()
            else:
                transport.close()

    def _unless_stopped(self, protocol: Any) -> Any:
        """*protocol*, and a connection that is made too late is cut: nobody would answer, and its client would wait."""
        server = self

        class Connection(protocol):  # type: ignore[misc]
            def connection_made(self, transport: asyncio.Transport) -> None:
                super().connection_made(transport)
                if server._stopped:
                    transport.abort()

        return Connection

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Nobody is accepted any more, and who was gets a transport: with a closed server, asyncio forgets them, open.
        with suppress(NotImplementedError):  # the loop of Windows
            for listener in sockets or ():
                asyncio.get_running_loop().remove_reader(listener)
        await asyncio.sleep(0)
        self._stopped = True
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        # Each sees its client gone and ends; cancelled, it would be logged as a failure.
        if tasks := list(self.server_state.tasks):
            await asyncio.wait(tasks)
