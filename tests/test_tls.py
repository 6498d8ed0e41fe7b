"""TLS: whom we trust and who we are, on real sockets; and an assertion whose signature arrives as it was made."""

from __future__ import annotations

import re
import socket
import ssl
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import pytest
import trustme
import truststore
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, SignatureMethod
from signxml.exceptions import InvalidSignature
from signxml.signer import XMLSigner
from signxml.verifier import XMLVerifier

from asyncrad69 import (
    AsyncRad69,
    InstanceReference,
    Rad69,
    Rad69Error,
    Retry,
    SoapFault,
    TLSError,
    TransportError,
    XDSMissingDocumentError,
)
from asyncrad69._tls import tls_context
from asyncrad69.testing import SimulatedSource, write_kos
from certificates import authority, served
from source import Asked, Scripted, ScriptedSource, no

if TYPE_CHECKING:
    from pathlib import Path

REFERENCE = InstanceReference("1.2.3", "1.2.3.1", "1.2.3.1.1", repository_unique_id="1.9")
KEY_PASSWORD = "sentinelpassword"

WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
SOAP = "http://www.w3.org/2003/05/soap-envelope"


async def failure(url: str, **options: Any) -> Rad69Error:
    """What asking for one instance ends with."""
    async with AsyncRad69(url, retry=Retry(attempts=1), **options) as rad69:
        with pytest.raises(Rad69Error) as caught:
            await rad69.get_dataset(REFERENCE)
    return caught.value


@cache
def client() -> trustme.LeafCert:
    """Our certificate."""
    return authority().issue_cert("client@asyncrad69.test")


class Files:
    """The authority, our certificate and its keys, as PEM files."""

    def __init__(self, folder: Path) -> None:
        self.ca = folder / "ca.pem"
        self.certificate = folder / "client.pem"
        self.key = folder / "client.key"
        self.both = folder / "both.pem"
        self.encrypted = folder / "encrypted.key"
        authority().cert_pem.write_to_path(str(self.ca))
        client().cert_chain_pems[0].write_to_path(str(self.certificate))
        client().private_key_pem.write_to_path(str(self.key))
        client().private_key_and_cert_chain_pem.write_to_path(str(self.both))
        encryption = BestAvailableEncryption(KEY_PASSWORD.encode())
        key = load_pem_private_key(client().private_key_pem.bytes(), None)
        self.encrypted.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """As an operator hands them out."""
    return Files(tmp_path_factory.mktemp("tls"))


# --- mutual TLS ----------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("form", ["pair", "one file", "encrypted", "context"])
async def test_the_client_s_certificate(files: Files, form: str) -> None:
    """A source that requires a certificate takes ours, however it is given."""
    context = ssl.create_default_context(cafile=files.ca)
    context.load_cert_chain(files.certificate, files.key)
    options: dict[str, dict[str, Any]] = {
        "pair": {"verify": files.ca, "cert": (files.certificate, str(files.key))},
        "one file": {"verify": files.ca, "cert": files.both},
        "encrypted": {"verify": files.ca, "cert": (files.certificate, files.encrypted, KEY_PASSWORD)},
        "context": {"ssl_context": context},
    }
    with ScriptedSource(no, tls=served(asks=True)) as source:
        assert isinstance(await failure(source.url, **options[form]), XDSMissingDocumentError)


@pytest.mark.anyio
async def test_without_a_certificate(files: Files) -> None:
    """The error says what is missing and how to pass it."""
    with ScriptedSource(no, tls=served(asks=True)) as source:
        error = await failure(source.url, verify=files.ca)
    assert isinstance(error, TLSError)
    assert error.message == "the source requires a client certificate"
    assert "cert=(certificate, key)" in str(error.hint)


def test_the_blocking_client_has_it_too(files: Files) -> None:
    """`Rad69` takes the same certificate."""
    with (
        ScriptedSource(no, tls=served(asks=True)) as source,
        Rad69(source.url, verify=files.ca, cert=files.both) as rad69,
        pytest.raises(XDSMissingDocumentError),
    ):
        rad69.get_dataset(REFERENCE)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("cert", "error", "message"),
    [
        (lambda files: (files.certificate, files.certificate), ValueError, "PEM certificate and its key"),
        (lambda files: (files.certificate, files.encrypted), ValueError, "is encrypted"),
        (lambda files: (files.certificate, files.encrypted, "sentinel other"), ValueError, "password is another"),
        (lambda files: files.certificate, ValueError, "is the key missing"),
        (lambda files: files.ca.parent / "nowhere.pem", FileNotFoundError, r"cert: No such file.*nowhere\.pem"),
        (lambda files: (files.ca, files.ca.parent / "no.key"), FileNotFoundError, r"cert: No such file.*no\.key"),
    ],
    ids=["no key", "no password", "wrong password", "key left out", "no file", "no key file"],
)
async def test_a_certificate_that_is_none(files: Files, cert: Any, error: type[Exception], message: str) -> None:
    """A wrong file or password is said when the client is opened, without asking on the terminal or telling it."""
    with pytest.raises(error, match=message) as caught:
        await AsyncRad69("https://localhost/", cert=cert(files)).__aenter__()
    assert "sentinel" not in str(caught.value)


def test_a_context_has_all_of_it(files: Files) -> None:
    """A certificate beside a context would be ignored: it is refused."""
    with pytest.raises(ValueError, match="not both"):
        AsyncRad69("https://localhost/", cert=files.both, ssl_context=ssl.create_default_context())


# --- whom to trust -------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system's store is no file that a test can name")
async def test_the_system_s_trust_store(files: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """verify="system" trusts what the operating system trusts, and nothing else."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with ScriptedSource(no, tls=served()) as source:
        monkeypatch.setenv("SSL_CERT_FILE", str(files.ca))
        assert isinstance(await failure(source.url, verify="system"), XDSMissingDocumentError)
        monkeypatch.setenv("SSL_CERT_FILE", str(other))
        assert isinstance(await failure(source.url, verify="system"), TLSError)


@pytest.fixture
def _no_file_of_authorities(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a system, or with a Python, where OpenSSL does not find the trust store."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))


@pytest.mark.usefixtures("_no_file_of_authorities")
def test_a_trust_store_that_openssl_does_not_find() -> None:
    """Then truststore looks for it."""
    assert isinstance(tls_context("system"), truststore.SSLContext)


@pytest.mark.anyio
@pytest.mark.usefixtures("_no_file_of_authorities")
async def test_the_trust_store_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where truststore would be needed and is not installed, the error has the command that does it."""
    monkeypatch.setitem(sys.modules, "truststore", None)
    with pytest.raises(ImportError, match=r'pip install "asyncrad69\[truststore\]"'):
        await AsyncRad69("https://localhost/", verify="system").__aenter__()


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["verify", "context"])
async def test_a_proxy_with_https_is_trusted_as_the_source_is(files: Files, way: str) -> None:
    """The connection to it follows verify= and ssl_context=, for a source with http, too."""
    options: dict[str, Any] = {"verify": files.ca}
    if way == "context":
        options = {"ssl_context": ssl.create_default_context(cafile=files.ca)}
    with ScriptedSource(no, tls=served()) as proxy:
        address = proxy.url.removesuffix("/rad69")
        error = await failure("http://localhost:1/rad69", proxy=address, **options)
        assert isinstance(error, XDSMissingDocumentError)
        assert proxy.requests[0].head.startswith("POST http://localhost:1/rad69 ")
        assert isinstance(await failure("http://localhost:1/rad69", proxy=address), TLSError)
    assert len(proxy.requests) == 1


class Tunnel:
    """An HTTPS proxy that tunnels (RFC 9110 9.3.6), for one connection."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self._listener.getsockname()[1]}"
        self.asked = b""
        self._thread = threading.Thread(target=self._serve, name="tunnel", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        accepted, _ = self._listener.accept()
        with self._tls.wrap_socket(accepted, server_side=True) as client:
            while b"\r\n\r\n" not in self.asked:
                self.asked += client.recv(65536)
            port = int(self.asked.split()[1].rpartition(b":")[2])
            with socket.create_connection(("127.0.0.1", port)) as source, suppress(OSError):
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_pump, args=(source, client), name="tunnel", daemon=True)
                back.start()
                _pump(client, source)
                back.join(10)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        socket.socket.shutdown(sink, socket.SHUT_WR)


@pytest.mark.anyio
async def test_tls_through_a_proxy_with_https(files: Files) -> None:
    """Both handshakes, one inside the other, follow verify= and show our certificate to the source."""
    with ScriptedSource(no, tls=served(asks=True)) as source, Tunnel(served()) as proxy:
        error = await failure(source.url, proxy=proxy.url, verify=files.ca, cert=files.both)
    assert isinstance(error, XDSMissingDocumentError)
    assert proxy.asked.startswith(f"CONNECT localhost:{source.port} ".encode())


# --- a signed assertion --------------------------------------------------------------------------------

# Spaces, quotes, prefixes, an entity and a line end, which a parser and writer would all change.
_ASSERTION = f"""<saml2:Assertion xmlns:saml2="{SAML}"  ID='_a1' Version="2.0" IssueInstant="{{issued}}">
  <saml2:Issuer>https://idp.example</saml2:Issuer>
  <ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#" Id="placeholder"/>
  <saml2:Conditions NotBefore="{{issued}}" NotOnOrAfter="{{expires}}"/>
  <saml2:AttributeStatement><saml2:Attribute Name="urn:oasis:names:tc:xspa:1.0:subject:purposeofuse">
    <saml2:AttributeValue><PurposeOfUse xmlns="urn:hl7-org:v3"
        xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CE"  code="TREATMENT"
        displayName='a &amp; b &#xE9; é'  /></saml2:AttributeValue></saml2:Attribute></saml2:AttributeStatement>
</saml2:Assertion>"""


def signed_header(identity: trustme.LeafCert, lifetime: timedelta = timedelta(minutes=5)) -> bytes:
    """A wsse:Security element as an identity provider and its client make one: the assertion signed, then wrapped."""
    now = datetime.now(tz=UTC)
    text = _ASSERTION.format(issued=now.isoformat(), expires=(now + lifetime).isoformat())
    signer = XMLSigner(
        signature_algorithm=SignatureMethod.RSA_SHA256,
        c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
    )
    assertion = signer.sign(
        etree.fromstring(text),
        key=identity.private_key_pem.bytes(),
        cert=identity.cert_chain_pems[0].bytes().decode(),
        reference_uri="#_a1",
    )
    return f'<wsse:Security xmlns:wsse="{WSSE}">'.encode() + etree.tostring(assertion) + b"</wsse:Security>"


def verified(body: bytes, issuer: trustme.LeafCert) -> str:
    """
    What the assertion in a request says about the purpose of use, its signature verified as a source does.

    Raises:
        InvalidSignature: It is not as it was signed.
    """
    (envelope,) = re.findall(rb"<s:Envelope.*</s:Envelope>", body, re.DOTALL)
    header = etree.fromstring(envelope).find(f"{{{SOAP}}}Header")
    assert header is not None
    (assertion,) = header.findall(f"{{{WSSE}}}Security/{{{SAML}}}Assertion")
    found = XMLVerifier().verify(assertion, x509_cert=issuer.cert_chain_pems[0].bytes().decode())
    assert not isinstance(found, list)
    assert found.signed_xml is not None
    (purpose,) = found.signed_xml.iter("{urn:hl7-org:v3}PurposeOfUse")
    return str(purpose.get("code"))


@cache
def issuer() -> trustme.LeafCert:
    """The identity provider."""
    return authority().issue_cert("idp.example", key_type=trustme.KeyType.RSA)


@pytest.mark.anyio
@pytest.mark.parametrize("packaging", ["mtom", "simple"])
async def test_a_signed_assertion_still_verifies_at_the_source(files: Files, packaging: str) -> None:
    """Over mutual TLS: the source that requires a certificate and an assertion verifies the signature in our header."""
    header = signed_header(issuer())
    purposes: list[str] = []

    def script(asked: Asked) -> Scripted:
        assert header in asked.body
        purposes.append(verified(asked.body, issuer()))
        return no(asked)

    with ScriptedSource(script, tls=served(asks=True)) as source:
        options: dict[str, Any] = {"verify": files.ca, "cert": files.both, "packaging": packaging}
        error = await failure(source.url, security_header=header, **options)
    assert isinstance(error, XDSMissingDocumentError)
    assert purposes == ["TREATMENT"]


@pytest.mark.anyio
async def test_from_a_manifest_to_the_images_of_two_repositories(files: Files, tmp_path: Path) -> None:
    """ITI-43, the manifest, RAD-69 at two sources: over mutual TLS, with an assertion that all three verify."""
    judged: list[str] = []

    def judge(envelope: bytes) -> bool:
        judged.append(verified(envelope, issuer()))
        return True

    def source(repository: str) -> SimulatedSource:
        tls = served("127.0.0.1", asks=True)
        return SimulatedSource.demo(slices=1, repository_unique_id=repository, ssl_context=tls, security_header=judge)

    with source("1.9.1") as documents, source("1.9.2") as near, source("1.9.3") as far:
        listed = (*near.references()[:4], *far.references()[-4:])
        manifest = documents.publish(write_kos(listed))
        endpoints = {"1.9.1": documents.url, "1.9.2": near.url, "1.9.3": far.url}
        options: dict[str, Any] = {"verify": files.ca, "cert": files.both, "security_header": signed_header(issuer())}
        async with AsyncRad69(documents.url, endpoints=endpoints, **options) as rad69:
            references = await rad69.retrieve_manifest(manifest)
            report = await rad69.download(references, tmp_path / "images")
    report.raise_for_incomplete()
    assert set(references) == set(listed)
    assert {path.stem: path.read_bytes() for path in (tmp_path / "images").rglob("*.dcm")} == {
        **{each.sop_instance_uid: near.data(each.sop_instance_uid) for each in listed[:4]},
        **{each.sop_instance_uid: far.data(each.sop_instance_uid) for each in listed[4:]},
    }
    assert set(judged) == {"TREATMENT"}
    assert len(judged) == sum(len(each.requests) for each in (documents, near, far)) >= 3


@pytest.mark.anyio
async def test_without_the_certificate_or_the_assertion_there_is_nothing(files: Files) -> None:
    """The control: the same source refuses who lacks one of the two."""
    tls = served("127.0.0.1", asks=True)
    with SimulatedSource.demo(slices=1, ssl_context=tls, security_header=True) as source:
        reference = source.references()[0]
        async with AsyncRad69(source.url, verify=files.ca, cert=files.both) as rad69:
            with pytest.raises(SoapFault, match="InvalidSecurity"):
                await rad69.get_dataset(reference)
        header = signed_header(issuer())
        async with AsyncRad69(source.url, verify=files.ca, security_header=header, retry=Retry(attempts=1)) as rad69:
            with pytest.raises(TransportError):
                await rad69.get_dataset(reference)


def test_the_verification_can_fail() -> None:
    """One byte of the assertion changed, or white space added to it, and the signature does not verify."""
    envelope = b'<s:Envelope xmlns:s="%s"><s:Header>%s</s:Header></s:Envelope>'
    header = signed_header(issuer())
    assert verified(envelope % (SOAP.encode(), header), issuer()) == "TREATMENT"
    for before, after in ((b"TREATMENT", b"RESEARCH"), (b"<saml2:Issuer>", b"\n<saml2:Issuer>")):
        changed = header.replace(before, after)
        with pytest.raises(InvalidSignature):
            verified(envelope % (SOAP.encode(), changed), issuer())
