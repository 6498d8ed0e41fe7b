"""The audit message: valid against PS3.15's schema, right about what happened, silent about the rest."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lxml import etree

from asyncrad69 import IncompleteRetrieveError, InstanceReference, Rad69, Report, Retry, Row, XDSMissingDocumentError
from asyncrad69.audit import Participants, audit, audited, instances_accessed
from asyncrad69.testing import SimulatedSource

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA = etree.RelaxNG(etree.parse(Path(__file__).with_name("audit-message.rng")))
WHEN = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
LEAST: dict[str, Any] = {
    "source_url": "https://source.example/rad69?token=secret",
    "process_id": "viewer-cache",
    "audit_source_id": "viewer",
}
ALL: dict[str, Any] = {
    **LEAST,
    "host": "10.0.0.7",
    "user_id": "u17",
    "user_name": 'Anna <"&">',
    "patient_id": "P1^^^&1.2&ISO",
    "enterprise_site_id": "ward é",
}


def report_of(states: Iterable[str], studies: int = 1) -> Report:
    """Instances with these states, dealt to the studies in turn."""
    rows = []
    for number, state in enumerate(states):
        study = f"1.2.{number % studies + 1}"
        reference = InstanceReference(study, f"{study}.1", f"{study}.1.{number + 1}")
        error = XDSMissingDocumentError("secret") if state == "refused" else None
        rows.append(Row(reference=reference, state=state, error=error))  # type: ignore[arg-type]
    return Report(rows=tuple(rows))


def parsed(message: bytes) -> etree._Element:
    """The message's root, after the schema has had its say."""
    root = etree.fromstring(message)
    SCHEMA.assertValid(root)
    return root


def attributes(element: etree._Element) -> dict[str, str]:
    """Of an element, by name."""
    return {str(name): str(value) for name, value in element.items()}


REPORTS = {
    "complete": report_of(["delivered"] * 3),
    "two studies": report_of(["delivered"] * 4 + ["missing"], studies=2),
    "nothing came": report_of(["refused", "missing"]),
    "nothing was asked": report_of([]),
}


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS.keys())
@pytest.mark.parametrize("names", [LEAST, {**LEAST, "user_id": "u17"}, ALL], ids=["least", "user", "all"])
@pytest.mark.parametrize("list_instances", [False, True])
def test_it_is_valid(report: Report, names: dict[str, str], list_instances: bool) -> None:
    """Against the schema of PS3.15 A.5.1.1, whatever is known and whatever happened."""
    message = instances_accessed(report, Participants(**names), list_instances=list_instances)
    assert message.startswith(b"<?xml")
    parsed(message)


def test_the_schema_can_say_no() -> None:
    """A message of RFC 3881, with its other spelling of codes, is not valid."""
    message = instances_accessed(REPORTS["complete"], Participants(**LEAST))
    assert not SCHEMA.validate(etree.fromstring(message.replace(b"csd-code", b"code")))


@pytest.mark.parametrize(
    ("states", "outcome"),
    [
        (["delivered", "delivered"], "0"),
        (["delivered", "refused"], "4"),
        (["missing", "delivered"], "4"),
        (["refused", "missing"], "8"),
    ],
)
def test_the_outcome(states: list[str], outcome: str) -> None:
    """Success, minor or serious failure, from the report; counts say what is lacking."""
    event = parsed(instances_accessed(report_of(states), Participants(**LEAST), when=WHEN))[0]
    assert event.get("EventOutcomeIndicator") == outcome
    assert event.get("EventDateTime") == "2026-05-04T03:02:01.000+00:00"
    assert (event.find("EventOutcomeDescription") is None) == (outcome == "0")


def test_the_event() -> None:
    """DICOM Instances Accessed, read, by RAD-69."""
    event = parsed(instances_accessed(REPORTS["complete"], Participants(**LEAST)))[0]
    codes = [(each.tag, each.get("csd-code"), each.get("codeSystemName")) for each in event]
    assert codes == [("EventID", "110103", "DCM"), ("EventTypeCode", "RAD-69", "IHE Transactions")]
    assert event.get("EventActionCode") == "R"


def test_the_participants() -> None:
    """The source, this process and the person, each with its part; the audit source names itself."""
    root = parsed(instances_accessed(REPORTS["complete"], Participants(**ALL)))
    assert [attributes(each) for each in root.findall("ActiveParticipant")] == [
        {
            "UserID": "https://source.example/rad69",
            "UserIsRequestor": "false",
            "NetworkAccessPointID": "source.example",
            "NetworkAccessPointTypeCode": "1",
        },
        {
            "UserID": "viewer-cache",
            "UserIsRequestor": "true",
            "NetworkAccessPointID": "10.0.0.7",
            "NetworkAccessPointTypeCode": "2",
        },
        {"UserID": "u17", "UserIsRequestor": "true", "UserName": 'Anna <"&">'},
    ]
    assert [each.get("csd-code") for each in root.iter("RoleIDCode")] == ["110153", "110152"]
    source = root.find("AuditSourceIdentification")
    assert source is not None
    assert attributes(source) == {"AuditSourceID": "viewer", "AuditEnterpriseSiteID": "ward é"}


def test_the_objects() -> None:
    """Each study with what was delivered of it, and then the patient."""
    root = parsed(instances_accessed(REPORTS["two studies"], Participants(**ALL), list_instances=True))
    objects = root.findall("ParticipantObjectIdentification")
    assert [each.get("ParticipantObjectID") for each in objects] == ["1.2.1", "1.2.2", "P1^^^&1.2&ISO"]
    assert [each.get("NumberOfInstances") for each in root.iter("SOPClass")] == ["2", "2"]
    instances = [[each.get("UID") for each in study.iter("Instance")] for study in objects]
    assert instances == [["1.2.1.1.1", "1.2.1.1.3"], ["1.2.2.1.2", "1.2.2.1.4"], []]


def test_nothing_else_is_in_it() -> None:
    """No query of a URL, no words of the source; and no patient in a repr."""
    participants = Participants(**ALL)
    assert b"secret" not in instances_accessed(REPORTS["nothing came"], participants)
    assert "P1" not in repr(participants)
    assert "Anna" not in repr(participants)


@pytest.mark.parametrize(
    "wrong",
    [
        {"source_url": "source.example"},
        {"source_url": "https://me:secret@source.example/"},
        {"process_id": ""},
        {"patient_id": "secret\x00"},
        {"user_id": "secret\ud800"},
        {"user_name": "secret"},
    ],
)
def test_wrong_participants(wrong: dict[str, str]) -> None:
    """What cannot be written is refused where it is given, and not quoted."""
    with pytest.raises(ValueError, match=next(iter(wrong))) as caught:
        Participants(**{**LEAST, **wrong})
    assert "secret" not in str(caught.value)


def test_a_time_without_a_zone() -> None:
    """Is no time."""
    with pytest.raises(ValueError, match="time zone"):
        instances_accessed(REPORTS["complete"], Participants(**LEAST), when=WHEN.replace(tzinfo=None))


def test_a_retrieve_is_audited_whatever_becomes_of_it() -> None:
    """One message per retrieve, through on_event, for one that is complete and for one that is not."""
    messages: list[bytes] = []
    with SimulatedSource.demo(slices=2) as source:
        on_event = audited(Participants(**{**LEAST, "source_url": source.url}), messages.append)
        with Rad69(source.url, repository_unique_id="1.2.3.4", on_event=on_event, retry=Retry(attempts=1)) as rad69:
            references = source.references()
            list(rad69.instances(references))
            with pytest.raises(IncompleteRetrieveError):
                list(rad69.instances(InstanceReference("1.2", "1.2.3", "1.2.3.999")))
    assert [parsed(each)[0].get("EventOutcomeIndicator") for each in messages] == ["0", "8"]
    delivered = sum(int(each.get("NumberOfInstances") or 0) for each in parsed(messages[0]).iter("SOPClass"))
    assert delivered == len(references)


@pytest.mark.anyio
async def test_handlers_of_both_kinds() -> None:
    """A function is called, a coroutine function is awaited."""
    messages: list[bytes] = []

    async def store(message: bytes) -> None:
        messages.append(message)

    await audit(REPORTS["complete"], Participants(**LEAST), messages.append)
    await audit(REPORTS["complete"], Participants(**LEAST), store)
    assert len([parsed(each) for each in messages]) == 2


def test_events_do_not_await() -> None:
    """A coroutine function as an event's handler would lose every message: it is refused."""

    async def store(message: bytes) -> None: ...

    with pytest.raises(TypeError, match="await audit"):
        audited(Participants(**LEAST), store)  # type: ignore[arg-type]
