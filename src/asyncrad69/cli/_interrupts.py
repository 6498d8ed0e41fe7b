"""Ctrl-C, as a call on the event loop: what a KeyboardInterrupt would tear apart there ends in good order."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def interrupts(
    first: Callable[[], object], later: Callable[[], object], *, numbers: tuple[signal.Signals, ...] = (signal.SIGINT,)
) -> Iterator[None]:
    """Call *first* on the event loop at the first signal with one of *numbers*, and *later* at each later one."""
    loop = asyncio.get_running_loop()
    calls = [later, first]

    def note(*_: object) -> None:
        loop.call_soon_threadsafe(calls.pop() if len(calls) > 1 else later)

    with _handled_by(note, numbers):
        yield


@contextmanager
def no_interrupts() -> Iterator[None]:
    """Ctrl-C does nothing: what says that there was one is not interrupted by the next."""
    with _handled_by(lambda *_: None, (signal.SIGINT,)):
        yield


@contextmanager
def _handled_by(handler: Callable[..., object], numbers: tuple[signal.Signals, ...]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
