"""The guards of conftest.py can fail: each catches a test that does what it forbids, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

BAD_TESTS = """
import socket, threading
import anyio, pytest
from asyncrad69._files import publish
from asyncrad69._journal import Journal

STOP = threading.Event()


@pytest.mark.anyio
async def test_good(tmp_path):
    await anyio.to_thread.run_sync(lambda: Journal(tmp_path).__exit__())


@pytest.mark.anyio
async def test_blocking_link(tmp_path):
    publish(str(tmp_path / "a"), tmp_path / "b", overwrite=True)


@pytest.mark.anyio
async def test_blocking_read(tmp_path):
    with Journal(tmp_path):
        pass


def test_thread():
    threading.Thread(target=STOP.wait, name="asyncrad69 x", daemon=True).start()


def test_thread_ends():
    STOP.set()


def test_foreign_connection():
    with socket.socket() as connection:
        connection.connect(("192.0.2.1", 80))


def test_foreign_connection_ex():
    with socket.socket() as connection:
        connection.connect_ex(("example.org", 80))


@pytest.mark.anyio
async def test_task():
    import asyncio
    globals()["kept"] = asyncio.create_task(asyncio.Event().wait(), name="asyncrad69 worker")
"""


@pytest.fixture
def failed(pytester: pytest.Pytester) -> set[str]:
    """The names of the tests that did not pass, under our guards, in a process of their own."""
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile(f"{BAD_TESTS}\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n")
    result = pytester.runpytest_subprocess("-q", "-rfE", "-p", "no:cacheprovider")
    lines = [line for line in result.outlines if line.startswith(("FAILED ", "ERROR "))]
    return {line.partition("::")[2].partition(" ")[0] for line in lines}


def test_each_guard_catches_its_own(failed: set[str]) -> None:
    """A blocking link and read of ours, a thread, a task, and connections by both calls; nothing else."""
    assert failed == {
        "test_blocking_link",
        "test_blocking_read",
        "test_thread",
        "test_foreign_connection",
        "test_foreign_connection_ex",
        "test_task",
    }
