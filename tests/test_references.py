"""What a caller may ask for, and what is refused before a byte is sent."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydicom import Dataset

from asyncrad69 import InstanceReference, InvalidReferenceError, NonInstanceReferenceError, Row
from asyncrad69._references import references_from, valid_uid

ONE = InstanceReference("1.2", "1.3", "1.4")
TWO = InstanceReference("1.2", "1.3", "1.5", repository_unique_id="1.9", home_community_id="urn:oid:1.8")
TRAPS = [
    "",
    " ",
    "1.2\n",
    "1.2 ",
    " 1.2",
    "1..2",
    ".1",
    "1.",
    "1.2\0",
    "1.2/../../x",
    "/etc/passwd",
    "..",
    "1.2\r\nX: y",
    "1.2&amp;",
    "1.2<x/>",
    "\u0661.\u0662",  # Arabic digits: str.isdigit says yes
    "1\uff0e2",
    "1.2\u200b",
    "urn:oid:1.2",
    "C:1",
    "1" * 65,
    "1.a",
]


def dataset(**values: str) -> Dataset:
    """A pydicom Dataset."""
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


FULL = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3", "SOPInstanceUID": "1.4"}


def tree(*uids: str) -> Any:
    """What dicomtrolley's Study and Series objects look like."""
    leaves = [
        SimpleNamespace(reference=lambda uid=uid: SimpleNamespace(study_uid="1.2", series_uid="1.3", instance_uid=uid))
        for uid in uids
    ]
    return SimpleNamespace(all_instances=lambda: leaves)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (ONE, (ONE,)),
        (("1.2", "1.3", "1.4"), (ONE,)),
        (dataset(**FULL), (ONE,)),
        (SimpleNamespace(study_uid="1.2", series_uid="1.3", instance_uid="1.4"), (ONE,)),
        (tree("1.4"), (ONE,)),
        ([ONE, ("1.2", "1.3", "1.4"), TWO, dataset(**FULL)], (ONE, TWO)),
        ((ONE, TWO), (ONE, TWO)),
        ([Row(reference=ONE, state="missing"), Row(reference=TWO, state="missing")], (ONE, TWO)),
        (iter([TWO, ONE]), (TWO, ONE)),
        ({TWO: 1}, (TWO,)),
        ([], ()),
        ((), ()),
        ([tree("1.5", "1.4"), ONE], (InstanceReference("1.2", "1.3", "1.5"), ONE)),
    ],
)
def test_whatever_names_instances_is_accepted(given: object, expected: tuple[InstanceReference, ...]) -> None:
    """One or many, mixed, in order, each instance once."""
    assert references_from(given) == expected


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ("1.2.3", "a bare text"),
        (b"1.2.3", "bytes"),
        ({"StudyInstanceUID": "1.2", "SOPInstanceUID": "1.4"}, "dict names no instance"),
        (7, "int"),
        (tree("1.4").all_instances, "a function, which is to be called"),
        (None, "NoneType"),
        ([ONE, "1.2"], "item 1: a bare text"),
        ([None], "item 0"),
        (("1.2",), "a study was given"),
        (("1.2", "1.3"), "a series was given"),
        (("1", "2", "3", "4"), "a tuple of 4"),
        (dataset(StudyInstanceUID="1.2"), "names a study"),
        (dataset(StudyInstanceUID="1.2", SeriesInstanceUID="1.3"), "names a series"),
        (SimpleNamespace(study_uid="1.2", series_uid="1.3", instance_uid=None), "names a series"),
        (tree(), "without instances"),
        ([SimpleNamespace()], "item 0: SimpleNamespace"),
    ],
)
def test_what_names_no_instance_is_refused_with_the_way_out(given: object, word: str) -> None:
    """RAD-69 has no wildcard: the message says so, and how to list instances."""
    with pytest.raises(NonInstanceReferenceError, match=word) as caught:
        references_from(given)
    assert "references_from_kos" in str(caught.value)


def test_one_instance_in_two_places_is_refused() -> None:
    """An instance is in one series of one study."""
    with pytest.raises(InvalidReferenceError, match=r"1\.4 is named in two places"):
        references_from([ONE, ("1.2", "1.99", "1.4")])


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("place", range(4))
def test_traps_in_a_uid(trap: str, place: int) -> None:
    """No path, line end, markup, blank or foreign digit passes as a UID, and the message names the field."""
    uids = ["1.2", "1.3", "1.4", "1.9"]
    uids[place] = trap
    name = ("study_instance_uid", "series_instance_uid", "sop_instance_uid", "repository_unique_id")[place]
    with pytest.raises(InvalidReferenceError, match=f"^{name}: ") as caught:
        InstanceReference(*uids[:3], repository_unique_id=uids[3])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [None, 1.2, b"1.2", 12, ["1.2"]])
def test_a_uid_is_text(value: object) -> None:
    """A float or bytes is no UID."""
    with pytest.raises(InvalidReferenceError, match=r"^x: "):
        valid_uid(value, "x")


@pytest.mark.parametrize("uid", ["0", "1", "1.2", "1.02", "00.1", "9" * 64])
def test_what_the_field_holds_is_accepted(uid: str) -> None:
    """Leading zeros are forbidden by PS3.5 and found all the same."""
    assert valid_uid(uid, "x") == uid


@pytest.mark.parametrize(
    "community", ["1.2.3", "urn:oid:", "urn:oid:1.", "URN:OID:1.2", "urn:uuid:1", "urn:oid:1.2\n", ""]
)
def test_a_community_is_an_oid_in_urn_form(community: str) -> None:
    """ITI TF-3 4.2.3."""
    with pytest.raises(InvalidReferenceError, match="home_community_id"):
        InstanceReference("1", "2", "3", home_community_id=community)


def test_a_reference_is_a_value() -> None:
    """Equal, hashable, picklable, frozen; a padded UID of a Dataset is the same instance."""
    assert pickle.loads(pickle.dumps(TWO)) == TWO
    assert len({ONE, references_from(SimpleNamespace(**FULL | {"SOPInstanceUID": "1.4\0"}))[0]}) == 1
    with pytest.raises(AttributeError):
        ONE.sop_instance_uid = "1"  # type: ignore[misc]


@given(st.text(max_size=70) | st.text("0123456789.", max_size=70) | st.from_regex(r"[0-9]+(\.[0-9]+)*", fullmatch=True))
def test_a_text_is_a_uid_or_refused(text: str) -> None:
    """Any text: itself, or an InvalidReferenceError; what passes is safe as a file name."""
    try:
        assert valid_uid(text, "x") == text
    except InvalidReferenceError:
        return
    assert 0 < len(text) <= 64
    assert set(text) <= set("0123456789.")
    assert ".." not in text
    assert "." not in {text[0], text[-1]}


uids = st.integers(1, 6).map(lambda number: f"1.{number}")


@given(st.lists(st.tuples(st.just("1.2"), st.just("1.3"), uids)))
def test_order_is_kept_and_nothing_is_named_twice(given: list[tuple[str, str, str]]) -> None:
    """The first naming counts, whatever the order."""
    found = [reference.sop_instance_uid for reference in references_from(given)]
    assert found == list(dict.fromkeys(uid for *_, uid in given))
