"""
The XML of an answer: a RetrieveDocumentSetResponse or a SOAP fault, in the prefixes of a profile.

Source: ITI TF-2 3.43, ebRS 3.0, SOAP 1.2 part 1, WS-Addressing 1.0.
"""

from __future__ import annotations

import base64
import uuid
from typing import TYPE_CHECKING, Final
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from ._names import ADDRESSING, EBRS, RESPONSE_ACTION, SOAP, WSSE, XDS, XOP

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._outcome import Document, Outcome, Problem
    from ._profiles import Profile
    from ._request import Refusal

_SUCCESS: Final = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Success"
_FAILURE: Final = "urn:oasis:names:tc:ebxml-regrep:ResponseStatusType:Failure"
_ERROR: Final = "urn:oasis:names:tc:ebxml-regrep:ErrorSeverityType:Error"

# WS-Addressing 1.0 SOAP binding, 6: one action for its own faults, one for all others.
_ADDRESSING_FAULT: Final = "http://www.w3.org/2005/08/addressing/fault"
_SOAP_FAULT: Final = "http://www.w3.org/2005/08/addressing/soap/fault"


def response_xml(
    outcome: Outcome, profile: Profile, *, relates_to: str, maybe_content_id: Callable[[Document], str | None]
) -> bytes:
    """
    The envelope of an answer.

    Args:
        outcome: What is answered.
        profile: In which shape.
        relates_to: The MessageID of the request.
        maybe_content_id: The part of a document; one that has none stands in the XML. That reads it.
    """
    prefixes = profile.prefixes
    documents = (_document_response(each, profile, maybe_content_id(each)) for each in outcome.documents)
    name = _named(prefixes.xds, "RetrieveDocumentSetResponse")
    response = (
        f"<{name} {_declared(prefixes.xds, XDS)} {_declared(prefixes.ebrs, EBRS)}>"
        f"{_registry_response(outcome, profile)}{''.join(documents)}</{name}>"
    )
    return _envelope(response, profile, action=RESPONSE_ACTION, relates_to=relates_to)


def _named(prefix: str, name: str) -> str:
    return f"{prefix}:{name}" if prefix else name


def _declared(prefix: str, namespace: str) -> str:
    return f'xmlns:{prefix}="{namespace}"' if prefix else f'xmlns="{namespace}"'


def _registry_response(outcome: Outcome, profile: Profile) -> str:
    status = {"Success": _SUCCESS, "PartialSuccess": profile.partial_success, "Failure": _FAILURE}[outcome.status]
    prefix = profile.prefixes.ebrs
    errors = "".join(_registry_error(problem, prefix) for problem in outcome.problems)
    if errors:
        name = _named(prefix, "RegistryErrorList")
        errors = f'<{name} highestSeverity="{_ERROR}">{errors}</{name}>'
    name = _named(prefix, "RegistryResponse")
    return f'<{name} status="{status}">{errors}</{name}>'


def _registry_error(problem: Problem, prefix: str) -> str:
    location = f" location={quoteattr(problem.location)}" if problem.location else ""
    return (
        f"<{_named(prefix, 'RegistryError')} errorCode={quoteattr(problem.code)} "
        f'codeContext={quoteattr(problem.context)} severity="{_ERROR}"{location}/>'
    )


def _document_response(document: Document, profile: Profile, content_id: str | None) -> str:
    asked = document.reference

    def element(name: str, content: str) -> str:
        name = _named(profile.prefixes.xds, name)
        return f"<{name}>{content}</{name}>"

    # ITI TF-2 3.43.4.2.2: the answer names the community if and only if the request did.
    community = element("HomeCommunityId", escape(asked.home_community_id)) if asked.home_community_id else ""
    return element(
        "DocumentResponse",
        community
        + element("RepositoryUniqueId", escape(asked.repository_unique_id or ""))
        + element("DocumentUniqueId", escape(asked.sop_instance_uid))
        + element("mimeType", "application/dicom")
        + element("Document", _inline(document) if content_id is None else _include(content_id, profile)),
    )


def _inline(document: Document) -> str:
    return base64.b64encode(b"".join(document.stored.pieces(1 << 20))).decode()


def _include(content_id: str, profile: Profile) -> str:
    prefix = profile.prefixes.xop
    href = quote(content_id, safe="@") if profile.percent_encoded else content_id
    return f"<{_named(prefix, 'Include')} {_declared(prefix, XOP)} href={quoteattr('cid:' + href)}/>"


def fault_xml(fault: Refusal, profile: Profile, *, relates_to: str | None) -> bytes:
    """The envelope of a SOAP 1.2 fault; *relates_to* is the MessageID of the request, if it had one."""
    soap = profile.prefixes.soap
    namespace = WSSE if fault.security else ADDRESSING
    code = ""
    for subcode in reversed(fault.subcodes):
        value = f'<{soap}:Value xmlns:c="{namespace}">c:{subcode}</{soap}:Value>'
        code = f"<{soap}:Subcode>{value}{code}</{soap}:Subcode>"
    body = (
        f"<{soap}:Fault><{soap}:Code><{soap}:Value>{soap}:{fault.code}</{soap}:Value>{code}</{soap}:Code>"
        f'<{soap}:Reason><{soap}:Text xml:lang="en">{escape(fault.reason)}</{soap}:Text></{soap}:Reason></{soap}:Fault>'
    )
    action = _ADDRESSING_FAULT if fault.subcodes and not fault.security else _SOAP_FAULT
    return _envelope(body, profile, action=action, relates_to=relates_to)


def _envelope(body: str, profile: Profile, *, action: str, relates_to: str | None) -> bytes:
    soap, addressing = profile.prefixes.soap, profile.prefixes.addressing
    related = f"<{addressing}:RelatesTo>{escape(relates_to)}</{addressing}:RelatesTo>" if relates_to else ""
    return (
        f'{profile.declaration}<{soap}:Envelope xmlns:{soap}="{SOAP}" xmlns:{addressing}="{ADDRESSING}"><{soap}:Header>'
        f'<{addressing}:Action {soap}:mustUnderstand="1">{action}</{addressing}:Action>'
        f"<{addressing}:MessageID>urn:uuid:{uuid.uuid4()}</{addressing}:MessageID>{related}"
        f"</{soap}:Header><{soap}:Body>{body}</{soap}:Body></{soap}:Envelope>"
    ).encode()
