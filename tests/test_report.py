"""Reports: every instance in one column, the same figures as text, JSON and HTML."""

from __future__ import annotations

import json

import pytest

from asyncrad69 import (
    IncompleteRetrieveError,
    InstanceReference,
    Report,
    Row,
    TruncatedResponse,
    XDSMissingDocumentError,
)

REFERENCES = [
    InstanceReference("1.1", f"1.2.{number // 2}", f"1.3.{number}", repository_unique_id="1.9") for number in range(4)
]
REFUSAL = XDSMissingDocumentError("the source answered XDSMissingDocument", error_code="XDSMissingDocument")
CUT = TruncatedResponse("the reply was cut")


def report(*, ignored: bool = False) -> Report:
    """Two series: one complete and written, one with a refused and a missing instance."""
    first, second, third, fourth = REFERENCES
    return Report(
        rows=(
            Row(reference=first, state="delivered", attempts=1, size_bytes=3_000_000, transfer_syntax_uid="1.2.840"),
            Row(reference=second, state="delivered", attempts=2, size_bytes=1_000_000, path="a.dcm"),
            Row(reference=third, state="refused", error=REFUSAL, attempts=1, ignored=ignored),
            Row(reference=fourth, state="missing", error=None if not ignored else CUT, attempts=3, ignored=ignored),
        ),
        seconds=2.0,
        requests=3,
        received_bytes=5_000_000,
        answers={"Success": 1},
        remarks={"odd <thing>": 2},
    )


def test_columns() -> None:
    """Each instance is in one column, and the order is the order asked."""
    it = report()
    assert it.asked == tuple(REFERENCES)
    columns = [*it.delivered, *it.refused, *it.missing]
    assert [row.reference for row in columns] == REFERENCES
    assert it.delivered_bytes == 4_000_000
    assert it.bytes_per_second == 2_500_000
    assert Report(rows=()).bytes_per_second == 0.0


def test_incomplete_raises_with_everything() -> None:
    """The error names what did not come and why, and its cause is the first reason."""
    with pytest.raises(IncompleteRetrieveError, match="2 of 4 instances arrived; 1 x the source answered") as caught:
        report().raise_for_incomplete()
    assert caught.value.references == tuple(REFERENCES[2:])
    assert caught.value.__cause__ is REFUSAL
    assert caught.value.hint == "Its report lists them: report.refused, report.missing."
    assert caught.value.report.requests == 3


def test_ignored_is_complete_and_still_there() -> None:
    """What the caller ignores does not raise, and stays in its column."""
    it = report(ignored=True)
    it.raise_for_incomplete()
    assert it.complete
    assert [row.state for row in it.rows if row.ignored] == ["refused", "missing"]
    assert it.to_dict()["rows"][3]["ignored"] is True


def test_text() -> None:
    """The text has the figures, each reason with its count, and what was tolerated."""
    assert str(report()).splitlines() == [
        "2 of 4 instances delivered, 1 refused, 1 missing",
        "2 series, 4,000,000 bytes in 2.00 s, 2.5 MB/s, 3 requests",
        "1 x the source answered XDSMissingDocument",
        "1 x the source said nothing about it",
        "note: odd <thing> (2 x)",
    ]


def test_json() -> None:
    """The JSON is the dict; an error has its class, message and, from a registry, its code."""
    values = json.loads(report().to_json(indent=1))
    assert values == report().to_dict()
    assert values["instances"] == {"asked": 4, "delivered": 2, "refused": 1, "missing": 1, "ignored": 0}
    assert (values["studies"], values["series"], values["bytes_per_second"]) == (1, 2, 2_500_000)
    assert values["rows"][1]["path"] == "a.dcm"
    assert values["rows"][2]["error"] == {
        "class": "XDSMissingDocumentError",
        "message": "the source answered XDSMissingDocument",
        "code": "XDSMissingDocument",
    }
    assert "error" not in values["rows"][3]


def test_html() -> None:
    """A row per series, the failed one first, and nothing unescaped."""
    html = report()._repr_html_()
    assert html.index("<td>1.2.1</td>") < html.index("<td>1.2.0</td>")
    assert "<td>1.2.0</td><td>2</td><td>0</td><td>0</td><td>4.0</td>" in html
    assert "odd &lt;thing&gt;" in html


def test_many_reasons_are_summed_up() -> None:
    """Where every instance has a reason of its own, the text has the first of them and says how many more there are."""
    rows = [
        Row(
            reference=InstanceReference("1.2", "1.2.1", f"1.2.1.{number}"),
            state="missing",
            error=TruncatedResponse(f"instance 1.2.1.{number} is cut"),
        )
        for number in range(20)
    ]
    text = str(Report(rows=tuple(rows), seconds=1.0, requests=1, received_bytes=0, answers={}, remarks={}))
    assert text.count("is cut") == 8
    assert "and 12 more reasons" in text
