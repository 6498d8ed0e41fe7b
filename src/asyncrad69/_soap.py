"""
The answer: the root part of a reply, or a reply that is one XML document, with WS-Addressing or a fault.

Source: IHE RAD TF-2 4.69 (RAD-69), ITI TF-2 3.43 (ITI-43) and its appendix V; XOP 1.0; ebRS 3.0.
With `_soap_request` the only room that knows xmltodict.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import unquote
from xml.parsers import expat

import xmltodict

from ._errors import LimitExceeded, RegistryError, SoapError, SoapFault, registry_error_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SOAP_MEDIA_TYPE: Final = "application/soap+xml"
XOP_MEDIA_TYPE: Final = "application/xop+xml"

_SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
_SOAP_11 = "http://schemas.xmlsoap.org/soap/envelope/"
_ADDRESSING = "http://www.w3.org/2005/08/addressing"
_XDS = "urn:ihe:iti:xds-b:2007"
_EBRS = "urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0"
_XOP = "http://www.w3.org/2004/08/xop/include"


# --- the answer ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentResponse:
    """
    One DocumentResponse: what the source says it sends.

    Attributes:
        document_unique_id: The SOP Instance UID, as the source spells it.
        mime_type: ``application/dicom``, in lower case; sources are known to send others.
        content_id: The part that carries it, without ``cid:`` and percent-encoding; ``None`` if none was named.
        data: The document, where the source put it inside the XML; else ``None``.
    """

    document_unique_id: str
    mime_type: str
    content_id: str | None
    data: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """
    A parsed RetrieveDocumentSetResponse.

    Attributes:
        status: ``"Success"``, ``"PartialSuccess"``, ``"Failure"``, or another word that the source wrote last in it.
        errors: Every RegistryError, warnings included, in the source's order.
        documents: Every DocumentResponse, in the source's order.
        relates_to: The MessageID that this answers; ``None`` if the source does not say.
    """

    status: str
    errors: tuple[RegistryError, ...]
    documents: tuple[DocumentResponse, ...]
    relates_to: str | None

    @property
    def promised(self) -> frozenset[str]:
        """The document unique ids of those that come, by its own word."""
        coming = (each for each in self.documents if each.content_id is not None or each.data is not None)
        return frozenset(each.document_unique_id for each in coming)


def read_manifest(data: bytes, *, charset: str | None = None, http_status: int = 200, max_depth: int = 64) -> Manifest:
    """
    Parse a root part, or a whole reply that is one XML document, into a `Manifest`.

    Args:
        data: The XML. Its size is the caller's to bound; it is parsed once, in one piece, since older expat
            releases take quadratic time for a long token that comes in many pieces.
        charset: The charset parameter of its Content-Type; a byte order mark or an XML declaration outranks it.
        http_status: The status it came with, for a fault's `SoapFault.http_status`.
        max_depth: Elements in elements.

    Raises:
        SoapFault: The source answered with a fault, SOAP 1.1 or 1.2.
        SoapError: Not well-formed, forbidden constructs, not an envelope, or neither a status nor documents.
        LimitExceeded: Elements are nested too deeply.
    """
    envelope, documents = _parse(data, charset, max_depth)
    body = _child(envelope, "Body")
    if "Fault" in body:
        raise _fault(_child(body, "Fault"), http_status)
    if "RetrieveDocumentSetResponse" not in body:
        raise SoapError("the SOAP body holds no RetrieveDocumentSetResponse")
    response = _child(body, "RetrieveDocumentSetResponse")
    registry_response = response.get("RegistryResponse")
    if registry_response is None and not documents:
        raise SoapError("the answer has neither a RegistryResponse nor a document")
    registry_response = _dict(registry_response)
    return Manifest(
        status=_status(_text(registry_response.get("@status")).rpartition(":")[2]),
        errors=tuple(_registry_errors(registry_response)),
        documents=documents,
        relates_to=_relates_to(_child(envelope, "Header")),
    )


def _status(text: str) -> str:
    return (_code(text) or "unnamed") if text else "Success"


def _relates_to(header: dict[str, Any]) -> str | None:
    return next((_text(each).strip() for each in _list(header, "RelatesTo")), None) or None


def _document(fields: dict[str, str]) -> DocumentResponse:
    text = fields.get("Document", "")
    return DocumentResponse(
        # ITI TF-2 3.43.5: an on-demand document comes under the new id.
        document_unique_id=fields.get("NewDocumentUniqueId") or fields.get("DocumentUniqueId", ""),
        mime_type=fields.get("mimeType", "").partition(";")[0].strip().lower(),
        content_id=_content_id(fields.get("Include")),
        data=_maybe_base64(text) if text else None,
    )


def _content_id(href: object) -> str | None:
    """The Content-ID an xop:Include points to (RFC 2392); never anything that would have to be fetched."""
    scheme, _, rest = str(href or "").strip().partition(":")
    # A literal "+" is legal in a Content-ID: unquote, not unquote_plus.
    return unquote(rest) if scheme.lower() == "cid" and rest else None


def _registry_errors(registry_response: dict[str, Any]) -> Iterable[RegistryError]:
    for error_list in _list(registry_response, "RegistryErrorList"):
        for entry in _list(_dict(error_list), "RegistryError"):
            yield _registry_error(_dict(entry))


# What may stand in messages, reports and logs of ours: a code or a UID, never a server's free text.
_PRINTABLE_CODE = re.compile(r"[A-Za-z0-9:._-]{1,80}", re.ASCII)


def _code(value: object) -> str:
    """A code or a UID; empty for free text, which may be anything."""
    text = _text(value).strip()
    return text if _PRINTABLE_CODE.fullmatch(text) else ""


def _registry_error(entry: dict[str, Any]) -> RegistryError:
    code = _code(entry.get("@errorCode"))
    # rs.xsd: the default severity is Error.
    severity = _code(entry.get("@severity")).rpartition(":")[2] or "Error"
    return registry_error_class(code)(
        f"the source answered {code or 'an unnamed error'}" + ("" if severity == "Error" else f" ({severity.lower()})"),
        error_code=code,
        code_context=_text(entry.get("@codeContext")) or _text(entry),
        location=_code(entry.get("@location")),
        severity=severity,
    )


def _fault(fault: dict[str, Any], http_status: int) -> SoapFault:
    if "faultcode" in fault:  # SOAP 1.1: unqualified children
        codes = [_local(_code(fault["faultcode"]))]
        reason = _text(fault.get("faultstring"))
    else:
        codes = _fault_codes(_dict(fault.get("Code")))
        reason = next((_text(each) for each in _list(_child(fault, "Reason"), "Text")), "")
    code, *subcodes = codes or [""]
    shown = "/".join(filter(None, codes))
    return SoapFault(
        f"the source answered with a SOAP fault, {shown or 'without a code'}",
        code=code,
        subcodes=tuple(subcodes),
        reason=reason,
        http_status=http_status,
    )


def _fault_codes(code: dict[str, Any]) -> list[str]:
    codes = []
    while code:
        codes.append(_local(_code(code.get("Value"))))
        code = _dict(code.get("Subcode"))
    return codes


def _local(qname: str) -> str:
    return qname.strip().rpartition(":")[2]


# --- XML -----------------------------------------------------------------------------------------------

_SEPARATOR = "|"
_KNOWN_NAMESPACES: dict[str, None] = dict.fromkeys((_SOAP_12, _SOAP_11, _ADDRESSING, _XDS, _EBRS, _XOP))

_DOCUMENT_PATH = ["Body", "RetrieveDocumentSetResponse", "DocumentResponse"]  # below the Envelope

_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_DECLARED_ENCODING = re.compile(rb"<\?xml[^>]{0,100}\sencoding\s*=")


def _parse(data: bytes, charset: str | None, max_depth: int) -> tuple[dict[str, Any], tuple[DocumentResponse, ...]]:
    """The Envelope as a dictionary by local name, and the DocumentResponses, which are not in it."""
    if not data.startswith(_BYTE_ORDER_MARKS):
        data = data.lstrip(b" \t\r\n")  # some stacks put a blank line before the XML declaration
    guard = _Expat(max_depth)
    try:
        tree: dict[str, Any] = xmltodict.parse(  # type: ignore[no-untyped-call]
            data,
            encoding=_override(data, charset),
            expat=guard,
            process_namespaces=True,
            namespace_separator=_SEPARATOR,
            namespaces=_KNOWN_NAMESPACES,
        )
    # LookupError: an encoding nobody knows. ValueError: an entity declaration, or ours below.
    except (expat.ExpatError, ValueError, LookupError) as exc:
        raise SoapError(f"the SOAP part is not acceptable XML: {_xml_complaint(exc)}") from None
    if "Envelope" not in tree:
        raise SoapError("the XML is not a SOAP envelope")
    return _dict(tree["Envelope"]), tuple(map(_document, guard.documents))


def _xml_complaint(exc: Exception) -> str:
    if isinstance(exc, expat.ExpatError):
        return f"{expat.ErrorString(exc.code)}, line {exc.lineno}"
    return str(exc) if isinstance(exc, _Forbidden) else "an entity declaration or an unknown encoding"


def _override(data: bytes, charset: str | None) -> str | None:
    """The encoding to tell expat, where the XML does not say it itself (RFC 7303, 3)."""
    says_itself = data.startswith(_BYTE_ORDER_MARKS) or b"\0" in data[:4] or _DECLARED_ENCODING.match(data)
    known = charset is not None and charset.lower() in {"utf-8", "us-ascii", "iso-8859-1"}
    return charset if known and not says_itself else None


class _Forbidden(ValueError):
    """A construct that SOAP forbids, or that only an attacker writes."""


class _Expat:
    """
    What xmltodict takes as its ``expat``: a parser that refuses and diverts.

    It refuses a document type declaration (SOAP 1.2 part 1, 5: there must be none), which is the root of every
    entity attack, and nesting that no answer has. It diverts the DocumentResponses: there are hundreds of them, all
    alike, and a study of base64 in them would be held several times over in the tree.
    """

    ExpatError = expat.ExpatError

    # Set by xmltodict.parse.
    ordered_attributes: bool
    buffer_text: bool
    StartNamespaceDeclHandler: Callable[[str, str], None]
    StartElementHandler: Callable[[str, list[str]], None]
    EndElementHandler: Callable[[str], None]
    CharacterDataHandler: Callable[[str], None]
    EntityDeclHandler: Callable[..., NoReturn]

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth
        #: The text of the children of each DocumentResponse, and the href of its xop:Include, by local name.
        self.documents: list[dict[str, str]] = []
        self._local_names = _LocalNames()
        self._path: list[str] = []
        # Of the DocumentResponse at hand: its fields, the text of the field at hand, and how deep in it we are.
        self._fields: dict[str, str] = {}
        self._text: list[str] = []
        self._level = 0
        self._own_text = 0  # pieces of text before the element inside the field

    def ParserCreate(self, encoding: str | None, separator: str) -> _Expat:  # noqa: N802 - pyexpat's name
        self._parser = expat.ParserCreate(encoding, separator)
        return self

    def Parse(self, data: bytes, final: bool) -> None:  # noqa: FBT001, N802 - pyexpat's signature
        parser = self._parser
        parser.buffer_text = self.buffer_text
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        parser.EntityDeclHandler = self.EntityDeclHandler
        self._read_tree()
        parser.Parse(data, final)

    @staticmethod
    def _refuse_doctype(*_args: object) -> NoReturn:
        raise _Forbidden("a document type declaration")

    # Two sets of handlers. Every answer of a study calls the second thousands of times before its first image.

    def _read_tree(self) -> None:
        parser = self._parser
        parser.ordered_attributes = self.ordered_attributes
        parser.StartNamespaceDeclHandler = self.StartNamespaceDeclHandler
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self.CharacterDataHandler

    def _read_document(self) -> None:
        parser = self._parser
        parser.ordered_attributes = False
        parser.StartNamespaceDeclHandler = None
        parser.StartElementHandler = self._start_in_document
        parser.EndElementHandler = self._end_in_document
        parser.CharacterDataHandler = self._text.append
        self._fields, self._level = {}, 0

    def _start(self, name: str, attributes: list[str]) -> None:
        self._path.append(self._local_names[name])
        self._check_depth(len(self._path))
        if self._path[1:] == _DOCUMENT_PATH:
            self._read_document()
        else:
            self.StartElementHandler(name, attributes)

    def _end(self, name: str) -> None:
        self._path.pop()
        self.EndElementHandler(name)

    def _start_in_document(self, name: str, attributes: dict[str, str]) -> None:
        self._level = level = self._level + 1
        if level == 1:
            self._text.clear()
            return
        self._check_depth(len(self._path) + level)
        if level == 2:
            self._own_text = len(self._text)
        if "href" in attributes and self._local_names[name] == "Include":
            self._fields["Include"] = attributes["href"]

    def _end_in_document(self, name: str) -> None:
        self._level = level = self._level - 1
        if level == 0:
            # White space alone stands around an xop:Include.
            self._fields[self._local_names[name]] = "".join(self._text).strip()
        elif level == 1:
            del self._text[self._own_text :]
        elif level < 0:
            self.documents.append(self._fields)
            self._path.pop()
            self._read_tree()

    def _check_depth(self, depth: int) -> None:
        if depth > self._max_depth:
            raise LimitExceeded(
                f"the SOAP part nests elements deeper than {self._max_depth}",
                limit="max_xml_depth",
                maximum=self._max_depth,
            )


class _LocalNames(dict[str, str]):
    """Local names. Some writers forget the namespace; a name of another one is none of ours, and stays as it is."""

    def __missing__(self, name: str) -> str:
        namespace, _, local = name.rpartition(_SEPARATOR)
        self[name] = result = local if not namespace or namespace in _KNOWN_NAMESPACES else name
        return result


def _maybe_base64(text: str) -> bytes | None:
    try:
        return binascii.a2b_base64(text)
    except ValueError:
        return None


def _dict(value: object) -> dict[str, Any]:
    """An element as a dictionary; xmltodict gives a bare text for one that has nothing else."""
    if isinstance(value, dict):
        return value
    return {"#text": value} if isinstance(value, str) else {}


def _child(parent: dict[str, Any], name: str) -> dict[str, Any]:
    return _dict(parent.get(name))


def _list(parent: dict[str, Any], name: str) -> list[Any]:
    """A repeatable element; xmltodict gives nothing, one (``None`` for an empty one), or a list."""
    value = parent.get(name, [])
    return value if isinstance(value, list) else [value]


def _text(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("#text")
    return value if isinstance(value, str) else ""
