"""
Retrieves that end with their process, or that see another: Ctrl-C, fork, a second event loop.

A child process each, where the test runner's own would be hit.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest

from .driver import client, nothing_left
from .server import FaultServer, good
from .test_lifetimes import half_and_hold
from .wire import Study

STUDY = Study.of(series=3, per_series=5)

_CHILD = """
import asyncio, os, signal, sys, threading, time
from asyncrad69 import AsyncRad69, Rad69
url, references = sys.argv[1], [tuple(uids.split("/")) for uids in sys.argv[2:]]

def clean():
    # anyio's worker threads are told to stop when the event loop ends, and stop a moment later.
    deadline = time.monotonic() + 10
    while threading.active_count() > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    files = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    sockets = [file for file in files if os.path.exists(file) and "socket" in os.readlink(file)]
    assert threading.active_count() == 1, threading.enumerate()
    assert not sockets, sockets
    print("clean", flush=True)
"""

_SYNC = """
try:
    with Rad69(url, repository_unique_id="1.2.3") as rad69:
        for dataset in rad69.datasets(references):
            print("first", flush=True)
    print("went on", flush=True)
except KeyboardInterrupt:
    clean()
"""

_ASYNC = """
async def main():
    async with AsyncRad69(url, repository_unique_id="1.2.3") as rad69:
        async for dataset in rad69.datasets(references):
            print("first", flush=True)
    print("went on", flush=True)

try:
    asyncio.run(main())
except KeyboardInterrupt:
    clean()
"""

_FORK = """
with Rad69(url, repository_unique_id="1.2.3") as rad69:
    list(rad69.datasets(references))
    child = os.fork()
    if not child:
        signal.alarm(20)
        try:
            next(iter(rad69.datasets(references)))
        except RuntimeError as exc:
            assert "fork" in str(exc)
            rad69.close()
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    print(len(list(rad69.datasets(references))), flush=True)
clean()
"""

_ASYNC_FORK = """
async def main():
    async with AsyncRad69(url, repository_unique_id="1.2.3") as rad69:
        first = [each async for each in rad69.instances(references)]
        child = os.fork()
        if not child:
            signal.alarm(20)
            try:
                asyncio.run(use(rad69))
            except RuntimeError as exc:
                os._exit(0 if "another event loop" in str(exc) else 2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        print(len([each async for each in rad69.instances(references)]), flush=True)

async def use(rad69):
    await anext(rad69.instances(references))

asyncio.run(main())
clean()
"""

posix = pytest.mark.skipif(not hasattr(os, "fork") or not os.path.isdir("/proc/self/fd"), reason="needs Linux")  # noqa: PTH112


def _child(server: FaultServer, script: str) -> subprocess.Popen[str]:
    references = ["/".join(uids) for uids in STUDY.references]
    return subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _CHILD + script, server.url, *references],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@posix
@pytest.mark.parametrize("script", [_SYNC, _ASYNC], ids=["blocking", "asyncio"])
def test_interrupt_leaves_nothing(script: str) -> None:
    """Ctrl-C while waiting for the source: KeyboardInterrupt at once, no thread, no socket, no code after the loop."""
    with FaultServer(STUDY, half_and_hold) as server, _child(server, script) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "first\n"
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    assert child.returncode == 0, err
    assert out.endswith("clean\n")
    assert "went on" not in out
    assert not err


@posix
@pytest.mark.parametrize("script", [_FORK, _ASYNC_FORK], ids=["blocking", "asyncio"])
def test_fork_does_not_hang(script: str) -> None:
    """A child that inherits an open client is told so at once; the parent's goes on to work."""
    with FaultServer(STUDY, good) as server, _child(server, script) as child:
        out, err = child.communicate(timeout=60)
    assert (out, child.returncode) == (f"{len(STUDY.references)}\nclean\n", 0), err


def test_client_belongs_to_the_loop_it_was_opened_in() -> None:
    """Used from another event loop it says what is wrong, instead of failing somewhere inside."""
    opened, used = threading.Event(), threading.Event()

    async def keep_open() -> None:
        async with rad69:
            opened.set()
            await asyncio.to_thread(used.wait)

    async def use() -> None:
        await anext(rad69.instances(STUDY.references))

    with nothing_left(), FaultServer(STUDY, good) as server:
        rad69 = client(server)
        thread = threading.Thread(target=asyncio.run, args=(keep_open(),))
        thread.start()
        try:
            opened.wait(30)
            with pytest.raises(RuntimeError, match="another event loop"):
                asyncio.run(use())
        finally:
            used.set()
            thread.join()
