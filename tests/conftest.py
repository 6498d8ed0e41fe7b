"""What holds for every test: nothing goes out to the network, blocks an event loop, or stays behind."""

from __future__ import annotations

import ipaddress
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from blockbuster import blockbuster_ctx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def pytest_configure(config: pytest.Config) -> None:
    """The package's own fixtures, also where it is on the path and not installed."""
    config.pluginmanager.import_plugin("pytest_asyncrad69")
    # A shell's background jobs ignore Ctrl-C, and so would the processes that tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to anywhere but this machine fails the test that makes it."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def checked(address: Any) -> Any:
        if isinstance(address, tuple):
            host = str(address[0]).partition("%")[0]
            assert host == "localhost" or ipaddress.ip_address(host).is_loopback, "a test reaches for the network"
        return address

    monkeypatch.setattr(socket.socket, "connect", lambda self, address: connect(self, checked(address)))
    monkeypatch.setattr(socket.socket, "connect_ex", lambda self, address: connect_ex(self, checked(address)))


@pytest.fixture(autouse=True)
def _nothing_blocks() -> Iterator[None]:
    """A call of ours that blocks an asyncio event loop raises. The simulated source and the commands may."""
    with blockbuster_ctx("asyncrad69", excluded_modules=["asyncrad69.testing", "asyncrad69.cli"]) as guard:
        # A finalizer runs where the garbage collector does; it closes one file.
        guard.functions["os.unlink"].can_block_in("asyncrad69/_content.py", "_dispose")
        # To block, also inside a running loop, is what the blocking client is for.
        guard.functions["threading.Lock.acquire"].can_block_in("asyncrad69/_blocking.py", {"__init__", "call", "stop"})
        # The measuring of coverage, where it is on.
        guard.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", "lock_data")
        yield


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    """A client's thread ends with its client."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while left := [each for each in threading.enumerate() if each not in before and each.name.startswith("asyncrad69")]:
        # Threads of a session-wide source stay; those of a client must be gone, at the latest a moment later.
        left = [each for each in left if "source" not in each.name]
        if not left:
            break
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _no_task_stays(request: pytest.FixtureRequest) -> None:
    """A client's tasks end with their client."""
    if "anyio_backend" in request.fixturenames:
        request.getfixturevalue("_tasks_of_the_loop")


@pytest.fixture
async def _tasks_of_the_loop(anyio_backend: Any) -> AsyncIterator[None]:
    yield
    left = [task.name for task in anyio.get_running_tasks() if (task.name or "").startswith("asyncrad69")]
    assert not left, f"left behind: {left}"
