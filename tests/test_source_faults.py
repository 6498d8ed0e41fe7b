"""The fault plans: each fault is what it says, falls when it should, and is the same with the same seed."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import pytest

from asyncrad69 import (
    ConnectionLost,
    HTTPStatusRefused,
    InvalidInstanceError,
    NotARad69Response,
    Rad69,
    Rad69Error,
    RegistryError,
    Retry,
    ServerBusy,
    SoapError,
    SoapFault,
    TransferTimeout,
    TransportError,
    TruncatedResponse,
)
from asyncrad69._options import Timeout
from asyncrad69.testing import Fault, FaultPlanError, SimulatedSource
from asyncrad69.testing._fault_plan import FaultPlan, interrupted
from asyncrad69.testing._faults import KINDS
from asyncrad69.testing._profiles import PROFILES
from test_source_profiles import archive

if TYPE_CHECKING:
    from asyncrad69 import Report

ONCE = Retry(attempts=1)
UIDS = ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"]


def reported(source: SimulatedSource, **options: Any) -> Report:
    """What becomes of all instances of the source, asked for at once."""
    chosen: dict[str, Any] = {"retry": ONCE, "on_failure": "report", "instances_per_request": None} | options
    with Rad69(source.url, **chosen) as rad69, rad69.retrieve(source.references()) as retrieval:
        with suppress(NotARad69Response):  # it concerns the endpoint as a whole
            for _ in retrieval:
                pass
        return retrieval.report


# --- what each one is

ENDINGS = [
    # With a Content-Length, HTTP itself knows.
    pytest.param(Fault.cut(), (TruncatedResponse, ConnectionLost), id="cut"),
    pytest.param(Fault.cut(after_bytes=0), Rad69Error, id="cut-at-once"),
    pytest.param(Fault.reset(), ConnectionLost, id="reset"),
    pytest.param(Fault.reset(after_bytes=600), TransportError, id="reset-within"),
    pytest.param(Fault.status(503, retry_after_s=0), ServerBusy, id="503"),
    pytest.param(Fault.status(502), HTTPStatusRefused, id="502"),
    pytest.param(Fault.fault(), SoapFault, id="fault"),
    pytest.param(Fault.fault("DestinationUnreachable"), SoapFault, id="fault-of-addressing"),
    pytest.param(Fault.html_login(), NotARad69Response, id="login"),
    pytest.param(Fault.wrong_relates_to(), SoapError, id="relates-to"),
    pytest.param(Fault.stall(30), TransferTimeout, id="stall"),
    pytest.param(Fault.stall(30, after_bytes=600), TransferTimeout, id="stall-within"),
    pytest.param(Fault.refused("XDSRepositoryBusy"), RegistryError, id="refused"),
    pytest.param(Fault.corrupt(), InvalidInstanceError, id="corrupt"),
    pytest.param(Fault.short(), InvalidInstanceError, id="short"),
]


@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.parametrize(("fault", "expected"), ENDINGS)
def test_what_a_fault_is(fault: Fault, expected: Any, framing: Literal["chunked", "length"]) -> None:
    """The client names each by its own error, in either framing, and the log says which fell."""
    with SimulatedSource(archive(), faults=[fault], framing=framing) as source:
        # What does not stall has all the time that a busy machine may take.
        waits = Timeout(first_byte_s=0.6, idle_s=0.6) if fault.kind == "stall" else Timeout()
        report = reported(source, timeout=waits)
        assert {each.faults for each in source.requests} == {(fault.kind,)}
    errors = [row.error for row in report.rows if row.error is not None]
    assert errors
    assert {type(each) for each in errors if not isinstance(each, expected)} == set()


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("code", ["Receiver", "ActionNotSupported"])
def test_every_profile_has_faults(profile: str, code: str) -> None:
    """A SOAP fault is read in each stack's packaging, multipart and HTTP 200 included."""
    with SimulatedSource(archive(), profile=profile, faults=[Fault.fault(code)]) as source:
        errors = {row.error for row in reported(source).rows}
    for error in errors:
        assert isinstance(error, SoapFault)
        assert code in str((error.code, error.subcodes))


def test_missing_is_not_said() -> None:
    """An instance that does not come, in an answer that says Success, is missing in the report."""
    with SimulatedSource(archive(), faults=[Fault.missing(sop_instance_uid=UIDS[1])]) as source:
        report = reported(source)
        assert {each.status for each in source.requests} == {"Success"}
    assert [row.reference.sop_instance_uid for row in report.rows if row.state == "missing"] == [UIDS[1]]


@pytest.mark.parametrize("fault", [Fault.duplicate(), Fault.extra(), Fault.stall(0.001, after_bytes=10)])
def test_what_does_no_harm(fault: Fault) -> None:
    """What was asked for comes all the same, each once."""
    with SimulatedSource(archive(), faults=[fault]) as source, Rad69(source.url, retry=ONCE) as rad69:
        asked = source.references()[:2]
        assert Counter(each.reference for each in rad69.instances(asked)) == Counter(asked)


@pytest.mark.parametrize(
    ("faults", "status"),
    [([Fault.status(500), Fault.fault()], "Refused"), ([Fault.fault(), Fault.status(500)], "Fault")],
)
def test_the_first_of_two_counts(faults: list[Fault], status: str) -> None:
    """Where two faults replace the answer, it is that of the first, and the log says so."""
    with SimulatedSource(archive(), faults=faults) as source:
        reported(source)
        assert {each.status for each in source.requests} == {status}


# --- when it falls


def kinds_of(plan: FaultPlan, requests: int = 4) -> list[int]:
    """How many faults fall on each request for all instances."""
    return [len(plan.drawn(UIDS).faults) for _ in range(requests)]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param(Fault.cut(), [1, 1, 1, 1], id="always"),
        pytest.param(Fault.cut(nth=2), [0, 1, 0, 0], id="nth"),
        pytest.param(Fault.cut(times=1), [1, 0, 0, 0], id="once"),
        pytest.param(Fault.missing(times=4), [1, 1, 0, 0], id="four instances"),
        pytest.param(Fault.cut(sop_instance_uid="1.9"), [0, 0, 0, 0], id="of another instance"),
    ],
)
def test_when(fault: Fault, expected: list[int]) -> None:
    """In every request, in one, so many times, or with an instance."""
    assert kinds_of(FaultPlan([fault], seed=1)) == expected


def test_the_seed_decides() -> None:
    """The same seed draws the same, another one another; the rate is kept; the order of requests does not matter."""
    uids = [f"1.2.{number}" for number in range(1000)]
    faults = [Fault.missing(rate=0.1)]

    def hit(seed: int, order: list[str]) -> set[str]:
        plan = FaultPlan(faults, seed=seed)
        return {uid for uid in order if plan.drawn([uid]).faults}

    assert hit(1, uids) == hit(1, uids[::-1]) != hit(2, uids)
    assert 70 < len(hit(1, uids)) < 130


def test_retries_recover() -> None:
    """What goes wrong once is repeated, and all is delivered in the end."""
    faults = [Fault.status(503, retry_after_s=0, nth=1), Fault.cut(nth=2), Fault.reset(nth=3)]
    with SimulatedSource(archive(), faults=faults) as source:
        report = reported(source, retry=Retry(attempts=5, wait_initial_s=0.001))
        fell = [each.faults for each in source.requests]
    assert report.complete
    assert fell[:3] == [("status",), ("cut",), ("reset",)]


@pytest.mark.parametrize("size", [1, 3, 10])
def test_faults_fall_at_their_byte(size: int) -> None:
    """However the body is chunked, and two at the same byte both."""
    cut, stall = Fault.cut(), Fault.stall(1)
    body = b"0123456789"
    chunks = (body[start : start + size] for start in range(0, 10, size))
    steps = list(interrupted(chunks, [(4, cut), (0, stall), (4, stall)]))
    before = b"".join(each for each in steps[: steps.index(cut)] if isinstance(each, bytes))
    assert (before, steps[0]) == (b"0123", stall)
    assert b"".join(each for each in steps if isinstance(each, bytes)) == body


# --- what makes no sense


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("cut:rate=0.1,after=100000", Fault.cut(rate=0.1, after_bytes=100000)),
        ("status:status=503,retry_after=1.5,times=2", Fault.status(503, retry_after_s=1.5, times=2)),
        ("stall:s=2,nth=3", Fault.stall(2, nth=3)),
        ("refused:code=XDSRegistryError,uid=1.2.3", Fault.refused("XDSRegistryError", sop_instance_uid="1.2.3")),
        ("html_login", Fault.html_login()),
    ],
)
def test_as_a_shell_spells_it(text: str, fault: Fault) -> None:
    """A fault in one word means what it means in Python."""
    assert Fault.parse(text) == fault


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("boom", "there is no fault 'boom', but cut"),
        ("cut:rate=0", "rate is more than 0"),
        ("cut:rate=1.5", "at most 1"),
        ("cut:rate=often", "rate is a number, not 'often'"),
        ("cut:s=1", "'s=1' is not one of after_bytes"),
        ("cut:nth", "'nth' is not one of"),
        ("cut:nth=0", "nth is 1 or more"),
        ("cut:nth=1,times=2", "leave out times"),
        ("cut:after=-1", "after_bytes is 0 or more"),
        ("stall:s=0", "seconds is more than 0"),
        ("stall", "stall needs seconds"),
        ("status", "status needs http_status"),
        ("status:status=200", "http_status is from 400 to 599"),
        ("refused:code=", "code is an error code"),
    ],
)
def test_what_makes_no_sense(text: str, message: str) -> None:
    """The error is typed and names the rule."""
    with pytest.raises(FaultPlanError, match=message):
        Fault.parse(text)


def test_a_plan_fits_its_source() -> None:
    """A plan for an instance that the source does not hold, or of other things than faults, is none."""
    with pytest.raises(FaultPlanError, match=r"does not hold instance 1\.9"):
        SimulatedSource(archive(), faults=[Fault.missing(sop_instance_uid="1.9")])
    with pytest.raises(FaultPlanError, match="not 'cut'"):
        SimulatedSource(archive(), faults=["cut"])  # type: ignore[list-item]


def test_each_kind_has_its_method() -> None:
    """The table and the methods are the same words."""
    assert all(callable(getattr(Fault, kind)) for kind in KINDS)
