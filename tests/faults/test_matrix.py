"""The failure matrix: every fault, in every framing, plain and TLS, cut in every place, at concurrency 1, 4 and 16."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from asyncrad69 import (
    ConnectionLost,
    IncompleteRetrieveError,
    InvalidInstanceError,
    Rad69Error,
    Retry,
    Timeout,
    TransferTimeout,
    TruncatedResponse,
)

from .catalogue import FAULTS, LOOKALIKES, Fault
from .driver import FULL, ONCE, Outcome, nothing_left, retrieve_once, server_context
from .server import FRAMINGS, Behaviour, Ending, Exchange, FaultServer, Framing, good, until_asked_again
from .wire import FAILURE, PARTIAL, Error, Piece, Reply, Study, Writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CONCURRENCY = (1, 4, 16)
# A machine that is busy with 16 TLS handshakes may be late for a short limit more than once.
PATIENT = Retry(attempts=6, wait_initial_s=0, wait_max_s=0)
STUDIES = {number: Study.of(series=number) for number in CONCURRENCY}


# --- every fault of the catalogue ----------------------------------------------------------------------


def _variants(framings: tuple[Framing, ...], turn: int) -> Iterable[tuple[Framing, bool, int]]:
    """All of framing x TLS x concurrency; in the slice one of them, another at each turn."""
    if FULL:
        return itertools.product(framings, (False, True), CONCURRENCY)
    return [(framings[turn % len(framings)], turn % 4 == 3, (1, 4, 1, 4, 16)[turn % 5])]


def _cells(which: int) -> Iterator[object]:
    """Every fault in each framing, plain and TLS, at each concurrency; the slice takes one of them for each fault."""
    for turn, fault in enumerate(FAULTS, start=which):
        for framing, tls, concurrency in _variants(fault.framings, turn):
            name = f"{fault.name}-{framing}-{'tls' if tls else 'plain'}-{concurrency}"
            yield pytest.param(fault, framing, tls, concurrency, id=name)


def _server(study: Study, fault: Fault, framing: Framing, *, tls: bool, lifted: bool) -> FaultServer:
    def behaviour(exchange: Exchange) -> None:
        fault.play(exchange, framing)

    return FaultServer(
        study,
        until_asked_again(behaviour) if lifted else behaviour,
        ssl_context=server_context() if tls else None,
    )


@pytest.mark.parametrize(("fault", "framing", "tls", "concurrency"), list(_cells(0)))
def test_one_attempt_ends_as_the_fault_demands(fault: Fault, framing: Framing, tls: bool, concurrency: int) -> None:
    """Without a repetition: the right error class, exactly the instances that are whole, and nothing left behind."""
    study = STUDIES[concurrency]
    with nothing_left(), _server(study, fault, framing, tls=tls, lifted=False) as server:
        outcome = retrieve_once(server, concurrency=concurrency, retry=ONCE, **fault.options)
    _check_failure(outcome, study, fault)


@pytest.mark.parametrize(("fault", "framing", "tls", "concurrency"), list(_cells(7)))
def test_once_the_fault_is_lifted_everything_arrives(
    fault: Fault, framing: Framing, tls: bool, concurrency: int
) -> None:
    """With repetitions: all instances, once each and byte for byte; what is final is not repeated."""
    study = STUDIES[concurrency]
    with nothing_left(), _server(study, fault, framing, tls=tls, lifted=True) as server:
        outcome = retrieve_once(server, concurrency=concurrency, retry=PATIENT, **fault.options)
    if fault.final:
        _check_failure(outcome, study, fault)
        assert len(server.requests) <= concurrency, "what is final was repeated"
    else:
        outcome.check(study, study.instances)


@pytest.mark.parametrize("fault", FAULTS if FULL else FAULTS[::4], ids=lambda fault: fault.name)
def test_trio_sees_the_same(fault: Fault) -> None:
    """On trio, with another transport below: the same classes, the same instances, nothing left behind."""
    study = STUDIES[4]
    with nothing_left(), _server(study, fault, fault.framings[0], tls=False, lifted=True) as server:
        outcome = retrieve_once(server, backend="trio", concurrency=4, **fault.options)
    if fault.final:
        _check_failure(outcome, study, fault)
    else:
        outcome.check(study, study.instances)


def _check_failure(outcome: Outcome, study: Study, fault: Fault) -> None:
    expected = {
        "all": set(study.instances),
        "none": set[str](),
        "others": {uid for uid in study.instances if not uid.endswith(".3")},
        "some": outcome.uids,
    }[fault.delivered]
    outcome.check(study, expected)
    if fault.delivered == "all":
        return
    reasons = outcome.reasons()
    assert reasons
    if fault.error is None:
        assert reasons == [None] * len(reasons)
    else:
        assert {type(reason) for reason in reasons} <= _below(fault.error), reasons
    if isinstance(outcome.error, IncompleteRetrieveError):
        assert outcome.error.__cause__ is next((reason for reason in reasons if reason), None)


def _below(cls: type[Rad69Error]) -> set[type[Rad69Error]]:
    return {cls}.union(*(_below(each) for each in cls.__subclasses__()))


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("marker", LOOKALIKES)
def test_pixel_data_that_looks_like_a_delimiter_is_pixel_data(marker: bytes, framing: Framing) -> None:
    """What only looks like a delimiter cuts no instance: it is delivered byte for byte."""
    study = STUDIES[1]
    spoilt = {
        uid: data[:-1000] + marker + data[len(data) - 1000 + len(marker) :] for uid, data in study.instances.items()
    }
    study = Study(spoilt, study.references)
    with nothing_left(), FaultServer(study, lambda exchange: exchange.send(exchange.reply(), framing)) as server:
        retrieve_once(server, retry=ONCE).check(study, spoilt)


# --- cuts ----------------------------------------------------------------------------------------------

#: Piece of the reply, and the share of it that still comes.
POSITIONS = (
    ("delimiter root", 0.0),
    ("headers root", 0.5),
    ("data root", 0.5),
    ("headers 1", 0.0),
    ("headers 1", 0.5),
    ("data 1", 0.0),
    ("data 3", 0.5),
    ("delimiter 4", 0.0),
    ("delimiter 4", 0.5),
    ("headers 4", 0.0),
    ("data 5", 0.99),
    ("final delimiter", 0.0),
    ("final delimiter", 0.5),
    ("final dashes", 0.0),
    ("final dashes", 0.5),
    ("epilogue", 0.0),
)
ENDINGS: tuple[Ending, ...] = ("fin", "rst", "clean", "stall", "no close_notify")
IMPATIENT = Timeout(idle_s=0.2)


def _cut_cells() -> Iterator[object]:
    """Every position with every ending, as `_cells`."""
    for turn, (position, ending) in enumerate(itertools.product(POSITIONS, ENDINGS)):
        for framing, variant_tls, concurrency in _variants(FRAMINGS, turn):
            tls = variant_tls or ending == "no close_notify"
            name = f"{position[0]}+{position[1]}-{ending}-{framing}-{'tls' if tls else 'plain'}-{concurrency}"
            yield pytest.param(position, ending, framing, tls, concurrency, id=name.replace(" ", "_"))


@pytest.mark.parametrize(("position", "ending", "framing", "tls", "concurrency"), list(_cut_cells()))
def test_a_cut_reply_costs_only_what_was_cut(
    position: tuple[str, float], ending: Ending, framing: Framing, tls: bool, concurrency: int
) -> None:
    """What was proven whole before the cut is delivered and not asked for again; the rest comes with the retry."""
    study = STUDIES[concurrency]
    proven: set[str] = set()

    def cut(exchange: Exchange) -> None:
        reply = exchange.reply()
        where = reply.position(*position)
        proven.update(reply.proven(where))
        exchange.send(reply, framing, cut=where, ending=ending)

    context = server_context() if tls else None
    with nothing_left(), FaultServer(study, cut, ssl_context=context) as server:
        once = retrieve_once(server, concurrency=concurrency, retry=ONCE, timeout=IMPATIENT)
    # What the kernel still held is lost with a reset.
    once.check(study, proven & once.uids if ending == "rst" else proven)
    if once.uids != set(study.instances):
        assert {type(reason) for reason in once.reasons()} == {_class_of_cut(ending, framing)}

    with nothing_left(), FaultServer(study, until_asked_again(cut), ssl_context=context) as server:
        outcome = retrieve_once(server, concurrency=concurrency, timeout=IMPATIENT)
    outcome.check(study, study.instances)
    if ending != "rst":
        asked = Counter(uid for request in server.requests for uid in request.wanted)
        assert all(asked[uid] == 1 for uid in proven), "what had come was asked for again"


def _class_of_cut(ending: Ending, framing: Framing) -> type[Rad69Error]:
    if ending == "stall":
        return TransferTimeout
    if ending == "rst" or (ending != "clean" and framing != "close"):
        return ConnectionLost
    return TruncatedResponse


# --- what the matrix cannot express --------------------------------------------------------------------


def test_a_poisoned_instance_is_the_only_one_lost() -> None:
    """One instance makes every request for it fail: 199 of 200 arrive, and none of its neighbours is blamed."""
    study = Study.of(per_series=200, rows=4, columns=8)
    poison = study.references[77][2]

    def behave(exchange: Exchange) -> None:
        if poison in exchange.wanted:
            exchange.send(Reply("text/html", (Piece("body", b"oops"),)), "length", status="500 Oops")
        else:
            good(exchange)

    with nothing_left(), FaultServer(study, behave) as server:
        outcome = retrieve_once(server)
    outcome.check(study, set(study.instances) - {poison})
    assert len(server.requests) < 60


def test_a_middlebox_that_cuts_every_reply_loses_nothing() -> None:
    """Every reply is cut after 20 KB: everything arrives, in about as many requests as that takes."""
    study = Study.of(per_series=60)

    def behave(exchange: Exchange) -> None:
        reply = exchange.reply()
        cut = 20_000 if len(reply.body) > 20_000 else None
        exchange.send(reply, "chunked", cut=cut, ending="clean")

    with nothing_left(), FaultServer(study, behave) as server:
        outcome = retrieve_once(server, concurrency=1)
    outcome.check(study, study.instances)
    assert len(server.requests) < 2 * sum(map(len, study.instances.values())) / 20_000


def _content_too_large(exchange: Exchange) -> None:
    exchange.send(exchange.reply().with_body(b""), "length", status="413 Content Too Large")


def _too_much(code: str, *, some: int = 0) -> Behaviour:
    """A refusal of all but the first *some*, which come."""

    def behave(exchange: Exchange) -> None:
        refused = exchange.wanted[some:]
        errors = tuple(Error(code, uid) for uid in refused) if some else (Error(code),)
        writing = Writing(status=PARTIAL if some else FAILURE, errors=errors)
        exchange.send(exchange.reply(writing, leave_out=refused), "chunked")

    return behave


@pytest.mark.parametrize(
    "refuse",
    [
        pytest.param(_content_too_large, id="413"),
        pytest.param(_too_much("XDSTooManyResults"), id="XDSTooManyResults"),
        pytest.param(_too_much("XDSRepositoryOutOfResources"), id="XDSRepositoryOutOfResources"),
        pytest.param(_too_much("XDSRegistryOutOfResources"), id="XDSRegistryOutOfResources"),
        pytest.param(_too_much("urn:dicom:wado:0005"), id="wado:0005"),
        pytest.param(_too_much("XDSTooManyResults", some=2), id="XDSTooManyResults-after-some"),
    ],
)
def test_a_source_that_is_asked_for_too_much_is_asked_for_less(refuse: Behaviour) -> None:
    """However it says that more than 3 instances are too many: all 40 arrive, and no request is repeated as it was."""
    study = Study.of(per_series=40)

    def behave(exchange: Exchange) -> None:
        (refuse if len(exchange.wanted) > 3 else good)(exchange)

    with nothing_left(), FaultServer(study, behave) as server:
        outcome = retrieve_once(server)
    outcome.check(study, study.instances)
    wanted = [request.wanted for request in server.requests]
    assert len(set(wanted)) == len(wanted)


def test_errors_keep_no_buffers() -> None:
    """What a report keeps of a failure is its words: no frame, and with it no buffer and no half of an instance."""
    study = STUDIES[4]

    def cut(exchange: Exchange) -> None:
        reply = exchange.reply(Writing(documents={exchange.wanted[0]: b"no DICOM"}))
        exchange.send(reply, "chunked", cut=reply.position("data 4"))

    with nothing_left(), FaultServer(study, cut) as server:
        reasons = retrieve_once(server, retry=ONCE).reasons()
    assert {type(reason) for reason in reasons} == {ConnectionLost, InvalidInstanceError}
    for reason in reasons:
        seen: BaseException | None = reason
        while seen is not None:
            assert seen.__traceback__ is None
            seen = seen.__cause__ or seen.__context__


@pytest.mark.parametrize("left_over", [b"HTTP/1.1 200 OK\r\n", b"\0" * 100])
def test_bytes_left_over_on_a_connection_answer_no_later_question(left_over: bytes) -> None:
    """After a reply with bytes behind it the connection is not used again: no reply is read from them."""
    study = Study.of(series=6)

    def behave(exchange: Exchange) -> None:
        reply = exchange.reply(Writing())
        exchange.send(reply, "length")
        exchange.raw(left_over)

    with nothing_left(), FaultServer(study, behave) as server:
        outcome = retrieve_once(server, concurrency=1)
    outcome.check(study, study.instances)
    assert server.connections == len(server.requests) == 6
    assert len({request.message_id for request in server.requests}) == 6
