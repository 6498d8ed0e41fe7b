"""Retrieves and what became of them, and a look at what they left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from asyncrad69 import AsyncRad69, IncompleteRetrieveError, Rad69Error, Report, Retry
from certificates import served, trusting

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator

    from .server import FaultServer
    from .wire import Study

#: How much of each test to run: a slice within a minute or so, or all there is.
FULL = os.environ.get("RAD69_TEST_SCALE") == "full"

#: Repetitions without waits: tests are about what is asked for again, not when.
AT_ONCE = Retry(attempts=3, wait_initial_s=0, wait_max_s=0)
ONCE = Retry(attempts=1)

BACKENDS = ("asyncio", "trio")

# The loop closes a socket, and ends a generator of the HTTP library that was left early, in its next passes.
_PASSES = 5


#: What all checks of this run have seen, and lines for its end.
FIGURES: Counter[str] = Counter()
SUMMARIES: list[str] = []


@cache
def server_context() -> ssl.SSLContext:
    """TLS for ``localhost``."""
    return served()


@cache
def client_context() -> ssl.SSLContext:
    """TLS that trusts `server_context`."""
    return trusting()


# Worker threads that a backend keeps for the next one who needs a thread.
_IDLE_THREADS = ("AnyIO worker", "Trio thread")


def client(server: FaultServer, **options: Any) -> AsyncRad69:
    """A client of *server*."""
    options.setdefault("retry", AT_ONCE)
    return AsyncRad69(server.url, repository_unique_id="1.2.3", ssl_context=client_context(), **options)


@dataclass(frozen=True)
class Outcome:
    """
    What a caller saw of one retrieve.

    Attributes:
        delivered: SOP Instance UID and bytes of each instance, in order.
        error: What the loop raised.
        report: The report.
        went_on: Whether the code after the loop ran.
    """

    delivered: list[tuple[str, bytes]]
    error: Rad69Error | None
    report: Report
    went_on: bool

    @property
    def uids(self) -> set[str]:
        """What was delivered."""
        return {uid for uid, _ in self.delivered}

    def check(self, study: Study, expected: Iterable[str]) -> None:
        """P1-P5: each asked instance in one column; delivered exactly once, byte for byte, and nothing else."""
        FIGURES.update(retrieves=1, asked=len(study.references), instances=len(self.delivered), wrong=1)
        assert len(self.uids) == len(self.delivered), "an instance was delivered twice"
        for uid, data in self.delivered:
            assert data == study.instances[uid], f"{uid} was delivered with other bytes"
        assert self.uids == set(expected)
        assert {row.reference.sop_instance_uid for row in self.report.delivered} == self.uids
        columns = (self.report.delivered, self.report.refused, self.report.missing)
        assert sum(map(len, columns)) == len(self.report.rows) == len(study.references)
        assert self.report.complete == (self.uids == set(study.instances))
        assert self.went_on == (self.error is None) == self.report.complete, "an incomplete retrieve ended as if whole"
        FIGURES["wrong"] -= 1

    def reasons(self) -> list[Rad69Error | None]:
        """Why each instance that did not come did not come."""
        if self.error is not None and not isinstance(self.error, IncompleteRetrieveError):
            return [self.error]
        return [row.error for row in self.report.rows if row.state != "delivered"]


async def retrieve(rad69: AsyncRad69, study: Study, **options: Any) -> Outcome:
    """Ask for all of *study*."""
    delivered: list[tuple[str, bytes]] = []
    error: Rad69Error | None = None
    went_on = False
    retrieval = rad69.retrieve(study.references, **options)
    try:
        async with retrieval:
            async for instance in retrieval:
                delivered.append((instance.reference.sop_instance_uid, instance.data))  # noqa: PERF401 - kept on failure
            went_on = True
    except Rad69Error as exc:
        error = exc
    assert error is None or error.report is not None
    return Outcome(delivered, error, retrieval.report, went_on)


def retrieve_once(server: FaultServer, *, backend: str = "asyncio", **options: Any) -> Outcome:
    """Open a client, ask for all that *server* has, and look whether anything is left behind."""

    async def main() -> Outcome:
        async with client(server, **options) as rad69:
            outcome = await retrieve(rad69, server.study)
        if backend == "asyncio":
            await _check_tasks()
        return outcome

    return anyio.run(main, backend=backend)


async def _check_tasks() -> None:
    for _ in range(_PASSES):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks are left: {left}"


@contextmanager
def nothing_left() -> Iterator[None]:
    """Everything that was opened inside is closed at the end: sockets, files, threads; nothing waits for a warning."""
    before = open_files()
    threads = set(threading.enumerate())
    gc.freeze()  # what the test runner holds need not be walked: it takes most of a collection's time
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()
    assert open_files() <= before, "a socket or a file is left"
    left = [each for each in set(threading.enumerate()) - threads if not each.name.startswith(_IDLE_THREADS)]
    assert not left, f"threads are left: {left}"


def open_files() -> int:
    """How many file descriptors this process has; 0 where that cannot be told."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0
