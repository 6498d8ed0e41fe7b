"""The ledger: an instance leaves pending once, into one column, and what is asked again is only what helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asyncrad69 import (
    ConnectionLost,
    InstanceReference,
    InvalidInstanceError,
    Options,
    ProtocolError,
    Rad69Error,
    RequestTooLarge,
    Retry,
    ServerBusy,
    XDSBusyError,
    XDSMissingDocumentError,
)
from asyncrad69._dicom import Facts
from asyncrad69._ledger import Ledger, Patience
from asyncrad69._plan import Request

if TYPE_CHECKING:
    from asyncrad69._options import RetrieveOptions

A, B, C = (InstanceReference("1.1", "1.2", f"1.3.{number}", repository_unique_id="1.9") for number in range(3))
ALL = Request((A, B, C))
Failed = list[tuple[InstanceReference, Rad69Error | None]]


def ledger(failed: Failed | None = None, **options: object) -> Ledger:
    """A ledger of three instances of one series."""
    given: RetrieveOptions = options  # type: ignore[assignment]
    told: Failed = [] if failed is None else failed
    return Ledger(ALL.references, Options(**given), on_failed=lambda *each: told.append(each))


def states(it: Ledger) -> list[str]:
    """Every instance's column, in the order asked."""
    return [row.state for row in it.report(0.0).rows]


def test_a_good_answer_that_omits_is_asked_once_more() -> None:
    """The second omission is final, without an error, and the caller is told once."""
    failed: Failed = []
    it = ledger(failed)
    assert it.settle(ALL, None, progress=False) == [ALL]
    assert it.settle(ALL, None, progress=False) == []
    assert failed == [(A, None), (B, None), (C, None)]


@pytest.mark.parametrize(
    ("error", "progress", "again"),
    [
        (ConnectionLost("x"), True, [ALL]),
        (ConnectionLost("x"), False, [Request((A, B)), Request((C,))]),
        (ServerBusy("x"), False, [ALL]),
        (ProtocolError("x"), False, []),
    ],
)
def test_what_is_asked_again(error: Rad69Error, progress: bool, again: list[Request]) -> None:
    """The rest after progress or a busy source, halves where nothing came, nothing where repeating is useless."""
    assert ledger().settle(ALL, error, progress=progress) == again


def test_one_attempt_asks_nothing_again() -> None:
    """With attempts=1 everything left is final."""
    it = ledger(retry=Retry(attempts=1))
    assert it.settle(ALL, RequestTooLarge("x"), progress=False) == []
    assert states(it) == ["refused"] * 3


def test_an_instance_is_blamed_when_asked_for_alone() -> None:
    """Three lonely attempts, then it is missing with its error; its neighbours are pending."""
    it, alone, error = ledger(), Request((A,)), ConnectionLost("x")
    assert [len(it.settle(alone, error, progress=False)) for _ in range(3)] == [1, 1, 0]
    assert it.pending(ALL.references) == (B, C)
    assert it.first_failure() is error


def test_refusals_by_name_and_in_general() -> None:
    """An error goes to the instance it names; one that names none to all others; a warning to nobody."""
    it = ledger()
    warning = XDSMissingDocumentError("w", severity="Warning")
    named = XDSMissingDocumentError("x", location=A.sop_instance_uid)
    it.refuse(ALL, [warning, named])
    assert it.pending(ALL.references) == (B, C)
    assert named.references == (A,)
    it.refuse(ALL, [XDSBusyError("later")])
    assert it.pending(ALL.references) == (B, C)
    assert it.settle(ALL, None, progress=False) == [Request((B, C))]
    it.refuse(ALL, [XDSMissingDocumentError("y")])
    assert states(it) == ["refused"] * 3
    assert it.remarks == {"warning of the source: w": 1}


def test_damaged_twice_is_missing_or_delivered() -> None:
    """A damaged instance is asked for once more; then "deliver" lets it through, else it is missing."""
    error = InvalidInstanceError("cut", references=(A,))
    for policy, delivered in (("refuse", False), ("deliver", True)):
        it = ledger(invalid_instances=policy)
        assert [it.flawed(error), it.flawed(error)] == [False, delivered]
        assert (A in it.pending(ALL.references)) == delivered


def test_delivered_once_and_put_back() -> None:
    """A copy is dropped; what could not be handed over is pending again."""
    facts = Facts(
        sop_instance_uid=A.sop_instance_uid,
        series_instance_uid="1.2",
        study_instance_uid="1.1",
        transfer_syntax_uid="9",
    )
    it = ledger()
    assert it.identify(A.sop_instance_uid, facts) == A
    it.deliver(A, facts, 5)
    assert it.identify(A.sop_instance_uid, facts) is None
    it.put_back(A)
    assert it.identify(A.sop_instance_uid, facts) == A
    assert it.settled == 0


def test_patience_ends() -> None:
    """A source that never brought anything is asked only so often; Retry-After is kept to, up to the longest wait."""
    patience = Patience(Retry(), in_flight=1)
    lost = ConnectionLost("x")
    assert [patience.note(lost, progress=False) for _ in range(6)] == [True] * 5 + [False]
    assert patience.wait_s(ServerBusy("x", retry_after_s=900.0), progress=False) == Retry().wait_max_s
    assert patience.wait_s(lost, progress=True) == 0.0
    assert 0.0 <= patience.wait_s(lost, progress=False) <= Retry().wait_max_s
