"""The envelope out and the root part in: by the schema, by the standard's words, and against attackers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from asyncrad69 import (
    DocumentReference,
    InstanceReference,
    LimitExceeded,
    Limits,
    SoapError,
    SoapFault,
    _errors as errors,
)
from asyncrad69._multipart import MultipartDecoder, Segment, content_type
from asyncrad69._soap import read_manifest
from asyncrad69._soap_request import (
    ACTIONS,
    Question,
    RetrieveDocumentSet,
    RetrieveImagingDocumentSet,
    mtom_body,
    new_message_id,
    simple_body,
)
from asyncrad69._transfer_syntaxes import AS_STORED
from replies import EBRS_STATUS, IHE_STATUS, SOAP_11, answer, document, envelope, error, fault_11, fault_12, include

SCHEMA = (
    Path(__file__).parents[1].parent
    / "shared"
    / "spec"
    / "schema"
    / "schema"
    / "IHE"
    / "XDSI.b_ImagingDocumentSource.xsd"
)
NAMESPACES = {
    "s": "http://www.w3.org/2003/05/soap-envelope",
    "a": "http://www.w3.org/2005/08/addressing",
    "r": "urn:ihe:rad:xdsi-b:2009",
    "i": "urn:ihe:iti:xds-b:2007",
}


ACTION = ACTIONS["RAD-69"]


def reference(study: int, series: int, instance: int, *, community: str | None = None) -> InstanceReference:
    """An instance of study 1.*study*, in repository 1.9."""
    return InstanceReference(
        f"1.{study}",
        f"1.{study}.{series}",
        f"1.{study}.{series}.{instance}",
        repository_unique_id="1.9",
        home_community_id=community,
    )


def request(*references: InstanceReference, transfer_syntaxes: tuple[str, ...] = AS_STORED) -> Any:
    """The request for *references*, parsed by another library than ours."""
    return parsed(RetrieveImagingDocumentSet(references=references, transfer_syntaxes=transfer_syntaxes))


def parsed(question: Question) -> Any:
    """The envelope, parsed by another library than ours."""
    return etree.fromstring(question.xml(to="https://source/rad69?a=1&b=<2>", message_id="urn:uuid:7"))


def texts(tree: Any, path: str) -> list[str]:
    """The texts or attribute values that *path* selects."""
    found = tree.xpath(path, namespaces=NAMESPACES)
    return [each if isinstance(each, str) else each.text for each in found]


# --- the request


@pytest.mark.skipif(not SCHEMA.is_file(), reason="needs the IHE schemas in ../shared/spec/schema")
@pytest.mark.parametrize(
    "references",
    [
        pytest.param([reference(1, 1, 1)], id="one"),
        pytest.param([reference(1, 1, 1), reference(1, 2, 1), reference(2, 1, 1), reference(1, 1, 2)], id="mixed"),
        pytest.param([reference(1, 1, 1, community="urn:oid:1.2.3")], id="community"),
    ],
)
def test_a_request_is_valid_by_the_schema(references: list[InstanceReference]) -> None:
    """The body validates against IHE's own XDS-I.b schema."""
    schema = etree.XMLSchema(etree.parse(str(SCHEMA)))
    (body,) = request(*references).xpath("s:Body/*", namespaces=NAMESPACES)
    schema.assertValid(body)


@pytest.mark.skipif(not SCHEMA.is_file(), reason="needs the IHE schemas in ../shared/spec/schema")
def test_a_request_for_documents_is_valid_by_the_schema() -> None:
    """ITI-43: another action, and the DocumentRequests alone in the body."""
    documents = (
        DocumentReference(repository_unique_id="1.9", document_unique_id="1.2.3^77<&>"),
        DocumentReference(repository_unique_id="1.9", document_unique_id="2.25.1", home_community_id="urn:oid:1.2.3"),
    )
    question = RetrieveDocumentSet(documents)
    tree = parsed(question)
    (body,) = tree.xpath("s:Body/*", namespaces=NAMESPACES)
    etree.XMLSchema(etree.parse(str(SCHEMA))).assertValid(body)
    assert texts(tree, "s:Header/a:Action") == [question.action] == ["urn:ihe:iti:2007:RetrieveDocumentSet"]
    assert texts(tree, "//i:DocumentUniqueId") == ["1.2.3^77<&>", "2.25.1"]
    assert question.asked == 2


def test_gateways_are_asked_with_another_action() -> None:
    """RAD-75 is RAD-69 with its own action, in the header and in the Content-Type."""
    question = RetrieveImagingDocumentSet(
        references=(reference(1, 1, 1, community="urn:oid:1.2.3"),),
        transfer_syntaxes=AS_STORED,
        transaction="RAD-75",
    )
    assert texts(parsed(question), "s:Header/a:Action") == [question.action] == [ACTIONS["RAD-75"]]
    assert f'action="{ACTIONS["RAD-75"]}"' in mtom_body(b"<x/>", question.action)[0]


def test_studies_and_series_are_grouped() -> None:
    """However references are mixed, a study and a series stand in the request once, with all their instances."""
    tree = request(reference(1, 1, 1), reference(2, 1, 1), reference(1, 2, 1), reference(1, 1, 2))
    assert texts(tree, "//r:StudyRequest/@studyInstanceUID") == ["1.1", "1.2"]
    assert texts(tree, "//r:SeriesRequest/@seriesInstanceUID") == ["1.1.1", "1.1.2", "1.2.1"]
    assert texts(tree, "//r:SeriesRequest[@seriesInstanceUID='1.1.1']//i:DocumentUniqueId") == ["1.1.1.1", "1.1.1.2"]
    assert set(texts(tree, "//i:RepositoryUniqueId")) == {"1.9"}
    assert texts(tree, "//i:HomeCommunityId") == []


def test_the_header_is_as_appendix_v_wants_it() -> None:
    """Action with mustUnderstand, no blank in it; anonymous ReplyTo without; To and MessageID as given."""
    tree = request(reference(1, 1, 1))
    assert texts(tree, "s:Header/a:Action") == [ACTION]
    assert texts(tree, "//@s:mustUnderstand") == ["1"]
    assert texts(tree, "s:Header/a:ReplyTo/a:Address") == ["http://www.w3.org/2005/08/addressing/anonymous"]
    assert texts(tree, "s:Header/a:To") == ["https://source/rad69?a=1&b=<2>"]
    assert texts(tree, "s:Header/a:MessageID") == ["urn:uuid:7"]


def test_the_body_is_one_element_and_nothing_else() -> None:
    """Document/literal: one child, no text beside it, in the sequence of the schema."""
    tree = request(
        reference(1, 1, 1, community="urn:oid:1.2"), transfer_syntaxes=("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
    )
    (body,) = tree.xpath("s:Body", namespaces=NAMESPACES)
    assert (len(body), (body.text or "").strip()) == (1, "")
    assert [etree.QName(each).localname for each in body[0]] == ["StudyRequest", "TransferSyntaxUIDList"]
    (asked,) = tree.xpath("//i:DocumentRequest", namespaces=NAMESPACES)
    assert [etree.QName(each).localname for each in asked] == [
        "HomeCommunityId",
        "RepositoryUniqueId",
        "DocumentUniqueId",
    ]
    assert texts(tree, "//r:TransferSyntaxUID") == ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]


def test_every_message_id_is_new() -> None:
    """CXF refuses a repeated one."""
    made = {new_message_id() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", each) for each in made)


def test_mtom_packaging_is_one_root_part() -> None:
    """The body decodes to the envelope alone, under the Content-ID that start names; action equals wsa:Action."""
    header, body = mtom_body(b"<x/>", ACTION)
    media_type, parameters = content_type(header)
    limits = Limits(max_preamble=1, max_header_line=200, max_header_count=3, max_headers=500, max_parts=1)
    decoder = MultipartDecoder(parameters["boundary"], limits)
    segment, *data, end = decoder.feed(body)
    decoder.finish()
    assert isinstance(segment, Segment)
    assert (media_type, parameters["type"], parameters["start-info"]) == (
        "multipart/related",
        "application/xop+xml",
        "application/soap+xml",
    )
    assert parameters["action"] == ACTION
    assert parameters["start"] == f"<{segment.content_id}>"
    assert (b"".join(bytes(each) for each in data if isinstance(each, bytes | memoryview)), end) == (b"<x/>", None)


def test_simple_packaging_is_the_envelope() -> None:
    """Simple SOAP: the bytes as they are, with charset and action in the header."""
    header, body = simple_body(b"<x/>", ACTION)
    assert body == b"<x/>"
    assert content_type(header) == ("application/soap+xml", {"charset": "utf-8", "action": ACTION})


# --- the manifest


@pytest.mark.parametrize(
    ("status", "read"),
    [
        (EBRS_STATUS + "Success", "Success"),
        (IHE_STATUS + "PartialSuccess", "PartialSuccess"),
        (EBRS_STATUS + "PartialSuccess", "PartialSuccess"),
        (EBRS_STATUS + "Failure", "Failure"),
        ("Failure", "Failure"),
        ("urn:x:Odd", "Odd"),
        ("", "Success"),
    ],
)
def test_the_status_is_read_by_its_end(status: str, read: str) -> None:
    """ITI TF-3 table 4.2.4.2-4, and the URN that older sources write."""
    assert read_manifest(answer(status=status).encode()).status == read


@pytest.mark.parametrize("code", sorted(errors._BY_CODE))
def test_every_code_has_its_class(code: str) -> None:
    """A RegistryError of each known code comes as its class, with the instance it concerns."""
    (read,) = read_manifest(answer(errors=[error(code, location=" 1.2.3 ")]).encode()).errors
    assert type(read) is errors.registry_error_class(code)
    assert (read.error_code, read.location, read.severity, read.code_context) == (code, "1.2.3", "Error", "text")
    assert code in str(read)


@pytest.mark.parametrize(
    ("written", "severity", "context", "message"),
    [
        (error("X", severity=None), "Error", "text", "the source answered X"),
        (error("X", severity="Warning"), "Warning", "text", "the source answered X (warning)"),
        ('<rs:RegistryError errorCode="X" severity="Warning">told</rs:RegistryError>', "Warning", "told", None),
        ("<rs:RegistryError>told</rs:RegistryError>", "Error", "told", "the source answered an unnamed error"),
        (error("Mr. Doe, 1970"), "Error", "text", "the source answered an unnamed error"),
        (error("y" * 81), "Error", "text", "the source answered an unnamed error"),
        (error("X", severity="Mr. Doe, 1970"), "Error", "text", "the source answered X"),
        (error("X", location="Mr. Doe, 1970"), "Error", "text", "the source answered X"),
        ("<rs:RegistryError/>", "Error", "", "the source answered an unnamed error"),
    ],
)
def test_odd_registry_errors(written: str, severity: str, context: str, message: str | None) -> None:
    """Without severity, without code, with text alone: a server's free text is in code_context and nowhere else."""
    (read,) = read_manifest(answer(errors=[written]).encode()).errors
    assert type(read) is errors.RegistryError
    assert (read.severity, read.code_context) == (severity, context)
    assert message is None or str(read) == message
    assert not {"Mr. Doe, 1970", "y" * 81} & {read.error_code, read.location, read.severity}
    assert "Doe" not in str(read)


@pytest.mark.parametrize(("status", "word"), [("urn:x:Failure", "Failure"), ("", "Success"), ("a:Mr. Doe", "unnamed")])
def test_a_status_is_a_word(status: str, word: str) -> None:
    """It is counted in the report, where no free text may be."""
    assert read_manifest(answer(status=status).encode()).status == word


def test_the_order_of_elements_is_not_trusted() -> None:
    """Documents before the RegistryResponse, children shuffled, an empty HomeCommunityId: read all the same."""
    xml = envelope(
        '<x:RetrieveDocumentSetResponse xmlns:x="urn:ihe:iti:xds-b:2007"><x:DocumentResponse>'
        f"<x:Document>{include('cid:a')}</x:Document><x:mimeType>Application/Dicom; a=b</x:mimeType>"
        "<x:DocumentUniqueId> 1.2 </x:DocumentUniqueId><x:HomeCommunityId/></x:DocumentResponse>"
        '<q:RegistryResponse xmlns:q="urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0" status="a:Success"/>'
        "</x:RetrieveDocumentSetResponse>"
    )
    manifest = read_manifest(xml.encode())
    assert manifest.status == "Success"
    assert manifest.relates_to is None
    (read,) = manifest.documents
    assert (read.document_unique_id, read.mime_type, read.content_id, read.data) == (
        "1.2",
        "application/dicom",
        "a",
        None,
    )


def test_an_empty_relates_to_is_none() -> None:
    """An empty RelatesTo says nothing about what is answered."""
    xml = answer().replace("urn:uuid:1</a:RelatesTo>", "</a:RelatesTo>")
    assert read_manifest(xml.encode()).relates_to is None


def test_an_on_demand_document_comes_under_its_new_id() -> None:
    """ITI TF-2 3.43.5: NewDocumentUniqueId identifies what is returned."""
    one = document("1.1", include("cid:a")).replace(
        "<mimeType>", "<NewDocumentUniqueId>1.5</NewDocumentUniqueId><mimeType>"
    )
    assert read_manifest(answer([one]).encode()).documents[0].document_unique_id == "1.5"


def test_only_what_stands_in_the_field_itself_is_its_text() -> None:
    """What elements in it hold, at any depth, is not; and what follows them is."""
    crafted = document("1.1", "QQ<a>x<b>y</b>z</a>==<c/>").replace("</mimeType>", "<d>dicom</d></mimeType>")
    (read,) = read_manifest(answer([crafted]).encode()).documents
    assert (read.data, read.mime_type) == (b"A", "application/dicom")


def test_documents_without_a_registry_response_are_read() -> None:
    """The documents count; nothing at all is an error."""
    head = '<RetrieveDocumentSetResponse xmlns="urn:ihe:iti:xds-b:2007">'
    full = envelope(f"{head}{document('1.1', include('cid:a'))}</RetrieveDocumentSetResponse>")
    assert len(read_manifest(full.encode()).documents) == 1
    with pytest.raises(SoapError, match="neither"):
        read_manifest(envelope(f"{head}</RetrieveDocumentSetResponse>").encode())


def test_nothing_in_a_document_can_point_elsewhere() -> None:
    """Documents in documents, in other namespaces, or numbers where base64 should be: no crash, no mix-up."""
    crafted = [
        document("1.1", "QQ=="),
        document("1.2", "<Document>QQ==</Document>5"),
        document("1.3", "<Document>0000</Document>"),
        document("1.4", "0"),
        document("1.5", "").replace("<Document></Document>", "<rs:Document>77</rs:Document>"),
    ]
    manifest = read_manifest(answer(crafted).encode())
    assert [each.data for each in manifest.documents] == [b"A", None, None, None, None]
    assert [each.content_id for each in manifest.documents] == [None] * 5
    assert manifest.promised == {"1.1"}


# --- faults


def test_a_soap_12_fault() -> None:
    """Code, subcodes from the outside in, reason, status; the reason is not in the message."""
    with pytest.raises(SoapFault) as caught:
        read_manifest(fault_12("Sender", subcode="ActionMismatch", reason="Mr. Doe").encode(), http_status=400)
    fault = caught.value
    assert (fault.code, fault.subcodes, fault.reason, fault.http_status) == (
        "Sender",
        ("ActionMismatch",),
        "Mr. Doe",
        400,
    )
    assert str(fault) == "the source answered with a SOAP fault, Sender/ActionMismatch"
    assert not fault.retryable


def test_free_text_in_place_of_a_fault_s_code() -> None:
    """It is no code, and not kept."""
    with pytest.raises(SoapFault, match=r"a SOAP fault, Sender$") as caught:
        read_manifest(fault_12("Sender", subcode="Mr. Doe").encode())
    assert "Doe" not in repr(vars(caught.value))


def test_a_soap_11_fault() -> None:
    """Unqualified faultcode and faultstring; Server may succeed later."""
    with pytest.raises(SoapFault) as caught:
        read_manifest(fault_11("Server", reason="down").encode(), http_status=500)
    assert (caught.value.code, caught.value.subcodes, caught.value.reason) == ("Server", (), "down")
    assert caught.value.retryable


@pytest.mark.parametrize("body", ["<s:Fault/>", "<s:Fault><s:Code/></s:Fault>", "<s:Fault>text</s:Fault>"])
@pytest.mark.parametrize("soap", [NAMESPACES["s"], SOAP_11])
def test_a_fault_without_a_code_is_still_a_fault(body: str, soap: str) -> None:
    """An empty fault is a fault."""
    with pytest.raises(SoapFault, match="without a code"):
        read_manifest(envelope(body, soap=soap).encode())


# --- encodings


@pytest.mark.parametrize(
    ("data", "charset"),
    [
        pytest.param(answer().encode("utf-8-sig"), "iso-8859-1", id="utf-8-mark-outranks-charset"),
        pytest.param(answer().encode("utf-16"), None, id="utf-16-mark"),
        pytest.param(answer().encode("utf-16"), "utf-8", id="utf-16-mark-outranks-charset"),
        pytest.param(('<?xml version="1.0" encoding="utf-16"?>' + answer()).encode("utf-16"), "utf-16", id="utf-16"),
        pytest.param(
            ('<?xml version="1.0" encoding="latin-1"?>' + answer(relates_to="é")).encode("latin-1"),
            "utf-8",
            id="declared",
        ),
        pytest.param(answer(relates_to="é").encode("latin-1"), "ISO-8859-1", id="charset"),
        pytest.param(answer(relates_to="é").encode(), "no-such-charset", id="unknown-charset-is-ignored"),
        pytest.param(
            b"\r\n \t" + b'<?xml version="1.0"?>' + answer().encode() + b"\r\n\r\n", None, id="white-space-around"
        ),
    ],
)
def test_encodings(data: bytes, charset: str | None) -> None:
    """RFC 7303: mark, then declaration, then charset; white space before the declaration is forgiven."""
    manifest = read_manifest(data, charset=charset)
    assert manifest.relates_to in {"é", "urn:uuid:1"}


# --- what is not an answer


@pytest.mark.parametrize(
    "body",
    ["", "<x/>", "<RetrieveDocumentSetResponse>text</RetrieveDocumentSetResponse>", "<RetrieveDocumentSetResponse/>"],
)
def test_another_body_is_refused(body: str) -> None:
    """An envelope without an answer in it."""
    with pytest.raises(SoapError):
        read_manifest(envelope(body).encode())


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "no element found"),
        (b"<html>", "no element found"),
        (b"<html><br></html>", "mismatched tag"),
        (b"<html/>", "not a SOAP envelope"),
        (b"<Envelope><Body/><Body/></Envelope>", "RetrieveDocumentSetResponse"),
        (b"<Envelope>text</Envelope>", "RetrieveDocumentSetResponse"),
        (b"<Envelope/>", "RetrieveDocumentSetResponse"),
        (b'<?xml version="1.0" encoding="no-such"?><x/>', "encoding"),
        (b"<x>\xff</x>", "not well-formed"),
        (b"<x>\0</x>", "not well-formed"),
        (answer().encode()[:-9], "line 1"),
    ],
)
def test_what_is_not_soap_is_refused(data: bytes, word: str) -> None:
    """Not XML, cut XML, other XML: a SoapError that says what and where, without quoting it."""
    with pytest.raises(SoapError, match=word) as caught:
        read_manifest(data)
    assert "html" not in str(caught.value)


BOMB = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9))


@pytest.mark.parametrize(
    ("prolog", "word"),
    [
        pytest.param(f'<!DOCTYPE x [<!ENTITY a0 "x">{BOMB}]>', "document type", id="billion-laughs"),
        pytest.param('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>', "document type", id="external-entity"),
        pytest.param('<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">', "document type", id="external-subset"),
        pytest.param("<!DOCTYPE x>", "document type", id="bare"),
        pytest.param(
            '<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:9/">%p;]>', "document type", id="parameter-entity"
        ),
    ],
)
def test_a_document_type_is_refused(prolog: str, word: str) -> None:
    """SOAP 1.2 part 1, 5: there must be none; no entity is ever expanded or fetched."""
    with pytest.raises(SoapError, match=word):
        read_manifest((prolog + answer()).encode())


@pytest.mark.parametrize("inside", ["<s:Header>", "<Document>"])
@pytest.mark.parametrize("depth", [50, 100, 100_000])
def test_deep_nesting_is_refused(depth: int, inside: str) -> None:
    """Up to a depth no answer has it is ignored; beyond it is refused before it costs anything."""
    nest = inside + "<x>" * depth + "</x>" * depth
    xml = answer([document("1.1", include("cid:a"))]).replace(inside, nest).encode()
    if depth < 59:
        assert read_manifest(xml).status == "Success"
    else:
        with pytest.raises(LimitExceeded, match="deeper than 64") as caught:
            read_manifest(xml)
        assert (caught.value.limit, caught.value.maximum) == ("max_xml_depth", 64)


def test_processing_instructions_and_comments_are_ignored() -> None:
    """Neither changes what is read."""
    xml = answer([document("1.1", "<!-- x -->QQ<?x y?>==")]).replace("<s:Header>", "<!-- x --><?x y?><s:Header>")
    assert read_manifest(xml.encode()).documents[0].data == b"A"


def test_many_attributes_and_namespaces_are_read_in_linear_time() -> None:
    """Twenty thousand of them are parsed, not compared with each other."""
    many = "".join(f' a{n}="x" xmlns:n{n}="urn:{n}"' for n in range(20_000))
    assert read_manifest(answer().replace("<s:Header>", f"<s:Header><x{many}/>").encode()).status == "Success"
