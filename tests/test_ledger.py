"""The ledger: an instance leaves pending once, into one column, and what is asked again is only what helps."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from asyncrad69 import (
    ConnectionFailed,
    ConnectionLost,
    ConnectionTimedOut,
    InstanceNotAvailable,
    InstanceReference,
    InvalidInstanceError,
    LimitExceeded,
    Limits,
    Options,
    ProtocolError,
    Rad69Error,
    RequestTooLarge,
    Retry,
    ServerBusy,
    TruncatedResponse,
    XDSBusyError,
    XDSMissingDocumentError,
    XDSTooMuchError,
)
from asyncrad69._ledger import Ledger
from asyncrad69._patience import Patience
from asyncrad69._plan import Request
from asyncrad69._walk import Facts

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


def test_a_general_error_is_not_that_of_what_the_same_answer_promises() -> None:
    """It is about the rest; what is promised is asked for again."""
    it = ledger()
    it.refuse(ALL, [XDSMissingDocumentError("x")], promised={A.sop_instance_uid, B.sop_instance_uid})
    assert it.pending(ALL.references) == (A, B)
    assert it.settle(ALL, ConnectionLost("x"), progress=True) == [Request((A, B))]


def test_another_instance_is_not_delivered_as_damaged() -> None:
    """The policy is about what is cut; another study is another patient's."""
    it = ledger(invalid_instances="deliver", retry=Retry(attempts=1))
    with pytest.raises(InvalidInstanceError, match="another Study Instance UID") as caught:
        it.identify(A.sop_instance_uid, replace(facts_of(A), study_instance_uid="9.9"))
    assert not it.flawed(caught.value)
    assert states(it)[0] == "missing"


def test_a_failure_without_a_reason_has_one_that_says_so() -> None:
    """on_failure="stop" has something to raise."""
    it = ledger(retry=Retry(attempts=1))
    assert it.first_failure() is None
    assert it.settle(ALL, None, progress=False) == []
    failure = it.first_failure()
    assert isinstance(failure, InstanceNotAvailable)
    assert failure.references == (A,)


def test_an_instance_beyond_a_limit_says_which() -> None:
    """What an instance was refused for is a LimitExceeded with the name and value of the limit, and a flaw."""
    it = ledger(limits=Limits(max_dicom_depth=7))
    facts = Facts(sop_instance_uid=A.sop_instance_uid, flaw="nests too deeply", exceeded="max_dicom_depth")
    with pytest.raises(LimitExceeded, match=r"limits=Limits\(max_dicom_depth=...\)") as caught:
        it.identify(None, facts)
    assert isinstance(caught.value, InvalidInstanceError)
    assert (caught.value.limit, caught.value.maximum) == ("max_dicom_depth", 7)
    assert caught.value.references == (A,)
    assert caught.value.retryable


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
    assert [patience.note(lost, progress=False, size=1) for _ in range(7)] == [True] * 6 + [False]
    assert patience.wait_s(ServerBusy("x", retry_after_s=900.0), progress=False) == Retry().wait_max_s
    assert patience.wait_s(lost, progress=True) == 0.0
    assert 0.0 <= patience.wait_s(lost, progress=False) <= Retry().wait_max_s


# --- which instance a document is ----------------------------------------------------------------------

STRANGER = "9.9.9"


def facts_of(reference: InstanceReference, **changes: Any) -> Facts:
    """What the walk through a whole document of *reference* finds."""
    return replace(
        Facts(
            sop_instance_uid=reference.sop_instance_uid,
            meta_sop_instance_uid=reference.sop_instance_uid,
            series_instance_uid=reference.series_instance_uid,
            study_instance_uid=reference.study_instance_uid,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
        ),
        **changes,
    )


@pytest.mark.parametrize(
    ("name", "facts", "entry"),
    [
        pytest.param(A.sop_instance_uid, facts_of(A), A, id="name and UIDs agree"),
        pytest.param(None, facts_of(A), A, id="no name"),
        pytest.param("cid-1@source", facts_of(A), A, id="a name of the source's own"),
        pytest.param(B.sop_instance_uid, facts_of(A), A, id="the name of another: swapped Content-IDs"),
        pytest.param(A.sop_instance_uid, facts_of(A, meta_sop_instance_uid=STRANGER), A, id="meta differs"),
        pytest.param(A.sop_instance_uid, facts_of(A, sop_instance_uid=STRANGER), A, id="only meta and name agree"),
        pytest.param(None, facts_of(A, sop_instance_uid=""), A, id="only meta names it"),
        pytest.param(A.sop_instance_uid, Facts(), A, id="no UID of its own"),
        pytest.param(
            STRANGER, facts_of(A, sop_instance_uid=STRANGER, meta_sop_instance_uid=STRANGER), None, id="other"
        ),
        pytest.param(None, Facts(), None, id="nothing at all"),
    ],
)
def test_a_document_is_known_by_its_own_uids(name: str | None, facts: Facts, entry: InstanceReference | None) -> None:
    """Its own UIDs count; the name it came under only where these bear it out or are not there."""
    it = ledger(identity="instance")
    assert it.identify(name, facts) == entry
    assert it.remarks == ({} if entry else {"an instance came that was not asked for; it was dropped": 1})


@pytest.mark.parametrize(
    ("wrong", "what", "refused_by"),
    [
        ({"sop_instance_uid": STRANGER, "meta_sop_instance_uid": STRANGER}, "SOP", {"study", "instance"}),
        ({"series_instance_uid": STRANGER}, "Series", {"study"}),
        ({"study_instance_uid": STRANGER}, "Study", {"study"}),
        ({"series_instance_uid": ""}, "Series", {"study"}),
        ({"study_instance_uid": ""}, "Study", {"study"}),
        ({"meta_sop_instance_uid": STRANGER}, "", set()),
    ],
)
@pytest.mark.parametrize("identity", ["study", "instance", "content-id"])
def test_what_must_agree(wrong: dict[str, str], what: str, refused_by: set[str], identity: str) -> None:
    """Each identity refuses what it promises to, blames the right instance, and says which option would take it."""
    it = ledger(identity=identity)
    facts = facts_of(A, **wrong)
    if identity not in refused_by:
        assert it.identify(A.sop_instance_uid, facts) == A
        return
    with pytest.raises(InvalidInstanceError, match=f"another {what}.* Instance UID than asked for") as caught:
        it.identify(A.sop_instance_uid, facts)
    assert caught.value.references == (A,)
    assert "identity=" in (caught.value.hint or "")
    assert STRANGER not in caught.value.message


def test_content_id_trusts_the_name_alone() -> None:
    """With "content-id" the name decides, even where the UIDs are another asked instance's."""
    assert ledger(identity="content-id").identify(B.sop_instance_uid, facts_of(A)) == B


@pytest.mark.parametrize("identity", ["study", "instance", "content-id"])
def test_a_flaw_is_blamed_on_the_instance(identity: str) -> None:
    """What is cut is refused under every identity; UIDs behind the cut are not expected."""
    cut = facts_of(A, series_instance_uid="", study_instance_uid="", flaw="ends in the middle")
    with pytest.raises(InvalidInstanceError, match=r"instance 1\.3\.0 ends in the middle") as caught:
        ledger(identity=identity).identify(A.sop_instance_uid, cut)
    assert caught.value.references == (A,)


def test_a_copy_is_dropped_also_if_it_is_damaged() -> None:
    """Once delivered, whatever comes under the name changes nothing."""
    it = ledger()
    it.deliver(A, facts_of(A), 5)
    assert it.identify(A.sop_instance_uid, facts_of(A, flaw="is cut")) is None
    assert it.identify(A.sop_instance_uid, Facts(flaw="is cut")) is None
    assert it.remarks == {"an instance came again; it was dropped": 2}
    assert states(it)[0] == "delivered"


# --- columns -------------------------------------------------------------------------------------------


def test_a_row_says_what_came() -> None:
    """Size, transfer syntax, attempts and file of a delivered instance; a syntax not asked for is remarked."""
    it = ledger(transfer_syntaxes=("1.2.840.10008.1.2.1",))
    it.ask(ALL)
    it.ask(Request((A,)))
    it.deliver(A, facts_of(A), 5)
    it.written(A, "out/a.dcm")
    it.deliver(B, facts_of(B, transfer_syntax_uid="1.2.840.10008.1.2"), 7)
    report = it.report(1.5)
    first = report.rows[0]
    assert (first.state, first.error, first.attempts, first.size_bytes) == ("delivered", None, 2, 5)
    assert (first.transfer_syntax_uid, first.path) == ("1.2.840.10008.1.2.1", "out/a.dcm")
    assert (report.rows[1].attempts, report.rows[1].path) == (1, None)
    assert (report.requests, report.seconds) == (2, 1.5)
    assert report.remarks == {"an instance came in a transfer syntax that was not asked for": 1}


def test_what_is_in_its_file_is_delivered_and_not_asked_for() -> None:
    """It counts as delivered, without an attempt, under its path."""
    it = ledger()
    it.there(A, "out/a.dcm", 9)
    assert it.pending(ALL.references) == (B, C)
    row = it.report(0.0).rows[0]
    assert (row.state, row.path, row.size_bytes, row.attempts) == ("delivered", "out/a.dcm", 9, 0)
    assert it.settled == 1


def test_withdrawn_is_missing_with_its_error() -> None:
    """What the reader could not use is missing, told once, and still settled: it is not asked for again."""
    failed: Failed = []
    it = ledger(failed)
    error = InvalidInstanceError("x", references=(A,))
    it.deliver(A, facts_of(A), 5)
    it.withdraw(A, error)
    assert states(it)[0] == "missing"
    assert failed == [(A, error)]
    assert it.pending(ALL.references) == (B, C)
    assert it.settled == 1


def test_promised_and_not_brought() -> None:
    """A promise without a part leaves an error that becomes the reason, if nothing better comes."""
    it = ledger()
    it.deliver(B, facts_of(B), 5)
    for uid in (A.sop_instance_uid, B.sop_instance_uid, STRANGER):
        it.absent(uid)
    assert it.settle(ALL, None, progress=True) == [Request((A, C))]
    assert it.settle(ALL, None, progress=False) == []
    errors = [row.error for row in it.report(0.0).rows]
    assert isinstance(errors[0], TruncatedResponse)
    assert errors[0].references == (A,)
    assert errors[1:] == [None, None]


def test_a_promise_kept_later_leaves_no_error() -> None:
    """An instance that was absent, or damaged, and then comes whole is delivered without an error."""
    it = ledger()
    it.absent(A.sop_instance_uid)
    it.flawed(InvalidInstanceError("cut", references=(B,)))
    for reference in (A, B):
        it.deliver(reference, facts_of(reference), 5)
    assert [row.error for row in it.report(0.0).rows[:2]] == [None, None]


def test_delivered_with_its_flaw() -> None:
    """What was let through damaged keeps the error that says so."""
    it, error = ledger(invalid_instances="deliver"), InvalidInstanceError("cut", references=(A,))
    it.flawed(error)
    assert it.flawed(error)
    it.deliver(A, facts_of(A, flaw="is cut"), 5, error)
    row = it.report(0.0).rows[0]
    assert (row.state, row.error) == ("delivered", error)


def test_a_flaw_of_what_is_settled_or_unknown_changes_nothing() -> None:
    """A damaged document that answers to no pending instance is of no consequence."""
    it = ledger(retry=Retry(attempts=1))
    it.deliver(A, facts_of(A), 5)
    assert not it.flawed(InvalidInstanceError("cut", references=(A,)))
    assert not it.flawed(InvalidInstanceError("cut"))
    assert states(it)[0] == "delivered"


def test_damaged_with_one_attempt_is_final() -> None:
    """Without repetitions the first damage is the last."""
    it = ledger(retry=Retry(attempts=1))
    it.flawed(InvalidInstanceError("cut", references=(A,)))
    assert it.pending(ALL.references) == (B, C)


def test_a_refusal_does_not_take_back_what_came() -> None:
    """An error for a delivered instance, in a partial success that contradicts itself, changes nothing."""
    it = ledger()
    it.deliver(A, facts_of(A), 5)
    it.refuse(ALL, [XDSMissingDocumentError("x", location=A.sop_instance_uid)])
    assert states(it)[0] == "delivered"


def test_a_busy_refusal_ends_after_its_attempts() -> None:
    """A retryable RegistryError is asked again, alone and with others, until the attempts are used up."""
    it, only = ledger(retry=Retry(attempts=2)), Request((A,))
    again = []
    for _ in range(2):
        it.refuse(only, [XDSBusyError("later", location=A.sop_instance_uid)])
        again.append(it.settle(only, None, progress=False))
    assert again == [[only], []]
    assert states(it)[0] == "refused"


def test_giving_up_keeps_what_is_known() -> None:
    """The rest is missing because of the last error, unless an instance has a reason of its own."""
    failed: Failed = []
    it, error = ledger(failed), ConnectionLost("x")
    it.deliver(A, facts_of(A), 5)
    it.absent(B.sop_instance_uid)
    it.give_up(error, ALL.references)
    it.give_up(error, ALL.references)
    assert states(it) == ["delivered", "missing", "missing"]
    assert [reference for reference, _ in failed] == [B, C]
    assert isinstance(failed[0][1], TruncatedResponse)
    assert failed[1][1] is error
    assert it.settle(ALL, error, progress=False) == []


def test_asking_for_less() -> None:
    """A request that is too large is halved down to one instance, whose refusal then is final."""
    it, error = ledger(), RequestTooLarge("x")
    assert it.settle(ALL, error, progress=False) == [Request((A, B)), Request((C,))]
    assert [len(it.settle(Request((C,)), error, progress=False)) for _ in range(3)] == [1, 1, 0]
    assert states(it)[2] == "refused"


@pytest.mark.parametrize("attempts", [2, 3])
def test_too_much_at_once_is_nobody_s_fault(attempts: int) -> None:
    """Refused for its size, a request is halved as often as it takes; only what was asked for alone is blamed."""
    it = ledger(retry=Retry(attempts=attempts))
    for request in (ALL, ALL, ALL):
        it.refuse(request, [XDSTooMuchError("x")])
        assert it.settle(request, None, progress=False) == [Request((A, B)), Request((C,))]
    alone = Request((C,))
    again = []
    for _ in range(attempts):
        it.refuse(alone, [XDSTooMuchError("x")])
        again.append(len(it.settle(alone, None, progress=False)))
    assert again == [1] * (attempts - 1) + [0]
    assert states(it)[2] == "refused"


def test_a_refusal_for_now_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that says in a good answer that it is busy is left alone for a moment; too much is asked for less."""
    monkeypatch.setattr(random, "uniform", lambda _, longest: longest)
    patience = Patience(Retry(wait_initial_s=0.5), in_flight=1)
    for error, wait_s in ((XDSBusyError("later"), 0.5), (XDSTooMuchError("x"), 0.0)):
        it = ledger()
        assert it.refusal([ALL]) is None
        it.refuse(ALL, [error])
        assert it.refusal([ALL]) is error
        assert patience.wait_s(it.refusal([ALL]), progress=False) == wait_s


def test_ignored_failures_stop_nothing() -> None:
    """An ignored error is in its row, marked, and is no first failure; another one is."""
    it = ledger(ignore=(XDSMissingDocumentError,))
    missing, damaged = XDSMissingDocumentError("x", location=A.sop_instance_uid), ConnectionLost("y")
    it.refuse(ALL, [missing])
    assert it.first_failure() is None
    assert [row.ignored for row in it.report(0.0).rows] == [True, False, False]
    it.give_up(damaged, ALL.references)
    assert it.first_failure() is damaged


# --- series --------------------------------------------------------------------------------------------


def test_a_series_finishes_once_with_its_counts() -> None:
    """When nothing of it is pending, or on its way, any more; what was put back is pending."""
    other = InstanceReference("1.1", "1.4", "1.5", repository_unique_id="1.9")
    it = Ledger([A, B, other], Options(), on_failed=lambda *_: None)
    it.deliver(A, facts_of(A), 5)
    assert list(it.finished_series()) == []
    it.deliver(other, facts_of(other), 5)
    assert list(it.finished_series()) == []
    it.handed_over(other)
    it.handed_over(other)
    assert [each.series_instance_uid for each in it.finished_series()] == ["1.4"]
    it.put_back(A)
    it.refuse(Request((B,)), [XDSMissingDocumentError("x", location=B.sop_instance_uid)])
    assert list(it.finished_series()) == []
    it.deliver(A, facts_of(A), 5)
    it.handed_over(A)
    (finished,) = it.finished_series()
    assert (finished.study_instance_uid, finished.series_instance_uid) == ("1.1", "1.2")
    assert (finished.delivered, finished.failed) == (1, 1)
    assert list(it.finished_series()) == []
    it.put_back(A)
    it.deliver(A, facts_of(A), 5)
    it.handed_over(A)
    assert list(it.finished_series()) == []


def test_a_series_that_is_pending_again_is_not_finished() -> None:
    """What was put back between the last delivery and the word of it."""
    it = Ledger([A], Options(), on_failed=lambda *_: None)
    it.deliver(A, facts_of(A), 5)
    it.handed_over(A)
    it.put_back(A)
    assert list(it.finished_series()) == []
    it.deliver(A, facts_of(A), 5)
    it.withdraw(A, InvalidInstanceError("x"))
    assert [(each.delivered, each.failed) for each in it.finished_series()] == [(0, 1)]


# --- patience ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "ever", "rounds"),
    [
        pytest.param(ConnectionFailed("x"), False, 6, id="nobody there: attempts for each in flight"),
        pytest.param(ConnectionFailed("x"), True, 6, id="gone again: as many"),
        pytest.param(ConnectionTimedOut("x", phase="connect"), True, 6, id="gone without a word: as many"),
        pytest.param(ConnectionLost("x"), False, 13, id="never brought anything: twice as many"),
        pytest.param(ConnectionLost("x"), True, 31, id="brought something once: many more"),
        pytest.param(RequestTooLarge("x"), False, 13, id="too large for one alone"),
    ],
)
def test_how_long_a_barren_source_is_asked(error: Rad69Error, ever: bool, rounds: int) -> None:
    """Exchanges in a row without anything are counted, over all that are in flight, but for the first."""
    patience = Patience(Retry(), in_flight=2)
    patience.note(None, progress=ever, size=1)
    went_on = [patience.note(error, progress=False, size=1) for _ in range(rounds)]
    assert went_on == [True] * (rounds - 1) + [False]


def test_patience_begins_anew_with_each_answer() -> None:
    """Progress, or a good answer, forgives what was before; asking for less counts only when alone."""
    lost, large = ConnectionLost("x"), RequestTooLarge("x")
    for answer in ({"error": lost, "progress": True}, {"error": None, "progress": False}):
        patience = Patience(Retry(attempts=2), in_flight=1)
        for _ in range(3):
            assert patience.note(lost, progress=False, size=1)
        patience.note(**answer, size=1)
        assert patience.note(lost, progress=False, size=1)
    patience = Patience(Retry(), in_flight=1)
    assert all(patience.note(large, progress=False, size=2) for _ in range(100))
    assert all(Patience(Retry(attempts=1), in_flight=1).note(lost, progress=False, size=1) for _ in range(100))


def test_waits_grow_to_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest wait doubles with each barren round, and a request made smaller waits for nothing."""
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    patience, lost, waits = Patience(Retry(wait_initial_s=1.0, wait_max_s=10.0), in_flight=1), ConnectionLost("x"), []
    for _ in range(6):
        waits.append(patience.wait_s(lost, progress=False))
        patience.note(lost, progress=False, size=1)
    assert waits == [1.0, 1.0, 2.0, 4.0, 8.0, 10.0]
    assert patience.wait_s(RequestTooLarge("x"), progress=False) == 0.0
    assert patience.wait_s(None, progress=False) == 0.0
    assert patience.wait_s(ServerBusy("x", retry_after_s=0.0), progress=False) == 0.1


def test_narrowing_down_is_not_in_vain() -> None:
    """A request for fewer than any before it does not count: it looks for the one instance that is at fault."""
    patience, lost = Patience(Retry(attempts=2), in_flight=1), ConnectionLost("x")
    assert all(patience.note(lost, progress=False, size=size) for size in (64, 32, 16, 8, 4, 2, 1))
    assert [patience.note(lost, progress=False, size=1) for _ in range(4)] == [True, True, True, False]
