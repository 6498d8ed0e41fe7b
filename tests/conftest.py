"""What holds for every test: nothing goes out to the network, and no thread of ours stays behind."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


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
