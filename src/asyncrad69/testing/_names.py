"""The names that RAD-69 shares between question and answer: namespaces, actions and media types."""

from __future__ import annotations

from typing import Final

SOAP: Final = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING: Final = "http://www.w3.org/2005/08/addressing"
XDSI: Final = "urn:ihe:rad:xdsi-b:2009"
XDS: Final = "urn:ihe:iti:xds-b:2007"
EBRS: Final = "urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0"
WSSE: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
XOP: Final = "http://www.w3.org/2004/08/xop/include"

REQUEST_ACTION: Final = "urn:ihe:rad:2009:RetrieveImagingDocumentSet"
CROSS_GATEWAY_ACTION: Final = "urn:ihe:rad:2011:CrossGatewayRetrieveImagingDocumentSet"
DOCUMENTS_ACTION: Final = "urn:ihe:iti:2007:RetrieveDocumentSet"
# Not a RAD urn: RAD-69 answers with the message of ITI-43.
RESPONSE_ACTION: Final = "urn:ihe:iti:2007:RetrieveDocumentSetResponse"

SOAP_MEDIA_TYPE: Final = "application/soap+xml"
XOP_MEDIA_TYPE: Final = "application/xop+xml"
