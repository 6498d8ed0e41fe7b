"""From the tasks that bring to the one that takes, without a buffer."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from anyio import EndOfStream, Event

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Handover(Generic[T]):
    """
    Whoever gives goes on when its item is taken, or at once if somebody waits for one.

    Unlike a memory object stream of size 0 it lets the event loop turn only where there is something to wait for, and
    no item is lost to a taker that is cancelled: whoever asks next has it.

    Args:
        untaken: Called with each item that nobody took.
    """

    def __init__(self, untaken: Callable[[T], None]) -> None:
        self._untaken = untaken
        self._offers: deque[_Offer[T]] = deque()
        self._takers: deque[_Taker[T]] = deque()
        self._closed = False
        self._abandoned = False

    async def give(self, item: T) -> None:
        """Hand *item* over."""
        if self._takers:
            self._takers.popleft().give(item)
            return
        offer = _Offer(item)
        self._offers.append(offer)
        try:
            await offer.taken.wait()
        finally:
            if not offer.taken.is_set():
                self._offers.remove(offer)
                self._untaken(item)

    async def take(self) -> T:
        """
        The next item.

        Raises:
            EndOfStream: There will be none.
        """
        if self._offers:
            offer = self._offers.popleft()
            offer.taken.set()
            return offer.item
        if self._closed:
            raise EndOfStream
        taker: _Taker[T] = _Taker()
        self._takers.append(taker)
        try:
            await taker.woken.wait()
        except BaseException:
            if taker in self._takers:
                self._takers.remove(taker)
            # Given in the same turn of the event loop in which the wait for it was cancelled.
            for item in taker.given:
                self._offer_again(item)
            raise
        for item in taker.given:
            return item
        raise EndOfStream

    def close(self) -> None:
        """Nothing more is given: no task waits in `give` any more."""
        self._closed = True
        for taker in self._takers:
            taker.woken.set()
        self._takers.clear()

    def abandon(self) -> None:
        """Nothing more is taken either."""
        self._abandoned = True
        while self._offers:
            offer = self._offers.popleft()
            offer.taken.set()
            self._untaken(offer.item)

    def _offer_again(self, item: T) -> None:
        if self._abandoned:
            self._untaken(item)
        elif self._takers:
            self._takers.popleft().give(item)
        else:
            self._offers.appendleft(_Offer(item))


class _Offer(Generic[T]):
    def __init__(self, item: T) -> None:
        self.item = item
        self.taken = Event()


class _Taker(Generic[T]):
    def __init__(self) -> None:
        self.woken = Event()
        self.given: list[T] = []

    def give(self, item: T) -> None:
        self.given.append(item)
        self.woken.set()
