"""
How a stack writes its answers: one row per stack, and nothing that is not visible in the bytes.

The rows follow the stacks' own writers; gSOAP's, and the prefixes of all, are what such servers are commonly seen to
send.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_IHE_PARTIAL: Final = "urn:ihe:iti:2007:ResponseStatusType:PartialSuccess"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefixes:
    """The namespace prefixes; an empty one makes that namespace the default."""

    soap: str = "s"
    addressing: str = "a"
    xds: str = ""
    ebrs: str = "rs"
    xop: str = "xop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """
    The shape of an answer.

    Templates know a UUID of this answer, ``{token}`` or ``{hex}``; Content-IDs of instances ``{number}``, too.

    Attributes:
        content_type: The header, a template of ``{boundary}``, ``{root_id}`` and ``{action}``.
        boundary: A template.
        root_id: The Content-ID of the root part without angle brackets, a template.
        part_id: The same of an instance.
        percent_encoded: Whether references to a Content-ID are percent-encoded (RFC 2392, 2).
        headers: The headers of a part, in order and case.
        root_encoding: Content-Transfer-Encoding of the root part; that of an instance is binary.
        part_type: Content-Type of an instance.
        preamble: What comes before the first delimiter.
        after_root: What stands between the XML and the delimiter's own CRLF.
        close: The end of the close delimiter, after its boundary.
        declaration: The XML declaration, if there is one.
        prefixes: Of the namespaces.
        partial_success: The status URN of an answer with some of what was asked.
        inline_size: Instances of at most so many bytes stand in the XML as base64 and have no part.
        backwards: Whether the instances come in another order than asked.
        faults_in_multipart: Whether a SOAP fault is packaged like an answer.
        faults_with_200: Whether it comes with HTTP status 200.
    """

    content_type: str = (
        'multipart/related; boundary="{boundary}"; type="application/xop+xml"; start="<{root_id}>"; '
        'start-info="application/soap+xml"'
    )
    boundary: str = "uuid:{token}"
    root_id: str
    part_id: str
    percent_encoded: bool = True
    headers: tuple[str, ...] = ("Content-Type", "Content-Transfer-Encoding", "Content-ID")
    root_encoding: str = "binary"
    part_type: str = "application/dicom"
    preamble: bytes = b""
    after_root: bytes = b""
    close: bytes = b"--\r\n"
    declaration: str = '<?xml version="1.0" encoding="UTF-8"?>'
    prefixes: Prefixes = Prefixes()
    partial_success: str = _IHE_PARTIAL
    inline_size: int = -1
    backwards: bool = False
    faults_in_multipart: bool = False
    faults_with_200: bool = False


PROFILES: Final[Mapping[str, Profile]] = {
    # The plus is legal in a Content-ID, and percent-encoded in a URL: a consumer has to undo that (RFC 2392 2).
    "plain": Profile(root_id="0+{token}@simulated-source.invalid", part_id="{number}+{token}@simulated-source.invalid"),
    # dcm4chee, IPF
    "cxf": Profile(
        content_type=(
            'multipart/related; type="application/xop+xml"; boundary="{boundary}"; start="<{root_id}>"; '
            'start-info="application/soap+xml"'
        ),
        root_id="root.message@cxf.apache.org",
        part_id="{token}-{number}@urn:ihe:iti:xds-b:2007",
        preamble=b"\r\n",
        close=b"--",
        declaration="",
        prefixes=Prefixes(soap="soap", addressing="wsa", xds="ns4", ebrs="ns3"),
        faults_in_multipart=True,
    ),
    "metro": Profile(
        content_type=(
            'multipart/related;start="<{root_id}>";type="application/xop+xml";boundary="{boundary}";'
            'start-info="application/soap+xml;action=\\"{action}\\""'
        ),
        root_id="rootpart*{token}@example.jaxws.sun.com",
        part_id="{number}-{token}@example.jaxws.sun.com",
        percent_encoded=False,
        headers=("Content-Id", "Content-Type", "Content-Transfer-Encoding"),
        close=b"--",
        prefixes=Prefixes(soap="S", addressing="wsa", xds="ns2", ebrs="ns3", xop="xop"),
    ),
    "axis2": Profile(
        content_type=(
            'multipart/related; boundary={boundary}; type="application/xop+xml"; start="<{root_id}>"; '
            'start-info="application/soap+xml; action=\\"{action}\\""'
        ),
        boundary="MIMEBoundary_{hex}",
        root_id="0.urn:uuid:{hex}@apache.org",
        part_id="{number}.urn:uuid:{hex}@apache.org",
        percent_encoded=False,
        headers=("Content-Type", "Content-Transfer-Encoding", "Content-ID"),
        declaration="<?xml version='1.0' encoding='UTF-8'?>",
        prefixes=Prefixes(soap="soapenv", addressing="wsa", xds="xdsb", ebrs="rs"),
    ),
    "wcf": Profile(
        content_type=(
            'multipart/related;type="application/xop+xml";start="<{root_id}>";boundary="{boundary}";'
            'start-info="application/soap+xml"'
        ),
        boundary="uuid:{token}+id=5",
        root_id="http://tempuri.org/0",
        part_id="http://tempuri.org/{number}/{token}",
        headers=("Content-ID", "Content-Transfer-Encoding", "Content-Type"),
        root_encoding="8bit",
        part_type="application/octet-stream",
        preamble=b"\r\n",
        declaration="",
        inline_size=767,
        faults_in_multipart=True,
    ),
    "gsoap": Profile(
        content_type=(
            'multipart/related; charset=utf-8; type="application/xop+xml"; start="<{root_id}>"; '
            'start-info="application/soap+xml"; boundary="{boundary}"'
        ),
        boundary="=={token}==",
        root_id="SOAP-ENV:Envelope",
        part_id="id{number}-{token}",
        percent_encoded=False,
        close=b"--",
        prefixes=Prefixes(soap="SOAP-ENV", addressing="wsa5", xds="xdsb", ebrs="rs"),
    ),
    "toolkit2": Profile(
        content_type=(
            'multipart/related; boundary={boundary};  type="application/xop+xml"; start="<{root_id}>"; '
            'start-info="application/soap+xml"'
        ),
        boundary="MIMEBoundary112233445566778899",
        root_id="doc0@ihexds.nist.gov",
        part_id="doc{number}@ihexds.nist.gov",
        percent_encoded=False,
        after_root=b"\r\n\r\n",
        declaration="",
        prefixes=Prefixes(soap="S", addressing="wsa", xds="xdsb", ebrs="rs"),
        backwards=True,
        faults_in_multipart=True,
        faults_with_200=True,
    ),
}


def profile_named(name: str) -> Profile:
    """
    The row of that name.

    Raises:
        ValueError: There is none; the message names those that are.
    """
    if name not in PROFILES:
        raise ValueError(f"profile is one of {', '.join(PROFILES)}, not {name!r}")
    return PROFILES[name]
