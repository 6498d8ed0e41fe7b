"""Which faults fall on a request, decided from the seed alone; and what becomes of the outcome then. No network."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ._outcome import Document, Outcome, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._archive import Archive, StoredInstance
    from ._faults import Fault

_PREFIX: Final = slice(128, 132)  # "DICM", PS3.10 7.1


@dataclass(frozen=True, slots=True)
class Drawn:
    """
    The faults of one request.

    Args:
        faults: Each with the SOP Instance UIDs it falls on; what falls on the request has one of them.
    """

    faults: tuple[tuple[Fault, frozenset[str]], ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of the faults, in the order of the plan."""
        return tuple(fault.kind for fault, _ in self.faults)

    def of_kind(self, *kinds: str) -> Iterator[Fault]:
        """Those faults, in the order of the plan."""
        return (fault for fault, _ in self.faults if fault.kind in kinds)


class FaultPlan:
    """
    Draws the faults of each request.

    A draw depends on the seed, on the instances asked for, and on how often they were asked for before: not on which
    of two requests at once arrives first. ``nth`` and ``times`` do.

    Args:
        faults: The plan.
        seed: Another one draws others.
    """

    def __init__(self, faults: Sequence[Fault], *, seed: int) -> None:
        self._faults = faults
        self._seed = seed
        self._left = [fault.times for fault in faults]
        self._received = 0
        self._asked: Counter[str] = Counter()

    def drawn(self, uids: Sequence[str]) -> Drawn:
        """What falls on the next request, which asks for *uids*."""
        self._received += 1
        self._asked.update(uids)
        found = ((fault, self._hit(number, uids)) for number, fault in enumerate(self._faults))
        return Drawn(tuple((fault, hit) for fault, hit in found if hit))

    def _hit(self, number: int, uids: Sequence[str]) -> frozenset[str]:
        fault = self._faults[number]
        if fault.nth not in {None, self._received}:
            return frozenset()
        subjects = [uid for uid in uids if fault.sop_instance_uid in {None, uid}]
        return frozenset(
            uid for uid in (subjects if fault.of_an_instance else subjects[:1]) if self._falls(number, uid)
        )

    def _falls(self, number: int, uid: str) -> bool:
        left = self._left[number]
        if left == 0:
            return False
        chance = random.Random(f"{self._seed}/{number}/{uid}/{self._asked[uid]}").random()  # noqa: S311 - to be repeatable
        if chance >= self._faults[number].rate:
            return False
        if left is not None:
            self._left[number] = left - 1
        return True


def altered(outcome: Outcome, drawn: Drawn, archive: Archive) -> Outcome:
    """What is answered in place of *outcome*. A corrupt or short instance is read into memory here."""
    for fault, uids in drawn.faults:
        if fault.of_an_instance:
            documents = [each for document in outcome.documents for each in _become(document, fault, uids)]
            outcome = Outcome(tuple(documents), (*outcome.problems, *_problems(outcome, fault, uids)))
        elif fault.kind == "extra":
            outcome = Outcome((*outcome.documents, *_not_asked(outcome, archive)), outcome.problems)
    return outcome


def _become(document: Document, fault: Fault, uids: frozenset[str]) -> tuple[Document, ...]:
    """What is sent in place of a document."""
    if document.reference.sop_instance_uid not in uids:
        return (document,)
    if fault.kind == "duplicate":
        return document, replace(document)
    if fault.kind in {"corrupt", "short"}:
        return (replace(document, stored=_damaged(document.stored, fault)),)
    return ()


def _problems(outcome: Outcome, fault: Fault, uids: frozenset[str]) -> Iterator[Problem]:
    for document in outcome.documents:
        uid = document.reference.sop_instance_uid
        if fault.kind == "refused" and uid in uids:
            yield Problem(code=fault.code or "", context="refused by the fault plan", location=uid)


def _damaged(stored: StoredInstance, fault: Fault) -> StoredInstance:
    content = bytearray(b"".join(stored.pieces(stored.size_bytes)))
    if fault.kind == "corrupt":
        content[_PREFIX] = bytes(4)
    else:
        del content[len(content) // 2 :]
    return replace(stored, content=bytes(content), size_bytes=len(content))


def _not_asked(outcome: Outcome, archive: Archive) -> Iterator[Document]:
    asked = {document.reference.sop_instance_uid for document in outcome.documents}
    for stored in archive:
        if stored.reference.sop_instance_uid not in asked:
            yield Document(stored.reference, stored)
            return


def interrupted(chunks: Iterator[bytes], faults: Sequence[tuple[int, Fault]]) -> Iterator[bytes | Fault]:
    """The chunks of a body, split where a fault falls, which stands in between. Each comes with its byte."""
    pending = sorted(faults, key=lambda each: each[0])
    sent = 0
    for chunk in chunks:
        rest = chunk
        while pending and pending[0][0] <= sent + len(rest):
            byte, fault = pending.pop(0)
            if before := rest[: byte - sent]:
                yield before
            rest = rest[byte - sent :]
            sent = byte
            yield fault
        if rest:
            yield rest
            sent += len(rest)
