"""
What the instances of one series have in common: most of their elements, byte for byte and in the same order.

The second is learnt. What the next ones have like it is then recognised by one comparison for many elements, and what
was made of them is theirs too. An element that differs somewhere is read on its own from then on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._elements import Bytes

# What an element begins with, its tag and its VR if that is explicit; where it begins and ends; and its tag and its
# value, where the walk looks for it.
Mark: TypeAlias = "tuple[bytes, int, int, tuple[int, bytes] | None]"

# Large ones are rarely alike, and a source may send any number of small ones: bytes of one element, and of all.
_LARGEST: Final = 1024
_MOST: Final = 256 * 1024


class Run:
    """
    Elements that follow each other.

    Args:
        data: They, with what is around them.
        marks: Where each of them was in the file that they were learnt from.
        start: Where *data* began there.

    Attributes:
        data: They.
        marks: See above.
        start: Where they began.
        found: The values that the walk looks for, by tag.
    """

    __slots__ = ("data", "found", "marks", "start")

    def __init__(self, data: Bytes, marks: Sequence[Mark], start: int = 0) -> None:
        self.marks = marks
        self.start = marks[0][1]
        self.data = data[self.start - start : marks[-1][2] - start]
        self.found = dict([mark[3] for mark in marks if mark[3]])

    def part(self, marks: Sequence[Mark]) -> Run:
        """The elements that *marks*, which are some of ours, tell."""
        return Run(self.data, marks, self.start)


class Runs:
    """What is known of elements of one encoding. Any thread may look, and learn."""

    def __init__(self) -> None:
        # By the head of their first element; None for an element to be read on its own.
        self._known: dict[bytes, Run | None] = {}
        self._left = _MOST

    def at(self, data: Bytes, position: int, head: bytes) -> Run | None:
        """The run at *position*, where there is an element with *head*; ``None`` to read that one on its own."""
        run = self._known.get(head)
        while run is not None and data[position : position + len(run.data)] != run.data:
            run = self._split(run, data, position - run.start)
        return run

    def _split(self, run: Run, data: Bytes, shift: int) -> Run | None:
        """Take the first element that *data* has otherwise out of *run*; what is left before it."""
        count = next(
            count
            for count, (_, start, end, _) in enumerate(run.marks)
            if data[start + shift : end + shift] != run.data[start - run.start : end - run.start]
        )
        before, different, after = run.marks[:count], run.marks[count], run.marks[count + 1 :]
        rest = run.part(before) if before else None
        self._known[run.marks[0][0]] = rest
        self._known[different[0]] = None
        if after:
            self._known.setdefault(after[0][0], run.part(after))
        return rest

    def is_new(self, head: bytes) -> bool:
        """Whether nothing is known of elements with *head*."""
        return head not in self._known

    def add(self, run: Run) -> None:
        """Other instances may have *run*, too."""
        if self._has_room(len(run.data)):
            self._known.setdefault(run.marks[0][0], run)

    def alone(self, head: bytes) -> None:
        """Elements with *head* are always to be read on their own."""
        if self._has_room(len(head)):
            self._known.setdefault(head, None)

    def _has_room(self, size: int) -> bool:
        self._left -= size
        return self._left >= 0


class Notes:
    """
    What a walk reads of *data* element by element, on its way to what is known.

    Args:
        data: A file.
        runs: Where it becomes known.
    """

    def __init__(self, data: Bytes, runs: Runs) -> None:
        self._data = data
        self._runs = runs
        self._marks: list[Mark] = []
        self._end = 0

    def add(self, head: bytes, start: int, end: int, wanted: tuple[int, bytes] | None = None) -> None:
        """There is an element from *start* to *end*, of which nothing is known."""
        if end - start > _LARGEST:
            self._runs.alone(head)
            return
        if start != self._end:
            self.close()
        self._marks.append((head, start, end, wanted))
        self._end = end

    def close(self) -> None:
        """What follows is not noted."""
        if self._marks:
            self._runs.add(Run(self._data, self._marks))
            self._marks = []


class Likeness:
    """
    What is known of the elements of one series' instances.

    Attributes:
        explicit: Of those in explicit VR little endian, and of the file meta information.
        implicit: Of those in implicit VR little endian.
        big: Of those in explicit VR big endian.
        has_seen_one: Whether there was an instance already.
    """

    def __init__(self) -> None:
        self.has_seen_one = False
        self.explicit = Runs()
        self.implicit = Runs()
        self.big = Runs()
