"""Chaos with a seed: most answers are cut somewhere, or wrong in one of the catalogue's ways, as chance has it."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

from .catalogue import FAULTS
from .server import FRAMINGS, Ending, Exchange, good

if TYPE_CHECKING:
    from collections.abc import Callable

#: Of all answers, so many are abnormal.
ABNORMAL = 0.86

_ENDINGS: tuple[Ending, ...] = ("fin", "rst", "clean")

#: Faults worth repeating after. Those that end a retrieve at once have tests of their own, and those that only end
#: by a timeout are drawn less often, since they cost its time.
REPEATABLE = tuple(fault for fault in FAULTS if not fault.final and not fault.options)
SLOW = tuple(fault for fault in FAULTS if not fault.final and fault.name in {"stall-before-head", "stall-after-head"})


class Chaos:
    """
    A behaviour that draws what to do.

    Args:
        seed: Of its random numbers. Threads take turns at them, so a run is repeated in kind and not to the letter.

    Attributes:
        answers: How many there were.
        abnormal: How many of them were abnormal.
    """

    def __init__(self, seed: int) -> None:
        self.answers = 0
        self.abnormal = 0
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def __call__(self, exchange: Exchange) -> None:
        """Answer."""
        with self._lock:
            act = self._draw()
        act(exchange)

    def _draw(self) -> Callable[[Exchange], None]:
        self.answers += 1
        if self._random.random() >= ABNORMAL:
            return good
        self.abnormal += 1
        kind = self._random.random()
        if kind < 0.45:
            return self._cut()
        fault = self._random.choice(SLOW if kind > 0.97 else REPEATABLE)
        framing = self._random.choice(fault.framings)
        return lambda exchange: fault.play(exchange, framing)

    def _cut(self) -> Callable[[Exchange], None]:
        share, ending = self._random.random(), self._random.choice(_ENDINGS)
        framing = self._random.choice(FRAMINGS)

        def play(exchange: Exchange) -> None:
            reply = exchange.reply()
            exchange.send(reply, framing, cut=int(len(reply.body) * share), ending=ending)

        return play
