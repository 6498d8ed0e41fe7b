"""The probe: which layer fails, what is said of it, and how the command ends."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from click.testing import CliRunner, Result

from asyncrad69 import InstanceReference, Probe, Timeout, probe
from asyncrad69._probe import LAYERS
from asyncrad69.cli._app import app
from asyncrad69.testing import SimulatedSource
from certificates import served, trusting

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping

SOAP = "http://www.w3.org/2003/05/soap-envelope"
UNKNOWN = InstanceReference("1.2.826.0.1.1", "1.2.826.0.1.1.2", "1.2.826.0.1.1.2.3", repository_unique_id="1.2.3.4")


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    with SimulatedSource.demo(slices=1) as running:
        yield running


class Server(ThreadingHTTPServer):
    """Answers every POST with what it was made with; over TLS if it has a context."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, context: ssl.SSLContext | None) -> None:
        self.answer = status, headers, body
        self.context = context
        super().__init__(("127.0.0.1", 0), Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        return (self.context.wrap_socket(connection, server_side=True) if self.context else connection), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that refuses the certificate is what a test is about."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        status, headers, body = self.server.answer
        if "Simple" in headers and self.headers.get_content_maintype() == "multipart":
            status, headers = 415, {"Content-Type": "text/plain"}
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Silent."""


@contextmanager
def server(
    status: int = 200,
    body: str = "<html>Log in</html>",
    media_type: str = "text/html",
    *,
    context: ssl.SSLContext | None = None,
    **headers: str,
) -> Iterator[str]:
    running = Server(status, {"Content-Type": media_type, **headers}, body.encode(), context)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://localhost:{running.server_port}/rad69"
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def envelope(body: str, header: str = "") -> str:
    return f'<s:Envelope xmlns:s="{SOAP}"><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>'


def fault(code: str, subcode: str = "") -> str:
    inner = f"<s:Subcode><s:Value>x:{subcode}</s:Value></s:Subcode>" if subcode else ""
    return envelope(
        f"<s:Fault><s:Code><s:Value>s:{code}</s:Value>{inner}</s:Code>"
        "<s:Reason><s:Text>JANE DOE</s:Text></s:Reason></s:Fault>"
    )


def ask(url: str, *args: Any, **kwargs: Any) -> Probe:
    async def run() -> Probe:
        return await probe(url, *args, **kwargs)

    return anyio.run(run)


def works_up_to(found: Probe, failing: str) -> bool:
    """No layer before *failing* fails, it does, and nothing after it is said to work."""
    index = [layer.name for layer in found.layers].index(failing)  # type: ignore[arg-type]
    after = [layer.state for layer in found.layers[index + 1 :]]
    return found.failure is found.layers[index] and set(after) <= {"unknown"}


def rad69(*args: object, **kwargs: Any) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], prog_name="rad69", **kwargs)


# --- a source that works


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_source_without_a_known_instance(source: SimulatedSource) -> None:
    """One request for what nobody has shows every layer but the last, on either event loop."""
    before = len(source.requests)
    found = await probe(source.url, repository_unique_id="1.2.3.4")
    assert len(source.requests) == before + 1
    assert found.failure is None
    assert [layer.name for layer in found.layers] == list(LAYERS)
    unknown = [layer.name for layer in found.layers if layer.state == "unknown"]
    assert unknown == ["tls", "instance"]
    assert "XDSMissingDocument" in found["instance"].says


def test_an_instance_and_its_transfer_syntax(source: SimulatedSource) -> None:
    """A known instance is retrieved, and its transfer syntax named."""
    found = ask(source.url, source.references()[0])
    assert found.failure is None
    assert "Explicit VR Little Endian (1.2.840.10008.1.2.1)" in found["instance"].says


def test_without_a_repository_nothing_is_said_of_it(source: SimulatedSource) -> None:
    """A made-up repository is refused, which is no fault of the source."""
    found = ask(source.url)
    assert (found.failure, found["repository"].state) == (None, "unknown")


def test_the_wrong_repository(source: SimulatedSource) -> None:
    """A repository that is not the source's is a finding of its own."""
    found = ask(source.url, repository_unique_id="9.9.9")
    assert works_up_to(found, "repository")
    assert "repository_unique_id=" in found["repository"].hint


def test_an_instance_that_is_not_there(source: SimulatedSource) -> None:
    """Everything works, but for the instance that was named."""
    assert works_up_to(ask(source.url, UNKNOWN), "instance")


@pytest.mark.parametrize(("days", "hint"), [(3, "It expires soon: remind the source's operator."), (365, "")])
def test_tls_and_its_certificate(days: int, hint: str) -> None:
    """The protocol's version, the certificate's name and its end are said, and an early end has a hint."""
    end = datetime.now(UTC) + timedelta(days=days)
    with server(context=served(not_after=end)) as url:
        found = ask(url, ssl_context=trusting())
    assert found["tls"].says == f"TLSv1.3, certificate for localhost, valid until {end:%Y-%m-%d}"
    assert found["tls"].hint == hint
    assert works_up_to(found, "soap")


# --- each layer's failure


def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the name, and nothing is sent."""

    async def nothing(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("asyncrad69._probe._question.getaddrinfo", nothing)
    found = ask("http://no-such-host.invalid/rad69")
    assert works_up_to(found, "dns")
    assert "spelling" in found["dns"].hint


def test_a_name_that_takes_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name resolution has the limit of the connection."""

    async def never(*_: object, **__: object) -> Any:
        await anyio.sleep_forever()

    monkeypatch.setattr("asyncrad69._probe._question.getaddrinfo", never)
    found = ask("http://slow.invalid/rad69", timeout=Timeout(connect_s=0.01))
    assert found["dns"].says == "the name was not resolved in time"


def test_a_closed_port() -> None:
    """The name is right and nobody is there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/rad69"
    assert works_up_to(ask(url), "tcp")


def test_an_unknown_authority() -> None:
    """The hint says where its certificate goes."""
    with server(context=served()) as url:
        found = ask(url)
    assert works_up_to(found, "tls")
    assert found["tcp"].state == "works"
    assert "verify=" in found["tls"].hint


def test_http_to_a_port_with_tls() -> None:
    """Nothing is said of the path, which no server has seen."""
    with server(context=served()) as url:
        found = ask(url.replace("https:", "http:"))
    assert works_up_to(found, "http")
    assert found["http"].hint == "If this port speaks TLS, use https://."


@pytest.mark.parametrize(
    ("answer", "layer", "says"),
    [
        pytest.param({}, "soap", "text/html", id="login page"),
        pytest.param({"media_type": "application/soap+xml"}, "soap", "not a SOAP envelope", id="other XML"),
        pytest.param({"status": 404}, "http", "404", id="wrong path"),
        pytest.param({"status": 302, "Location": "/login"}, "http", "302", id="redirect"),
        pytest.param({"status": 503}, "http", "503", id="busy"),
        pytest.param({"status": 401}, "auth", "401", id="who are you"),
        pytest.param({"status": 403}, "auth", "403", id="not you"),
        pytest.param(
            {"media_type": "application/soap+xml", "body": fault("Sender")}, "rad69", "fault, Sender", id="fault"
        ),
        pytest.param(
            {"media_type": "application/soap+xml", "body": fault("Sender", "InvalidSecurity"), "status": 500},
            "auth",
            "InvalidSecurity",
            id="no assertion",
        ),
        pytest.param({"media_type": 'multipart/related; boundary="b"'}, "mtom", "", id="broken framing"),
    ],
)
def test_what_is_no_source(answer: dict[str, Any], layer: str, says: str) -> None:
    """What answers instead of a source is told apart, by the layer that it reaches."""
    with server(**answer) as url:
        found = ask(url)
    failure = found.failure
    assert failure is not None
    assert failure.name == layer
    assert says in failure.says
    assert failure.hint or layer == "mtom"
    assert "JANE" not in str(found) + json.dumps(found.to_dict())


def answered(header: str = "", errors: str = "") -> str:
    response = (
        '<x:RetrieveDocumentSetResponse xmlns:x="urn:ihe:iti:xds-b:2007">'
        '<r:RegistryResponse xmlns:r="urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0" status="urn:x:Failure">'
        f"{errors}</r:RegistryResponse></x:RetrieveDocumentSetResponse>"
    )
    return envelope(response, header)


def test_an_answer_to_another_message() -> None:
    """Answers that are mixed up are a failure, even where the rest is well."""
    header = '<a:RelatesTo xmlns:a="http://www.w3.org/2005/08/addressing">urn:uuid:other</a:RelatesTo>'
    with server(body=answered(header), media_type="application/soap+xml") as url:
        found = ask(url)
    assert found["addressing"].state == "fails"
    assert found["rad69"].state == "works"


def test_a_source_that_says_little() -> None:
    """No RelatesTo and simple SOAP are tolerated, and said; a Server header is shown only if it is a product's."""
    with server(body=answered(), media_type="application/soap+xml", Server="<b>JANE") as url:
        found = ask(url, UNKNOWN)
    assert found["addressing"].state == "unknown"
    assert "simple SOAP" in found["mtom"].says
    assert found["http"].says == "status 200"
    assert found["instance"].says == "it did not come, and the source says nothing about it"


def test_a_source_of_simple_soap_only() -> None:
    """415 to MTOM is asked again in simple SOAP, and the option that spares it is named."""
    with server(body=answered(), media_type="application/soap+xml", Simple="only") as url:
        found = ask(url)
    assert found.failure is None
    assert "packaging='simple'" in found["mtom"].hint


def test_a_source_of_no_packaging() -> None:
    """415 to both is a failure of HTTP."""
    with server(status=415) as url:
        assert works_up_to(ask(url), "http")


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        pytest.param(("ftp://x/",), {}, id="scheme"),
        pytest.param(("http://x/", [UNKNOWN, replace(UNKNOWN, sop_instance_uid="1.2")]), {}, id="two instances"),
        pytest.param(("http://x/",), {"repository_unique_id": "no UID"}, id="repository"),
        pytest.param(("http://x.example/",), {"auth": ("a", "b")}, id="credentials in the clear"),
    ],
)
def test_own_mistakes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """What makes no sense is said before anything is sent."""
    with pytest.raises(ValueError, match=r"."):
        ask(*args, **kwargs)


# --- the command


def test_command(source: SimulatedSource) -> None:
    """Everything works: a line for each layer, exit code 0."""
    first = source.references()[0]
    uids = first.study_instance_uid, first.series_instance_uid, first.sop_instance_uid
    named = ("--reference", "/".join(uids), "--repository", first.repository_unique_id)
    result = rad69("probe", source.url, *named)
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 1 + len(LAYERS)
    assert not any(uid in result.output for uid in uids)
    same = rad69("probe", source.url, *named, "--json")
    assert json.loads(same.stdout)["works"] is True


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param({}, 6, id="login page"),
        pytest.param({"status": 401}, 4, id="authentication"),
        pytest.param({"status": 404}, 6, id="wrong path"),
        pytest.param({"status": 503}, 5, id="busy"),
        pytest.param({"status": 400}, 6, id="bad request"),
        pytest.param({"status": 415}, 6, id="unsupported media type"),
        pytest.param({"status": 500}, 6, id="broken"),
        pytest.param({"media_type": "application/soap+xml", "body": fault("Sender")}, 6, id="fault"),
    ],
)
def test_exit_codes(answer: dict[str, Any], code: int) -> None:
    """The layer that fails decides how the command ends, in JSON too."""
    with server(**answer) as url:
        assert rad69("probe", url).exit_code == code
        result = rad69("probe", url, "--json")
    assert result.exit_code == code
    assert json.loads(result.stdout)["works"] is False


def test_command_speaks_of_options() -> None:
    """Hints name options, not keywords."""
    with server(context=served()) as url:
        result = rad69("probe", url)
    assert result.exit_code == 5
    assert "--ca-file" in result.stdout
