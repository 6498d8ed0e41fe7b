"""Threads for what blocks, beside those that everybody else's code has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# As many as anyio has for all.
_THREADS: Final = 40
_limiter: Final[RunVar[CapacityLimiter]] = RunVar("asyncrad69 threads")


async def in_thread(function: Callable[[], T], *, abandon_on_cancel: bool = False) -> T:
    """
    The result of *function*, called in another thread.

    A service may wait for us in all the threads that its event loop has by default, each for an instance of its own.
    """
    limiter = _limiter.get(None)
    if limiter is None:
        limiter = CapacityLimiter(_THREADS)
        _limiter.set(limiter)
    return await to_thread.run_sync(function, limiter=limiter, abandon_on_cancel=abandon_on_cancel)
