"""What instances of a series have in common: found, split where they differ, and bounded."""

from __future__ import annotations

import pytest

from asyncrad69 import _likeness
from asyncrad69._likeness import Notes, Runs

WORDS = b"aaAA", b"bbBB", b"ccCC", b"ddDD"


def noted(*elements: bytes, runs: Runs | None = None) -> Runs:
    """Runs after a walk through *elements*, whose first two bytes are their heads."""
    runs = Runs() if runs is None else runs
    data = b"".join(elements)
    notes, position = Notes(data, runs), 0
    for each in elements:
        if runs.is_new(each[:2]):
            wanted = (each[0], each[2:]) if each[2:3] == b"C" else None
            notes.add(each[:2], position, position + len(each), wanted)
        position += len(each)
    notes.close()
    return runs


def found(runs: Runs, data: bytes) -> list[bytes]:
    """What is found in *data*: runs, and elements of four bytes."""
    pieces, position = [], 0
    while position < len(data):
        run = runs.at(data, position, data[position : position + 2])
        pieces.append(run.data if run is not None else data[position : position + 4])
        position += len(pieces[-1])
    return pieces


def test_a_run_is_found_anywhere() -> None:
    """The positions of the same elements differ, where values before them do."""
    runs, data = noted(*WORDS), b"".join(WORDS)
    assert found(runs, data) == [data]
    assert found(runs, b"zz.." + data) == [b"zz..", data]
    run = runs.at(data, 0, b"aa")
    assert run is not None
    assert run.found == {ord("c"): b"CC"}


@pytest.mark.parametrize("different", range(4))
def test_a_run_splits_where_another_differs(different: int) -> None:
    """What is before and after the difference is still a run; the difference is read on its own, for good."""
    runs, other = noted(*WORDS), [*WORDS]
    other[different] = other[different][:2] + b"??"
    before, after = b"".join(WORDS[:different]), b"".join(WORDS[different + 1 :])
    for _ in range(2):
        assert found(runs, b"".join(other)) == [each for each in (before, other[different], after) if each]
    noted(*other, runs=runs)
    assert found(runs, b"".join(WORDS)) == [each for each in (before, WORDS[different], after) if each]
    assert [run.found for run in runs._known.values() if run] == [
        {ord("c"): b"CC"} if b"CC" in run.data else {} for run in runs._known.values() if run
    ]


def test_a_run_that_the_data_ends_in_is_none() -> None:
    """A file that was cut has not what follows."""
    for end in range(16):
        runs, data = noted(*WORDS), b"".join(WORDS)[:end]
        assert b"".join(found(runs, data)) == data


def test_elements_that_stand_alone() -> None:
    """Large ones, and those the walk says so of, are in no run; nor does a run go on behind them."""
    runs, large = Runs(), b"ll" + bytes(_likeness._LARGEST)
    noted(*WORDS[:2], large, *WORDS[2:], runs=runs)
    assert list(runs._known) == [b"ll", b"aa", b"cc"]
    runs = Runs()
    notes = Notes(b"".join(WORDS), runs)
    notes.add(b"aa", 0, 4)
    runs.alone(b"bb")
    notes.add(b"cc", 8, 12)
    notes.close()
    assert runs.at(b"bbBB", 0, b"bb") is None
    assert found(runs, b"".join(WORDS)) == [*WORDS]


def test_an_element_that_comes_later_is_learnt() -> None:
    """Not all instances have all elements."""
    runs = noted(WORDS[0], WORDS[2])
    noted(*WORDS, runs=runs)
    assert found(runs, b"".join(WORDS)) == [WORDS[0], b"".join(WORDS[1:])]


def test_it_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source may send any number of elements that never come again."""
    monkeypatch.setattr(_likeness, "_MOST", 64)
    runs = Runs()
    for number in range(100):
        noted(f"{number:02}".encode() + b"........", runs=runs)
        runs.alone(f"x{number:02}".encode())
    assert len(runs._known) < 64 // 3
