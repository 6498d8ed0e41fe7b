"""Ctrl-C and SIGTERM, as a call on the event loop: what a KeyboardInterrupt would tear apart ends in good order."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: A person's, and a scheduler's or a container's.
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interrupts(first: Callable[[], object], later: Callable[[], object]) -> Iterator[None]:
    """Call *first* on the event loop at the first signal, and *later* at each later one."""
    loop = asyncio.get_running_loop()
    calls = [later, first]

    def note(*_: object) -> None:
        loop.call_soon_threadsafe(calls.pop() if len(calls) > 1 else later)

    with _handled_by(note):
        yield


@contextmanager
def no_interrupts() -> Iterator[None]:
    """A signal does nothing: what says that there was one is not interrupted by the next."""
    with _handled_by(lambda *_: None):
        yield


@contextmanager
def _handled_by(handler: Callable[..., object]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
