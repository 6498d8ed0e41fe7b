"""Several repositories behind one client: each request goes where its instances are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asyncrad69 import (
    AsyncRad69,
    AuthenticationError,
    ConnectionFailed,
    HTTPStatusRefused,
    IncompleteRetrieveError,
    InstanceReference,
    InvalidReferenceError,
    Rad69,
    Retry,
)
from asyncrad69.testing import SimulatedSource
from source import Scripted, ScriptedSource

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio

NEAR, FAR = "1.2.3.4", "1.2.3.5"


@pytest.fixture(scope="module")
def near() -> Iterator[SimulatedSource]:
    """A source with a repository of its own."""
    with SimulatedSource.demo(slices=2, repository_unique_id=NEAR) as source:
        yield source


@pytest.fixture(scope="module")
def far() -> Iterator[SimulatedSource]:
    """Another, with other instances."""
    with SimulatedSource.demo(slices=2, repository_unique_id=FAR) as source:
        yield source


def shared_out(near: SimulatedSource, far: SimulatedSource) -> list[InstanceReference]:
    """Every instance once, in turn from the one and the other."""
    both = zip(near.references(), far.references(), strict=True)
    return [pair[number % 2] for number, pair in enumerate(both)]


async def test_each_request_goes_to_its_repository(near: SimulatedSource, far: SimulatedSource) -> None:
    """One retrieve, one iterator, one report; neither source is asked for what the other has."""
    wanted = shared_out(near, far)
    async with AsyncRad69(near.url, endpoints={FAR: far.url}) as rad69, rad69.retrieve(wanted) as retrieval:
        came = [instance.reference async for instance in retrieval]
    assert sorted(came, key=str) == sorted(wanted, key=str)
    assert retrieval.report.complete
    assert {uid for each in far.requests for uid in each.repository_unique_ids} == {FAR}
    assert {uid for each in near.requests for uid in each.repository_unique_ids} == {NEAR}


def test_without_await(near: SimulatedSource, far: SimulatedSource) -> None:
    """The same from the blocking client."""
    wanted = shared_out(near, far)
    with Rad69(near.url, endpoints={NEAR: near.url, FAR: far.url}) as rad69:
        assert sum(1 for _ in rad69.instances(wanted)) == len(wanted)


@pytest.mark.parametrize(
    ("status", "cls"),
    [("401 Unauthorized", AuthenticationError), ("404 Not Found", HTTPStatusRefused), (None, ConnectionFailed)],
)
async def test_what_ends_one_endpoint_does_not_end_the_others(
    status: str | None, cls: type[Exception], near: SimulatedSource, far: SimulatedSource
) -> None:
    """Nothing is lost: what the other source has is delivered, and the rest is missing with the reason."""
    wanted = shared_out(near, far)
    with ScriptedSource(lambda _: Scripted(status=status or "")) as broken:
        url = broken.url
        if status is None:
            broken.__exit__()
        retry = Retry(attempts=2, wait_initial_s=0.001, wait_max_s=0.001)
        rad69 = AsyncRad69(near.url, endpoints={FAR: url}, retry=retry, concurrency=1)
        async with rad69, rad69.retrieve(wanted, on_failure="report") as retrieval:
            came = [instance.reference async for instance in retrieval]
        if status is None:
            broken.__enter__()
    assert [each.repository_unique_id for each in came] == [NEAR] * ((len(wanted) + 1) // 2)
    lost = [row for row in retrieval.report.rows if row.state != "delivered"]
    with pytest.raises(IncompleteRetrieveError):
        retrieval.report.raise_for_incomplete()
    assert {row.reference.repository_unique_id for row in lost} == {FAR}
    assert all(isinstance(row.error, cls) for row in lost)


async def test_a_busy_endpoint_does_not_hold_up_the_others(near: SimulatedSource, far: SimulatedSource) -> None:
    """While one source wants to be left alone, requests to the other go out; one worker is enough to see it."""
    wanted = shared_out(near, far)
    told: list[str] = []

    def busy(_: object) -> Scripted:
        told.append("busy")
        return Scripted(status="503 Service Unavailable", headers=("Retry-After: 3600",))

    with ScriptedSource(busy) as source:
        retry = Retry(wait_initial_s=0, wait_max_s=3600)
        rad69 = AsyncRad69(near.url, endpoints={FAR: source.url}, retry=retry, concurrency=1)
        first_far = sorted(wanted, key=lambda each: each.repository_unique_id != FAR)
        async with rad69, rad69.retrieve(first_far) as retrieval:
            for _ in range(sum(each.repository_unique_id == NEAR for each in wanted)):
                assert (await anext(retrieval)).reference.repository_unique_id == NEAR
    assert told == ["busy"]


@pytest.mark.parametrize(
    ("endpoints", "word"),
    [({"not an oid": "http://localhost"}, "endpoints: not a UID"), ({FAR: "ftp://localhost"}, "http:// or https://")],
)
def test_wrong_endpoints_are_refused(endpoints: dict[str, str], word: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match=word):
        AsyncRad69("http://localhost", endpoints=endpoints)


async def test_a_gateway_is_asked_with_its_own_action(near: SimulatedSource) -> None:
    """RAD-75 needs the home community, and says so before anything is sent."""
    async with AsyncRad69(near.url, transaction="RAD-75") as rad69:
        with pytest.raises(InvalidReferenceError, match="names no home community, which RAD-75 requires"):
            rad69.retrieve(near.references())
        with pytest.raises(ValueError, match="transaction is one of 'RAD-69', 'RAD-75'"):
            rad69.retrieve(near.references(), transaction="RAD-68")  # type: ignore[arg-type]
