"""
The WS-Security header element of a request, e.g. with a SAML assertion (OASIS WSS 1.1, SAML token profile; IHE
ITI TF-2 3.40, XUA). It is checked and looked into, never written anew: that would break its signatures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn
from xml.parsers import expat

_WSSE: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
_SAML: Final = "urn:oasis:names:tc:SAML:2.0:assertion"

_MAX_SIZE: Final = 1024 * 1024
_MAX_DEPTH: Final = 64

# The clocks of whoever issued it, and of whoever checks it, are not ours.
_CLOCK_SKEW: Final = timedelta(minutes=1)

_DECLARATION: Final = re.compile(rb"""<\?xml\s[^>]*?(?:encoding\s*=\s*["']([\w.-]+)["'][^>]*?)?\?>""")
_NOT_UTF_8: Final = "the security header is in another encoding than UTF-8, which the envelope around it has"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityHeader:
    """
    A wsse:Security element that may be sent.

    Attributes:
        element: The element, byte for byte as it was given.
        not_on_or_after: When the first of its SAML assertions expires; ``None`` where none says so.
    """

    element: bytes = field(repr=False)
    not_on_or_after: datetime | None

    def expires_within_a_minute(self) -> bool:
        """Whether it is too late to send it; ``False`` where it does not say when it expires."""
        return self.not_on_or_after is not None and datetime.now(tz=UTC) >= self.not_on_or_after - _CLOCK_SKEW


def read_security_header(given: bytes | str) -> SecurityHeader:
    """
    Check that *given* is one wsse:Security element that can stand in an envelope as it is.

    White space, a byte order mark and an XML declaration around the element are left out. No message has anything
    of its content.

    Raises:
        TypeError: It is neither bytes nor text.
        ValueError: Not well-formed by itself, another element, or a construct that SOAP forbids.
    """
    if not isinstance(given, bytes | str):
        raise TypeError(f"the security header is bytes or str, not {type(given).__name__}")
    element = _bare(given)
    if len(element) > _MAX_SIZE:
        raise ValueError(f"the security header is larger than {_MAX_SIZE} bytes")
    reading = _Reading()
    try:
        reading.read(element)
    except expat.ExpatError as exc:
        # An unbound prefix is among these: the envelope around it declares none of them.
        reason = f"{expat.ErrorString(exc.code)}, line {exc.lineno}"
        raise ValueError(f"the security header is not well-formed XML by itself: {reason}") from None
    return SecurityHeader(element=element, not_on_or_after=min(reading.expiries, default=None))


def _bare(given: bytes | str) -> bytes:
    """The element alone, in UTF-8."""
    try:
        data = given.encode() if isinstance(given, str) else given
        text = data.decode()
    except UnicodeError:
        raise ValueError(_NOT_UTF_8) from None
    if "\0" in text:  # UTF-16, which expat would take
        raise ValueError(_NOT_UTF_8)
    data = data.removeprefix(_BYTE_ORDER_MARK).strip(b" \t\r\n")
    if declaration := _DECLARATION.match(data):
        encoding = (declaration[1] or b"utf-8").lower()
        if isinstance(given, bytes) and encoding not in {b"utf-8", b"us-ascii"}:
            raise ValueError(_NOT_UTF_8)
        data = data[declaration.end() :].lstrip(b" \t\r\n")
    return data


class _Reading:
    """One pass over the element: refuse what may not be there, and note when its assertions expire."""

    def __init__(self) -> None:
        self.expiries: list[datetime] = []
        self._depth = 0

    def read(self, data: bytes) -> None:
        parser = expat.ParserCreate("utf-8", "|")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        # SOAP 1.2 part 1, 5: neither of the two may be in a message.
        parser.StartDoctypeDeclHandler = self._refuse
        parser.ProcessingInstructionHandler = self._refuse
        parser.Parse(data, True)  # noqa: FBT003 - pyexpat's signature

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 1 and name != f"{_WSSE}|Security":
            raise ValueError(
                "the security header is not a wsse:Security element: put the assertion into "
                f'<wsse:Security xmlns:wsse="{_WSSE}">...</wsse:Security>'
            )
        if self._depth > _MAX_DEPTH:
            raise ValueError(f"the security header is nested deeper than {_MAX_DEPTH} elements")
        if name == f"{_SAML}|Conditions" and (expiry := _date_time(attributes.get("NotOnOrAfter", ""))):
            self.expiries.append(expiry)

    def _end(self, _name: str) -> None:
        self._depth -= 1

    @staticmethod
    def _refuse(*_args: object) -> NoReturn:
        raise ValueError("the security header has a document type declaration or a processing instruction in it")


def _date_time(text: str) -> datetime | None:
    """SAML core 1.3.3: xs:dateTime, in UTC."""
    try:
        value = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
