"""
The audit message of a retrieve: *DICOM Instances Accessed* (PS3.15 A.5.3.6), as RAD-69 asks of its consumer.

    on_event = audited(participants, write_to_the_audit_log)

It writes XML from a `Report`. To send it, by syslog over TLS (RFC 5425) or otherwise, is the caller's; no I/O here.
"""

from __future__ import annotations

import inspect
import ipaddress
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET  # only writes

from ._events import RetrieveFinished

if TYPE_CHECKING:
    from ._events import Event, OnEvent
    from ._report import Report

#: Takes one message, UTF-8.
Handler: TypeAlias = Callable[[bytes], None]
AsyncHandler: TypeAlias = Callable[[bytes], Awaitable[None]]

# XML 1.0 2.2: what no document may hold, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Participants:
    """
    Who took part in a retrieve, as far as its report does not know.

    Args:
        source_url: The source's RAD-69 endpoint; its query stays out of the message.
        process_id: What names this process in the audit trail, e.g. its service's name or system process id.
        audit_source_id: What names the system that reports, AuditSourceID.
        host: This machine's name or IP address.
        user_id: The person on whose behalf it was, if there is one.
        user_name: The person's name, for people.
        patient_id: The patient whose studies they are. PS3.15 wants it, and one patient to a message; a report does
            not know it.
        enterprise_site_id: AuditEnterpriseSiteID.

    Raises:
        ValueError: A URL without a host or with credentials, an empty name, or characters that XML forbids.
    """

    source_url: str
    process_id: str
    audit_source_id: str
    host: str | None = None
    user_id: str | None = None
    user_name: str | None = None
    patient_id: str | None = None
    enterprise_site_id: str | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            # The values themselves stay out of the complaint: one of them is a patient.
            if value is not None and (not value or _NOT_XML.search(value)):
                raise ValueError(f"{each.name} is empty, or has a character that XML forbids")
        if self.user_name is not None and self.user_id is None:
            raise ValueError("user_name is the name of a user_id: pass both")
        parts = urlsplit(self.source_url)
        if not parts.hostname or parts.username is not None:
            raise ValueError("source_url is the RAD-69 endpoint, with a host and without credentials")

    def __repr__(self) -> str:
        return f"<Participants of {self.audit_source_id}>"


def instances_accessed(
    report: Report, participants: Participants, *, when: datetime | None = None, list_instances: bool = False
) -> bytes:
    """
    The audit message *DICOM Instances Accessed* (110103) for a retrieve, UTF-8.

    Its outcome is 0 for a complete retrieve, 4 where something is lacking, 8 where nothing came. It names each study
    that was asked for, and how many instances of it were delivered; of the source's own words it has none.

    Args:
        report: What became of every instance.
        participants: Who took part.
        when: When it was, with a time zone; now, if not given.
        list_instances: Whether to name every delivered instance: some 80 bytes for each.

    Raises:
        ValueError: *when* has no time zone.

    Source: PS3.15 A.5.1 (schema), A.5.3.6; RAD TF-2 4.69.5 (security considerations).
    """
    when = when or datetime.now(tz=UTC)
    if when.tzinfo is None:
        raise ValueError("when needs a time zone, e.g. datetime.now(tz=UTC)")
    message = ET.Element("AuditMessage")
    _event(message, report, when)
    _active_participants(message, participants)
    _audit_source(message, participants)
    _studies(message, report, list_instances=list_instances)
    if participants.patient_id is not None:
        _object(message, participants.patient_id, "1", "1", ("2", "RFC-3881", "Patient Number"))
    written: bytes = ET.tostring(message, encoding="utf-8", xml_declaration=True)
    return written


def audited(participants: Participants, handler: Handler, *, list_instances: bool = False) -> OnEvent:
    """
    An ``on_event=`` that hands *handler* the message of every retrieve as it ends, complete or not.

    Args:
        participants: Who takes part.
        handler: Called on the event loop: it must return at once. What it raises ends the retrieve.
        list_instances: As for `instances_accessed`.

    Raises:
        TypeError: *handler* is a coroutine function: events are not awaited. Pass the report to `audit` instead.
    """
    if inspect.iscoroutinefunction(handler):
        raise TypeError("on_event does not await: call 'await audit(report, participants, handler)' after the retrieve")

    def on_event(event: Event) -> None:
        if isinstance(event, RetrieveFinished):
            handler(instances_accessed(event.report, participants, list_instances=list_instances))

    return on_event


async def audit(
    report: Report, participants: Participants, handler: Handler | AsyncHandler, *, list_instances: bool = False
) -> None:
    """
    Hand *handler* the message for *report*, and await it where it is to be awaited.

    Args:
        report: Of a retrieve that has ended; an `IncompleteRetrieveError` has it, too.
        participants: Who took part.
        handler: A function or a coroutine function.
        list_instances: As for `instances_accessed`.
    """
    handled = handler(instances_accessed(report, participants, list_instances=list_instances))
    if inspect.isawaitable(handled):
        await handled


# --- the message's elements, in the schema's order


def _event(message: ET.Element, report: Report, when: datetime) -> None:
    event = ET.SubElement(
        message,
        "EventIdentification",
        EventActionCode="R",
        EventDateTime=when.isoformat(timespec="milliseconds"),
        EventOutcomeIndicator=_outcome(report),
    )
    _code(event, "EventID", ("110103", "DCM", "DICOM Instances Accessed"))
    _code(event, "EventTypeCode", ("RAD-69", "IHE Transactions", "Retrieve Imaging Document Set"))
    if not report.complete:
        ET.SubElement(event, "EventOutcomeDescription").text = (
            f"{len(report.delivered)} of {len(report.rows)} instances delivered, {len(report.refused)} refused, "
            f"{len(report.missing)} missing"
        )


def _outcome(report: Report) -> str:
    """Success, minor failure, serious failure (PS3.15 A.5.1.1)."""
    if report.complete:
        return "0"
    return "4" if report.delivered else "8"


def _active_participants(message: ET.Element, participants: Participants) -> None:
    parts = urlsplit(participants.source_url)
    endpoint = parts._replace(query="", fragment="").geturl()
    source = _participant(message, endpoint, requester=False, host=parts.hostname)
    _code(source, "RoleIDCode", ("110153", "DCM", "Source Role ID"))
    process = _participant(message, participants.process_id, requester=True, host=participants.host)
    _code(process, "RoleIDCode", ("110152", "DCM", "Destination Role ID"))
    if participants.user_id is not None:
        person = _participant(message, participants.user_id, requester=True, host=None)
        if participants.user_name is not None:
            person.set("UserName", participants.user_name)


def _participant(message: ET.Element, user_id: str, *, requester: bool, host: str | None) -> ET.Element:
    element = ET.SubElement(message, "ActiveParticipant", UserID=user_id, UserIsRequestor=str(requester).lower())
    if host is not None:
        element.set("NetworkAccessPointID", host)
        element.set("NetworkAccessPointTypeCode", "2" if _is_address(host) else "1")
    return element


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _audit_source(message: ET.Element, participants: Participants) -> None:
    source = ET.SubElement(message, "AuditSourceIdentification", AuditSourceID=participants.audit_source_id)
    if participants.enterprise_site_id is not None:
        source.set("AuditEnterpriseSiteID", participants.enterprise_site_id)
    # "Application server process"; the schema lets a number stand alone.
    ET.SubElement(source, "AuditSourceTypeCode", {"csd-code": "4"})


def _studies(message: ET.Element, report: Report, *, list_instances: bool) -> None:
    counts = Counter(row.reference.study_instance_uid for row in report.delivered)
    elements = {}
    for study_uid in dict.fromkeys(row.reference.study_instance_uid for row in report.rows):
        study = _object(message, study_uid, "2", "3", ("110180", "DCM", "Study Instance UID"))
        description = ET.SubElement(study, "ParticipantObjectDescription")
        # A report does not know SOP classes; the schema lets the UID be left out.
        elements[study_uid] = ET.SubElement(description, "SOPClass", NumberOfInstances=str(counts[study_uid]))
    if list_instances:
        for row in report.delivered:
            reference = row.reference
            ET.SubElement(elements[reference.study_instance_uid], "Instance", UID=reference.sop_instance_uid)


def _object(message: ET.Element, identifier: str, kind: str, role: str, code: tuple[str, str, str]) -> ET.Element:
    element = ET.SubElement(
        message,
        "ParticipantObjectIdentification",
        ParticipantObjectID=identifier,
        ParticipantObjectTypeCode=kind,
        ParticipantObjectTypeCodeRole=role,
    )
    _code(element, "ParticipantObjectIDTypeCode", code)
    # The schema wants a name or a query of every object; names of patients we do not have.
    ET.SubElement(element, "ParticipantObjectName").text = identifier
    return element


def _code(parent: ET.Element, name: str, code: tuple[str, str, str]) -> None:
    value, system, meaning = code
    ET.SubElement(
        parent,
        name,
        {"csd-code": value, "codeSystemName": system, "displayName": meaning, "originalText": meaning},
    )
