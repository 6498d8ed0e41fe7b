"""The WS-Security header: what is one, when it expires, and that not a byte of it changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from asyncrad69._references import InstanceReference
from asyncrad69._security_header import read_security_header
from asyncrad69._soap_request import RetrieveImagingDocumentSet

WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"


def security(content: str = "", attributes: str = "") -> str:
    """A header element with *content*."""
    return f'<wsse:Security xmlns:wsse="{WSSE}"{attributes}>{content}</wsse:Security>'


def conditions(not_on_or_after: str) -> str:
    """What a SAML assertion says about its time."""
    return f'<x:Assertion xmlns:x="{SAML}"><x:Conditions NotOnOrAfter="{not_on_or_after}"/></x:Assertion>'


@pytest.mark.parametrize(
    "given",
    [
        security(),
        security(" <a xmlns=''  b = 'c'></a>\r\n\t<!-- x -->&#xe9;é"),
        f'<Security xmlns="{WSSE}"/>',
        security("", ' xmlns:s="http://www.w3.org/2003/05/soap-envelope" s:mustUnderstand="true"'),
    ],
)
def test_a_header_is_kept_to_the_byte(given: str) -> None:
    """White space, quotes, references and prefixes inside the element stay as they are, in the envelope too."""
    for form in (given, given.encode(), f'\ufeff<?xml version="1.0" encoding="utf-8"?>\n{given}\n'.encode()):
        header = read_security_header(form)
        assert header.element == given.encode()
    question = RetrieveImagingDocumentSet(
        references=(InstanceReference("1.2", "1.3", "1.4", repository_unique_id="1.5"),),
        transfer_syntaxes=("1.2.840.10008.1.2.1",),
    )
    envelope = question.xml(to="https://source.example/", message_id="urn:uuid:1", security_header=header.element)
    assert b"</a:To>" + given.encode() + b"</s:Header><s:Body>" in envelope
    assert "wsse" not in repr(header)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "not well-formed"),
        ("secret", "not well-formed"),
        (security("<secret>"), "not well-formed"),
        (security() + security(), "not well-formed"),
        (security("<secret:a/>"), "unbound prefix"),
        ('<wsse:Security secret="1"/>', "unbound prefix"),
        ("<Security>secret</Security>", "not a wsse:Security"),
        (f'<x:Assertion xmlns:x="{SAML}">secret</x:Assertion>', "put the assertion into"),
        (security("<a>" * 70 + "</a>" * 70), "deeper than 64"),
        (security("<?secret x?>"), "processing instruction"),
        ('<!DOCTYPE secret [<!ENTITY a "b">]>' + security("&a;"), "document type"),
        (security("&secret;"), "not well-formed"),
        (security("secret" * 200_000), "larger than"),
        (security().encode("utf-16"), "another encoding"),
        (security().encode("utf-16-le"), "another encoding"),
        (security("\udcff"), "another encoding"),
        (security("é").encode("latin-1"), "another encoding"),
        (b'<?xml version="1.0" encoding="latin-1"?>' + security().encode(), "another encoding"),
    ],
)
def test_what_is_no_header_is_refused(given: str | bytes, message: str) -> None:
    """Anything but one self-contained wsse:Security element is a ValueError that repeats nothing of it."""
    with pytest.raises(ValueError, match=message) as caught:
        read_security_header(given)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_another_type_is_refused() -> None:
    """An element of an XML library would have to be written anew: it has no bytes."""
    with pytest.raises(TypeError, match="bytes or str"):
        read_security_header(1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", None),
        (conditions("2026-01-02T03:04:05Z"), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (conditions("2026-01-02T03:04:05.1234567Z"), datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        (conditions("2026-01-02T03:04:05"), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (conditions("2026-01-02T03:04:05+01:00"), datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)),
        (conditions("2027-01-01T00:00:00Z") + conditions("2026-01-01T00:00:00Z"), datetime(2026, 1, 1, tzinfo=UTC)),
        (conditions("tomorrow"), None),
        (conditions("2026-01-01T00:00:00Z").replace(SAML, "urn:other"), None),
    ],
)
def test_when_it_expires(content: str, expected: datetime | None) -> None:
    """The earliest NotOnOrAfter of SAML's Conditions, in UTC; none where there is none."""
    assert read_security_header(security(content)).not_on_or_after == expected


@pytest.mark.parametrize(("seconds", "late"), [(-10, True), (50, True), (3600, False)])
def test_a_minute_for_the_clocks(seconds: int, late: bool) -> None:
    """It is renewed a minute before it expires."""
    when = (datetime.now(tz=UTC) + timedelta(seconds=seconds)).isoformat()
    assert read_security_header(security(conditions(when))).expires_within_a_minute() is late
