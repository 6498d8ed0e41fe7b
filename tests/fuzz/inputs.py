"""
Inputs made of the words of a format, and of damaged examples of it.

Random bytes hardly ever get past a parser's first line; pieces that mean something to it, in an order that does not,
reach everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence


@dataclass(frozen=True)
class Grammar:
    """
    What inputs of one kind are made of.

    Attributes:
        words: Pieces that mean something.
        seeds: Whole inputs that are right.
    """

    words: Sequence[bytes]
    seeds: Sequence[bytes]

    def input(self, chance: random.Random) -> bytes:
        """Another input."""
        if not self.seeds or chance.random() < 0.4:
            return b"".join(chance.choice(self.words) for _ in range(chance.randint(1, 24)))
        data = bytearray(chance.choice(self.seeds))
        for _ in range(chance.randint(1, 6)):
            self._damage(data, chance)
        return bytes(data)

    def _damage(self, data: bytearray, chance: random.Random) -> None:
        start = chance.randint(0, len(data))
        end = min(len(data), start + chance.choice((1, 2, 4, 16, 200)))
        kind = chance.randrange(6)
        if kind == 0:
            data[start:start] = chance.choice(self.words)
        elif kind == 1:
            del data[start:end]
        elif kind == 2:
            del data[start:]
        elif kind == 3:
            data[start:start] = data[start:end] * chance.choice((1, 2, 50))
        elif kind == 4:
            data[start:end] = chance.randbytes(end - start)
        else:
            data[start:end] = chance.choice(self.words)


def pieces(data: bytes, chance: random.Random) -> list[bytes]:
    """The same bytes, cut at random."""
    cuts = sorted(chance.choices(range(len(data) + 1), k=chance.randint(0, 8)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
