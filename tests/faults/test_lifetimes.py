"""
However a retrieve ends, nothing is left behind, and code that counts on it having succeeded does not run.

Ways to end x asyncio, trio, blocking; a cancellation at every step.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing, closing, suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asyncrad69 import AsyncRad69, IncompleteRetrieveError, Rad69, Retry

from .driver import BACKENDS, FULL, client, client_context, nothing_left, retrieve, server_context
from .server import Behaviour, Exchange, FaultServer, good
from .wire import Study

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator

    from asyncrad69 import Event

STUDY = Study.of(series=3, per_series=5)


def half_and_hold(exchange: Exchange) -> None:
    """Two and a half instances, then nothing: whoever waits, waits until it leaves."""
    reply = exchange.reply()
    exchange.send(reply, "chunked", cut=reply.position("data 3", 0.5), ending="stall")


def half_and_reset(exchange: Exchange) -> None:
    """Half of the reply, then the source is gone; each time."""
    reply = exchange.reply()
    exchange.send(reply, "chunked", cut=len(reply.body) // 2, ending="rst")


class Mine(Exception):
    """What the caller's own code raises."""


def bug(_: Event) -> None:
    """A callback that is broken: what it raises arrives as it is."""
    raise Mine


# --- async ---------------------------------------------------------------------------------------------

Steps = list[str]


async def drain(rad69: AsyncRad69, steps: Steps) -> None:
    async for _ in rad69.instances(STUDY.references):
        steps.append("instance")
    steps.append("went on")


async def leave(rad69: AsyncRad69, steps: Steps) -> None:
    async with aclosing(rad69.instances(STUDY.references)) as instances:
        async for _ in instances:
            break
    steps.append("left")
    await anyio.sleep(0.01)  # what the generator left behind must not hit the caller's next await


async def leave_retrieval(rad69: AsyncRad69, steps: Steps) -> None:
    async with rad69.retrieve(STUDY.references) as retrieval:
        async for _ in retrieval:
            break
    assert not retrieval.report.complete
    steps.append("left")


async def raise_inside(rad69: AsyncRad69, steps: Steps) -> None:
    async with aclosing(rad69.instances(STUDY.references)) as instances:
        async for _ in instances:
            raise Mine
    steps.append("went on")


async def time_out(rad69: AsyncRad69, steps: Steps) -> None:
    with anyio.fail_after(0.15):
        async with aclosing(rad69.instances(STUDY.references)) as instances:
            async for _ in instances:
                steps.append("instance")
    steps.append("went on")


async def cancel(rad69: AsyncRad69, steps: Steps) -> None:
    with anyio.CancelScope() as scope:
        async with aclosing(rad69.instances(STUDY.references)) as instances:
            async for _ in instances:
                scope.cancel()
        steps.append("went on")


async def cancel_from_outside(rad69: AsyncRad69, steps: Steps) -> None:
    started = anyio.Event()

    async def consume() -> None:
        async with aclosing(rad69.datasets(STUDY.references)) as datasets:
            async for _ in datasets:
                started.set()
        steps.append("went on")

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        await started.wait()
        group.cancel_scope.cancel()


async def close_while_streaming(rad69: AsyncRad69, steps: Steps) -> None:
    async with aclosing(rad69.instances(STUDY.references)) as instances:
        async for _ in instances:
            await rad69.aclose()
    steps.append("went on")


async def never_start(rad69: AsyncRad69, steps: Steps) -> None:
    rad69.instances(STUDY.references)
    async with rad69.retrieve(STUDY.references):
        pass
    steps.append("left")


async def callback_bug(rad69: AsyncRad69, steps: Steps) -> None:
    await drain_quietly(rad69, steps, on_event=bug)


async def drain_quietly(rad69: AsyncRad69, steps: Steps, **options: Any) -> None:
    async with rad69.retrieve(STUDY.references, **options) as retrieval:
        async for _ in retrieval:
            pass
        steps.append("went on")


Ending = Callable[[AsyncRad69, Steps], Awaitable[None]]

#: What the caller does, what the source does, what the caller's code gets, and whether it goes on after the loop.
ENDINGS: tuple[tuple[Ending, Behaviour, type[BaseException] | None, bool], ...] = (
    (drain, good, None, True),
    (leave, half_and_hold, None, False),
    (leave_retrieval, half_and_hold, None, False),
    (raise_inside, half_and_hold, Mine, False),
    (time_out, half_and_hold, TimeoutError, False),
    (cancel, half_and_hold, None, False),
    (cancel_from_outside, half_and_hold, None, False),
    (close_while_streaming, half_and_hold, RuntimeError, False),
    (never_start, good, None, False),
    (callback_bug, good, Mine, False),
    (drain, half_and_reset, IncompleteRetrieveError, False),
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("ending", "behaviour", "error", "goes_on"),
    [pytest.param(*each, id=f"{each[0].__name__}-{each[1].__name__}") for each in ENDINGS],
)
def test_async_retrieve_ends_without_a_trace(
    ending: Ending, behaviour: Behaviour, error: type[BaseException] | None, goes_on: bool, backend: str
) -> None:
    """However it ends: no task, socket, file or warning; the caller's own error unwrapped; no code after a failure."""
    steps: Steps = []

    async def main() -> None:
        async with client(server, retry=Retry(attempts=2, wait_initial_s=0, wait_max_s=0)) as rad69:
            await ending(rad69, steps)

    with nothing_left(), FaultServer(STUDY, behaviour) as server:
        if error is None:
            anyio.run(main, backend=backend)
        else:
            with pytest.raises(error):
                anyio.run(main, backend=backend)
    assert ("went on" in steps) == goes_on


def test_forgotten_generator_ends_with_the_garbage() -> None:
    """A generator that is dropped half way ends its exchanges when it is collected, while the client lives on."""

    async def main() -> None:
        async with client(server, concurrency=3) as rad69:
            instances = rad69.instances(STUDY.references)
            await anext(instances)
            del instances
            gc.collect()
            async with asyncio.timeout(30):
                while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - the tasks are not ours to be told by
                    await asyncio.sleep(0)
            server.behaviour = good
            (await retrieve(rad69, STUDY)).check(STUDY, STUDY.instances)

    with nothing_left(), FaultServer(STUDY, half_and_hold) as server:
        asyncio.run(main())


def _connecting_for_ever(connected: threading.Event) -> FaultServer:
    """A server with TLS that does not say its first word of it."""

    def hold(connection: socket.socket) -> None:
        connected.set()
        with suppress(OSError):
            while connection.recv(4096):
                pass

    return FaultServer(STUDY, good, ssl_context=server_context(), greeting=hold)


def test_closing_while_connecting() -> None:
    """A client that is closed before its first connection is made: whoever waits is told, and nothing is left."""
    connected = threading.Event()

    async def main() -> None:
        async with anyio.create_task_group() as group, client(server) as rad69:
            group.start_soon(consume, rad69)
            await anyio.to_thread.run_sync(connected.wait)

    async def consume(rad69: AsyncRad69) -> None:
        with pytest.raises(RuntimeError, match="its client was closed"):
            await anext(rad69.instances(STUDY.references))

    # On trio the garbage collector closes a connection that was cancelled in its handshake.
    with nothing_left(), _connecting_for_ever(connected) as server:
        anyio.run(main)


# --- a cancellation at every step ----------------------------------------------------------------------


class _Counted(Coroutine[Any, Any, Any]):
    """A coroutine that says when it is about to take a step; all else is the inner one's."""

    def __init__(self, inner: Coroutine[Any, Any, Any], tick: Callable[[], None]) -> None:
        self._inner = inner
        self._tick = tick

    def send(self, value: Any) -> Any:
        self._tick()
        return self._inner.send(value)

    def throw(self, *args: Any) -> Any:
        self._tick()
        return self._inner.throw(*args)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Clock:
    """Counts the steps of all tasks of a loop, and cancels one task before the step with a given number."""

    def __init__(self, cancel_at: int) -> None:
        self.steps = 0
        self._cancel_at = cancel_at
        self._victim: asyncio.Task[None] | None = None

    def watch(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(lambda _, inner, **named: asyncio.Task(_Counted(inner, self._tick), loop=loop, **named))
        self._victim = loop.create_task(coroutine)
        self._victim.add_done_callback(lambda _: loop.set_task_factory(None))
        return self._victim

    def _tick(self) -> None:
        self.steps += 1
        if self.steps == self._cancel_at and self._victim is not None:
            self._victim.cancel()


def test_cancellation_at_every_step_of_a_retrieve() -> None:
    """Cancelled before its k-th step, for each k: no task or socket is left, and the same client goes on to serve."""
    with nothing_left(), FaultServer(STUDY, good) as server:
        total = asyncio.run(_cancelled_at(server, 0))
        assert total > 50
        stride = 1 if FULL else 5
        for step in range(1, total, stride):
            asyncio.run(_cancelled_at(server, step))


async def _cancelled_at(server: FaultServer, step: int) -> int:
    got: list[tuple[str, bytes]] = []

    async def consume(rad69: AsyncRad69) -> None:
        async with aclosing(rad69.instances(STUDY.references)) as instances:
            async for instance in instances:
                got.append((instance.reference.sop_instance_uid, instance.data))  # noqa: PERF401 - kept on cancel

    clock = _Clock(step)
    async with client(server, concurrency=3) as rad69:
        task = clock.watch(consume(rad69))
        await asyncio.wait([task])
        assert task.cancelled() or (task.exception() is None and dict(got) == STUDY.instances)
        assert all(STUDY.instances[uid] == data for uid, data in got)
        assert len(dict(got)) == len(got)
        assert len(asyncio.all_tasks()) == 1, f"cancelled at step {step}: a task is left"
        if step % 10 == 1:
            (await retrieve(rad69, STUDY)).check(STUDY, STUDY.instances)
    return clock.steps


# --- blocking ------------------------------------------------------------------------------------------


def blocking_client(server: FaultServer, **options: Any) -> Rad69:
    return Rad69(
        server.url,
        repository_unique_id="1.2.3",
        ssl_context=client_context(),
        retry=Retry(attempts=2, wait_initial_s=0, wait_max_s=0),
        **options,
    )


def drain_blocking(rad69: Rad69, steps: Steps) -> None:
    for _ in rad69.datasets(STUDY.references):
        steps.append("instance")
    steps.append("went on")


def leave_blocking(rad69: Rad69, steps: Steps) -> None:
    for _ in rad69.datasets(STUDY.references):
        break
    steps.append("left")


def leave_retrieval_blocking(rad69: Rad69, steps: Steps) -> None:
    with rad69.retrieve(STUDY.references) as retrieval:
        for _ in retrieval:
            break
    assert not retrieval.report.complete
    steps.append("left")


def time_out_blocking(rad69: Rad69, steps: Steps) -> None:
    """As a handler of SIGALRM does it: the signal comes while the main thread waits for the source."""

    def give_up(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGUSR1, give_up)
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.15, signal.pthread_kill, (main, signal.SIGUSR1))
    timer.start()
    try:
        for _ in rad69.instances(STUDY.references):
            steps.append("instance")
        steps.append("went on")
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)


def never_start_blocking(rad69: Rad69, steps: Steps) -> None:
    rad69.instances(STUDY.references)
    with rad69.retrieve(STUDY.references):
        pass
    steps.append("left")


def raise_blocking(rad69: Rad69, steps: Steps) -> None:
    for _ in rad69.instances(STUDY.references):
        raise Mine
    steps.append("went on")


def close_blocking(rad69: Rad69, steps: Steps) -> None:
    with closing(rad69.instances(STUDY.references)) as instances:
        for _ in instances:
            rad69.close()
    steps.append("went on")


def close_blocking_from_another_thread(rad69: Rad69, steps: Steps) -> None:
    with closing(rad69.instances(STUDY.references)) as instances:
        next(instances)
        closer = threading.Timer(0.1, rad69.close)
        closer.start()
        try:
            for _ in instances:
                pass
        finally:
            closer.join()
    steps.append("went on")


def callback_bug_blocking(rad69: Rad69, steps: Steps) -> None:
    for _ in rad69.instances(STUDY.references, on_event=bug):
        pass
    steps.append("went on")


BlockingEnding = Callable[[Rad69, Steps], None]

BLOCKING_ENDINGS: tuple[tuple[BlockingEnding, Behaviour, type[BaseException] | None, bool], ...] = (
    (drain_blocking, good, None, True),
    (leave_blocking, half_and_hold, None, False),
    (leave_retrieval_blocking, half_and_hold, None, False),
    (time_out_blocking, half_and_hold, TimeoutError, False),
    (never_start_blocking, good, None, False),
    (raise_blocking, half_and_hold, Mine, False),
    (close_blocking, half_and_hold, RuntimeError, False),
    (close_blocking_from_another_thread, half_and_hold, RuntimeError, False),
    (callback_bug_blocking, good, Mine, False),
    (drain_blocking, half_and_reset, IncompleteRetrieveError, False),
)


@pytest.mark.parametrize(
    ("ending", "behaviour", "error", "goes_on"),
    [pytest.param(*each, id=f"{each[0].__name__}-{each[1].__name__}") for each in BLOCKING_ENDINGS],
)
def test_blocking_retrieve_ends_without_a_trace(
    ending: BlockingEnding, behaviour: Behaviour, error: type[BaseException] | None, goes_on: bool
) -> None:
    """The same for `Rad69`: its thread and its loop are gone too."""
    steps: Steps = []

    def main() -> None:
        with blocking_client(server) as rad69:
            ending(rad69, steps)

    with nothing_left(), FaultServer(STUDY, behaviour) as server:
        if error is None:
            main()
        else:
            with pytest.raises(error):
                main()
        gc.collect()
    assert ("went on" in steps) == goes_on


def test_forgotten_blocking_client_ends_with_the_garbage() -> None:
    """A `Rad69` that nobody closes says so, and its thread and sockets end with it."""
    with (
        nothing_left(),
        FaultServer(STUDY, half_and_hold) as server,
        pytest.warns(ResourceWarning, match="was not closed"),
    ):
        _forget(server)


def _forget(server: FaultServer) -> None:
    rad69 = blocking_client(server).__enter__()
    for _ in rad69.datasets(STUDY.references):
        break
    del rad69
    gc.collect()


def test_blocking_client_works_inside_a_running_loop() -> None:
    """In a notebook a loop runs already: `Rad69` does not care."""

    async def main() -> None:
        with blocking_client(server) as rad69:
            assert len(list(rad69.datasets(STUDY.references))) == len(STUDY.references)

    with nothing_left(), FaultServer(STUDY, good) as server:
        asyncio.run(main())


def test_blocking_client_is_shared_by_threads() -> None:
    """Several threads may use one client at once: each gets all it asked for, and none another's."""
    got: list[list[str]] = []

    def use() -> None:
        got.append([instance.reference.sop_instance_uid for instance in rad69.instances(STUDY.references)])

    with nothing_left(), FaultServer(STUDY, good) as server, blocking_client(server) as rad69:
        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [sorted(uids) for uids in got] == [sorted(STUDY.instances)] * 4


def test_blocking_client_closed_while_it_connects() -> None:
    """From another thread, before the first connection is made: whoever waits is told."""
    connected = threading.Event()

    def close() -> None:
        connected.wait()
        rad69.close()

    with nothing_left(), _connecting_for_ever(connected) as server:
        closer = threading.Thread(target=close)
        with blocking_client(server) as rad69:
            closer.start()
            with pytest.raises(RuntimeError, match="closed"):
                next(rad69.instances(STUDY.references))
        closer.join()
