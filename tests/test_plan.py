"""Plans: which instances are asked for together, and in which order."""

from __future__ import annotations

import pytest

from asyncrad69 import InstanceReference, InvalidReferenceError, Options
from asyncrad69._plan import Request, addressed, requests


def reference(study: int, series: int, number: int, repository: str | None = "1.9") -> InstanceReference:
    """An instance of a numbered study and series."""
    return InstanceReference(
        f"1.1.{study}", f"1.2.{series}", f"1.3.{study}.{series}.{number}", repository_unique_id=repository
    )


A1, A2, A3 = (reference(1, 1, number) for number in (1, 2, 3))
B1, B2 = (reference(1, 2, number) for number in (1, 2))
OTHER_STUDY = reference(2, 1, 1)
ELSEWHERE = reference(1, 1, 4, "1.8")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (None, [(A1, A2, A3), (B1, B2), (OTHER_STUDY,), (ELSEWHERE,)]),
        (2, [(A1, A2), (A3,), (B1, B2), (OTHER_STUDY,), (ELSEWHERE,)]),
        (1, [(A1,), (A2,), (A3,), (B1,), (B2,), (OTHER_STUDY,), (ELSEWHERE,)]),
        (0, [(A1, B1, A2, B2, A3, OTHER_STUDY), (ELSEWHERE,)]),
    ],
)
def test_grouping(size: int | None, expected: list[tuple[InstanceReference, ...]]) -> None:
    """By repository always, by study and series and in batches as told; in the order of the first instances."""
    given = [A1, B1, A2, B2, A3, OTHER_STUDY, ELSEWHERE]
    planned = requests(given, Options(instances_per_request=size))
    assert [request.references for request in planned] == expected


def test_nothing_makes_no_request() -> None:
    """No references, no requests, whatever the batches."""
    assert requests([], Options()) == requests([], Options(instances_per_request=0)) == []


def test_halves() -> None:
    """Halves are complete and in order; a single instance stays whole."""
    assert [half.references for half in Request((A1, A2, A3)).halves()] == [(A1, A2), (A3,)]
    assert Request((A1,)).halves() == (Request((A1,)),)


def test_the_reference_goes_before_the_option() -> None:
    """Options fill in what a reference leaves open, and only that."""
    options = Options(repository_unique_id="1.7", home_community_id="urn:oid:1.6")
    bare, full = addressed([reference(1, 1, 1, None), A1], options)
    assert (bare.repository_unique_id, bare.home_community_id) == ("1.7", "urn:oid:1.6")
    assert (full.repository_unique_id, full.home_community_id) == ("1.9", "urn:oid:1.6")
    assert addressed([A1], Options())[0] is A1


def test_an_instance_in_no_repository_is_refused() -> None:
    """RAD-69 requires a repository; the message says where it is found."""
    with pytest.raises(InvalidReferenceError, match=r"names no repository.*repository_unique_id="):
        addressed([reference(1, 1, 1, None)], Options())
