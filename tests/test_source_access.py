"""A source that asks who is there, is slow, or has no time: what a secured and patient client is tested with."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from asyncrad69 import (
    AuthenticationError,
    IncompleteRetrieveError,
    Rad69,
    Retry,
    ServerBusy,
    SoapFault,
    TransportError,
    TruncatedResponse,
)
from asyncrad69.testing import Fault, SimulatedSource
from test_simulated_source import envelope, posted
from test_source_profiles import archive

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_asyncrad69 import SourceFactory

WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
SECURITY = f'<o:Security xmlns:o="{WSSE}"><saml>believe me</saml></o:Security>'


def fetched(source: SimulatedSource, **options: Any) -> int:
    """How many instances come."""
    chosen: dict[str, Any] = {"retry": Retry(attempts=1), "on_failure": "stop"} | options
    with Rad69(source.url, **chosen) as rad69:
        return len(list(rad69.instances(source.references())))


# --- TLS


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA, a certificate for loopback, and one for a client."""
    folder, ca = tmp_path_factory.mktemp("tls"), trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    for name, cert in {"server": ca.issue_cert("127.0.0.1"), "client": ca.issue_cert("client.example")}.items():
        cert.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
    return folder


def test_tls(pem: Path, rad69_source_factory: SourceFactory) -> None:
    """With a certificate, or a whole context, the URL is https, and who does not trust it gets nothing."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem / "server.pem")
    ways: list[dict[str, Any]] = [{"certfile": pem / "server.pem"}, {"ssl_context": context}]
    for tls in ways:
        source = rad69_source_factory(archive(), **tls)
        assert source.url.startswith("https://")
        assert fetched(source, verify=pem / "ca.pem") == 3
        with pytest.raises(TransportError):
            fetched(source)


def test_mutual_tls(pem: Path, rad69_source_factory: SourceFactory) -> None:
    """Only who shows a certificate of the CA is answered."""
    source = rad69_source_factory(archive(), certfile=pem / "server.pem", client_ca=pem / "ca.pem")
    context = ssl.create_default_context(cafile=pem / "ca.pem")
    with pytest.raises(TransportError):
        fetched(source, ssl_context=context)
    context.load_cert_chain(pem / "client.pem")
    assert fetched(source, ssl_context=context) == 3


@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.parametrize("fault", [Fault.reset(), Fault.reset(after_bytes=600), Fault.cut()])
def test_faults_over_tls(fault: Fault, framing: Any, pem: Path, rad69_source_factory: SourceFactory) -> None:
    """What falls below HTTP falls below TLS, too."""
    source = rad69_source_factory(archive(), certfile=pem / "server.pem", faults=[fault], framing=framing)
    with pytest.raises((TransportError, TruncatedResponse, IncompleteRetrieveError)):
        fetched(source, verify=pem / "ca.pem")


# --- credentials


@pytest.mark.parametrize(
    ("auth", "right"),
    [
        pytest.param(("u", "p"), {"auth": ("u", "p")}, id="basic"),
        pytest.param("token", {"headers": {"Authorization": "Bearer token"}}, id="bearer"),
    ],
)
def test_http_authentication(auth: Any, right: dict[str, Any], rad69_source_factory: SourceFactory) -> None:
    """The right credentials are answered, wrong or none get 401 with a challenge; the settings do not show them."""
    source = rad69_source_factory(archive(), auth=auth)
    assert fetched(source, **right) == 3
    for wrong in ({}, {"auth": ("u", "q")}):
        with pytest.raises(AuthenticationError):
            fetched(source, **wrong)
    answer = posted(source, envelope(source))
    assert answer.headers["www-authenticate"].startswith("Basic" if isinstance(auth, tuple) else "Bearer")
    assert source.requests[-1].status == "Refused"
    assert "token" not in repr(source._app)
    assert "('u', 'p')" not in repr(source._app)


@pytest.mark.parametrize(
    ("judge", "header", "expected"),
    [
        pytest.param(True, "", "InvalidSecurity", id="missing"),
        pytest.param(True, SECURITY, None, id="there"),
        pytest.param(lambda xml: b"believe me" in xml, SECURITY, None, id="accepted"),
        pytest.param(lambda xml: False, SECURITY, "FailedAuthentication", id="refused"),
    ],
)
@pytest.mark.parametrize("mtom", [True, False], ids=["mtom", "simple"])
def test_the_security_header(
    judge: Any, header: str, expected: str | None, mtom: bool, rad69_source_factory: SourceFactory
) -> None:
    """It must be there, and is judged as it came; what is wrong is WS-Security's own fault."""
    source = rad69_source_factory(archive(), security_header=judge)
    text = envelope(source)
    at = text.index("</", text.index("MessageID>", text.index("Header>")))
    end = text.index(">", at) + 1
    answer = posted(source, text[:end] + header + text[end:], mtom=mtom)
    assert answer.status_code == (400 if expected else 200)
    assert (expected or "ResponseStatusType:Success") in answer.text


def test_the_security_header_to_a_client(rad69_source_factory: SourceFactory) -> None:
    """The client names the fault."""
    with pytest.raises(SoapFault, match="InvalidSecurity"):
        fetched(rad69_source_factory(archive(), security_header=True))


# --- pace


def test_too_many_at_once(rad69_source_factory: SourceFactory) -> None:
    """Above the limit it is 503 with Retry-After; asked again, everything comes."""
    source = rad69_source_factory(archive(), max_concurrency=1, latency_s=0.2)
    assert (
        fetched(
            source,
            concurrency=3,
            instances_per_request=1,
            retry=Retry(attempts=20, wait_initial_s=0.05, wait_max_s=0.1),
        )
        == 3
    )
    assert {each.http_status for each in source.requests} == {200, 503}
    with pytest.raises(ServerBusy):
        fetched(source, concurrency=3, instances_per_request=1)


@pytest.mark.parametrize("pace", [{"latency_s": 0.01}, {"latency_per_instance_s": 0.01}, {"bytes_per_s": 1e6}])
def test_slow_is_whole(pace: Any, rad69_source_factory: SourceFactory) -> None:
    """What comes late comes whole."""
    assert fetched(rad69_source_factory(archive(), **pace)) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latency_s": -1}, "latency_s is 0 or more"),
        ({"bytes_per_s": 0}, "bytes_per_s is more than 0"),
        ({"max_concurrency": 0}, "max_concurrency is more than 0"),
        ({"client_ca": "ca.pem"}, "need a certfile"),
        ({"certfile": "a.pem", "ssl_context": ssl.create_default_context()}, "leave out certfile"),
    ],
)
def test_what_makes_no_sense(options: dict[str, Any], message: str) -> None:
    """A source that cannot be is not made."""
    with pytest.raises(ValueError, match=message):
        SimulatedSource(archive(), **options)
