"""The command line: what it asks for, what it says where, and how it exits."""

from __future__ import annotations

import csv
import errno
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from itertools import count
from pathlib import Path
from queue import Queue
from time import sleep
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import asyncrad69
from asyncrad69 import (
    BytesReceived,
    InstanceFailed,
    InstancePresent,
    InstanceReference,
    InstanceVerified,
    Rad69Error,
    RetryScheduled,
)
from asyncrad69.cli import main
from asyncrad69.cli._app import _COMMANDS, app
from asyncrad69.cli._failures import ExitCode, without_uids
from asyncrad69.cli._output import Output, in_options
from asyncrad69.cli._profiles import profile_of
from asyncrad69.cli._progress import Bar, Lines, Log, Silent, Tally, bar, duration, size
from asyncrad69.cli._serve import _asked_at
from asyncrad69.testing import SimulatedSource, kos_bytes, write_kos
from certificates import authority, served
from source import Scripted, ScriptedSource, no

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

STUDY, SERIES, INSTANCE = "1.2.826.0.1.1", "1.2.826.0.1.1.2", "1.2.826.0.1.1.2.3"
UNKNOWN = f"{STUDY}/{SERIES}/{INSTANCE}"
REPOSITORY = "1.2.3.4"
SECRET = "correct-horse-battery"

needs_sigint = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT to another process, which is POSIX's")


def rad69(*args: object, **kwargs: Any) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], prog_name="rad69", **kwargs)


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "asyncrad69", *map(str, args)]


def path_of(reference: InstanceReference) -> str:
    return f"{reference.study_instance_uid}/{reference.series_instance_uid}/{reference.sop_instance_uid}"


def write_table(path: Path, references: tuple[InstanceReference, ...]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["study uid", "series uid", "instance uid", "repository"])
        writer.writerows([*path_of(each).split("/"), each.repository_unique_id] for each in references)
    return path


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    with SimulatedSource.demo(slices=1) as running:
        yield running


@pytest.fixture
def table(source: SimulatedSource, tmp_path: Path) -> Path:
    return write_table(tmp_path / "references.csv", source.references())


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own settings decides about a test."""
    for name in ("RAD69_PASSWORD", "RAD69_KEY_PASSWORD", "RAD69_PROXY", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


# --- a web server that is no source


class WebServer:
    """Answers every POST alike, and keeps the headers it was sent."""

    def __init__(self, status: int, body: bytes = b"<html>no</html>", context: ssl.SSLContext | None = None) -> None:
        self.headers: list[dict[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
                self.send_response(status)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Silent."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that refuses the certificate is what some tests are about."""

            def get_request(self) -> tuple[socket.socket, Any]:
                connection, address = super().get_request()
                if context is not None:
                    connection = context.wrap_socket(connection, server_side=True)
                return connection, address

        self.http = Server(("127.0.0.1", 0), Handler)
        scheme = "https" if context else "http"
        self.url = f"{scheme}://localhost:{self.http.server_port}/rad69"


@contextmanager
def web_server(status: int, **kwargs: Any) -> Iterator[WebServer]:
    server = WebServer(status, **kwargs)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        thread.join()
        server.http.server_close()


def unused_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/rad69"


ONE = ("--repository", REPOSITORY, "--reference", UNKNOWN)


# --- the group


def test_help_says_what_the_commands_say_about_themselves() -> None:
    """The table that spares ``--help`` from importing the commands agrees with them."""
    output = rad69("--help").output
    for name in _COMMANDS:
        assert f"  {name}  " in output
        assert rad69(name, "--help").output.splitlines()[2].strip() in output


def test_help_imports_no_command() -> None:
    """``rad69 --help`` answers without the modules of the commands."""
    code = (
        "import sys\nfrom asyncrad69.cli import main\nsys.argv = ['rad69', '--help']\n"
        "try: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Commands:" in done.stdout
    assert not {"asyncrad69.cli._get", "asyncrad69.cli._progress", "asyncrad69.testing"} & set(done.stderr.split())


def test_help_of_a_command_imports_no_client() -> None:
    """``rad69 COMMAND --help`` does not wait for httpx and pydicom, of any command."""
    code = (
        "import sys\nfrom asyncrad69.cli._app import _COMMANDS, app\n"
        "for name in _COMMANDS: app([name, '--help'], standalone_mode=False)\nprint(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("Usage:") == len(_COMMANDS)
    assert not {"httpx", "pydicom", "numpy"} & set(done.stderr.split())


def test_module_is_the_command() -> None:
    """``python -m asyncrad69`` is ``rad69``."""
    done = subprocess.run(command("--version"), capture_output=True, text=True, check=True)
    assert done.stdout == f"rad69 {asyncrad69.__version__}\n"


def test_completion() -> None:
    """Shells complete commands and options, as the documentation says how to set up."""
    words = {"_RAD69_COMPLETE": "zsh_complete", "COMP_WORDS": "rad69 get --inst", "COMP_CWORD": "2"}
    assert "--instances-per-request" in rad69(env=words).stdout


@pytest.mark.parametrize("absent", ["click", "rich"])
def test_missing_extra(absent: str) -> None:
    """Without the extra there is one line that says how to get it."""
    code = (
        f"import sys\nsys.modules[{absent!r}] = None\nsys.argv = ['rad69', 'get', '--help']\n"
        "from asyncrad69.cli import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'rad69 needs click and rich: pip install "asyncrad69[cli]"\n'


@pytest.mark.parametrize("name", ["demo", "serve"])
def test_missing_server_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs the simulated source says which extra has it."""
    monkeypatch.setattr("asyncrad69.cli._serve.find_spec", lambda _: None)
    result = rad69(name)
    assert result.exit_code == 2
    assert 'pip install "asyncrad69[cli,server]"' in result.stderr


# --- get: what is asked for


def test_get_writes_the_files_as_they_were_sent(source: SimulatedSource, table: Path, tmp_path: Path) -> None:
    """Every instance is in its file, byte for byte, and a second run finds them there."""
    for requests in (15, 0):
        before = len(source.requests)
        result = rad69("get", source.url, "--table", table, "-o", tmp_path / "out")
        assert result.exit_code == 0, result.output
        assert "82 of 82 instances" in result.stdout
        assert len(source.requests) - before == requests
    for reference in source.references():
        file = tmp_path / "out" / f"{path_of(reference)}.dcm"
        assert file.read_bytes() == source.data(reference.sop_instance_uid)


def test_get_by_reference_and_template(source: SimulatedSource, tmp_path: Path) -> None:
    """An instance named on the command line goes where the template says."""
    first = source.references()[0]
    target = tmp_path / "{SOPInstanceUID}.dcm"
    result = rad69("get", source.url, "--repository", REPOSITORY, "--reference", path_of(first), "-o", target)
    assert result.exit_code == 0, result.output
    assert (tmp_path / f"{first.sop_instance_uid}.dcm").read_bytes() == source.data(first.sop_instance_uid)


def test_get_by_kos(source: SimulatedSource, tmp_path: Path) -> None:
    """What a manifest lists is asked for, together with the rest of the command line."""
    first, second = source.references()[:2]
    kos = tmp_path / "manifest.dcm"
    kos.write_bytes(kos_bytes(write_kos([first])))
    more = ("--repository", REPOSITORY, "--reference", path_of(second))
    result = rad69("get", source.url, "--kos", kos, *more, "-o", tmp_path / "out", "--json")
    assert [row["sop_instance_uid"] for row in json.loads(result.stdout)["rows"]] == [
        first.sop_instance_uid,
        second.sop_instance_uid,
    ]


def test_get_passes_its_options_on(source: SimulatedSource, tmp_path: Path, table: Path) -> None:
    """Concurrency and request size are the library's, and so are the transfer syntaxes."""
    before = len(source.requests)
    options = ("--concurrency", 1, "--instances-per-request", 0, "--transfer-syntax", "uncompressed")
    result = rad69("get", source.url, "--table", table, "-o", tmp_path / "out", *options, "--timeout-total", 0)
    assert result.exit_code == 0, result.output
    [request] = source.requests[before:]
    assert set(request.transfer_syntaxes) == set(asyncrad69.UNCOMPRESSED)


@pytest.mark.parametrize(("concurrency", "code"), [("auto", 0), ("2", 0), ("0", 2), ("many", 2)])
def test_get_concurrency(concurrency: str, code: int, source: SimulatedSource, table: Path, tmp_path: Path) -> None:
    """A number, or what the library finds out itself."""
    result = rad69("get", source.url, "--table", table, "-o", tmp_path / "out", "--concurrency", concurrency)
    assert result.exit_code == code, result.output


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        pytest.param((), "Missing argument 'URL'", id="nothing"),
        pytest.param(("http://127.0.0.1:1/", *ONE), "Missing option '-o'", id="no target"),
        pytest.param(("http://127.0.0.1:1/", "-o", "out"), "e.g. by --kos, --table or --reference", id="no references"),
        pytest.param(("ftp://x/", *ONE, "-o", "out"), "url is the RAD-69 endpoint", id="not an http url"),
        pytest.param(("http://a:b@x/", *ONE, "-o", "out"), "--user", id="credentials in the url"),
        pytest.param(("http://127.0.0.1:1/", *ONE[2:], "-o", "out"), "pass --repository", id="no repository"),
        pytest.param(("http://127.0.0.1:1/", *ONE, "-o", "{Patient}"), "{Patient} is not a field", id="template"),
        pytest.param(("http://127.0.0.1:1/", *ONE, "-o", "x/{SOPInstanceUID"), "a field is written", id="half a field"),
        pytest.param(("http://127.0.0.1:1/", *ONE, "-o", ""), "the target is empty", id="empty target"),
        pytest.param(("http://127.0.0.1:1/", "--reference", "1.2/3", "-o", "out"), "with / between", id="two UIDs"),
        pytest.param(("http://127.0.0.1:1/", "--reference", "1/2/x", "-o", "out"), "not a UID", id="no UID"),
        pytest.param(("http://127.0.0.1:1/", *ONE, "-o", "o", "--repository", "x"), "not a UID", id="repository"),
        pytest.param(("http://127.0.0.1:1/", "--table", "bad.csv", "-o", "out"), "bad.csv: line 1", id="table"),
        pytest.param(("http://127.0.0.1:1/", "--kos", "bad.csv", "-o", "out"), "bad.csv: ", id="kos"),
        pytest.param(("http://127.0.0.1:1/", "--kos", "absent", "-o", "out"), "does not exist", id="no file"),
        pytest.param(("http://x.example/", *ONE, "-o", "o", "--user", "u"), "set RAD69_PASSWORD", id="no password"),
        pytest.param(("http://x.example/", *ONE, "-o", "o", "--header", "x"), "'Name: value'", id="header"),
        pytest.param(("http://x.example/", *ONE, "-o", "o", "--header", "@no"), "No such file", id="header file"),
        pytest.param(("http://x.example/", *ONE, "-o", "o", "--bearer-env", "NO_X"), "no NO_X", id="no token"),
        pytest.param(("http://x.example/", *ONE, "-o", "o", "--password-stdin"), "of a --user", id="no user"),
        pytest.param(("https://x.example/", *ONE, "-o", "o", "--ca-file", "bad.csv"), "PEM", id="ca file"),
        pytest.param(("https://x.example/", *ONE, "-o", "o", "--client-cert", "bad.csv"), "PEM", id="client cert"),
        pytest.param(
            ("https://x.example/", *ONE, "-o", "o", "--client-cert", "bad.csv"), "is --client-key missing?", id="no key"
        ),
        pytest.param(("https://x.example/", *ONE, "-o", "o", "--client-key", "bad.csv"), "--client-cert", id="key"),
        pytest.param(
            ("https://x.example/", *ONE, "-o", "o", "--ca-file", "bad.csv", "--system-trust"), "not both", id="trust"
        ),
        pytest.param(("http://x.example/", *ONE, "-o", "o", "--timeout-idle", "-1"), "--timeout-idle", id="timeout"),
        pytest.param(("http://x.example/", *ONE, "-o", "o", "--max-rate", "fast"), "is not a size", id="rate"),
        pytest.param(("http://x.example/", *ONE, "-o", "o", "--max-rate", "0"), "--max-rate is more", id="no rate"),
        pytest.param(
            ("http://x.example/", *ONE, "-o", "o", "--max-requests-per-minute", "0"), "--max-req", id="no requests"
        ),
        pytest.param(
            ("http://x.example/", *ONE, "-o", "o", "--header", "Authorization: x"), "--allow-plaintext", id="plaintext"
        ),
        pytest.param(
            ("http://127.0.0.1:1/", *ONE, "-o", "o", "--transfer-syntax", "jpeg"),
            "'jpeg' is neither as-stored, lossless, uncompressed nor a UID",
            id="transfer syntax",
        ),
        pytest.param(
            ("http://127.0.0.1:1/", *ONE, "-o", "o", "--concurrency", "many"),
            "'many' is neither a number from 1 on nor auto",
            id="concurrency",
        ),
        pytest.param(
            ("http://127.0.0.1:1/", *ONE, "-o", "o", "--profile", "hospital"),
            "--profile goes before the command: rad69 --profile NAME get ...",
            id="profile",
        ),
        pytest.param(("http://127.0.0.1:1/", *ONE, "-o", "o", "--no-such"), "No such option", id="no such option"),
    ],
)
def test_usage(args: tuple[str, ...], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the command line is exit code 2, a sentence, no traceback, and no file."""
    monkeypatch.chdir(tmp_path)
    Path("bad.csv").write_text("not,what,it should be\n")
    result = rad69("get", *args)
    assert result.exit_code == 2, result.output
    assert complaint in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv"]


@pytest.mark.parametrize("identifiers", [False, True])
def test_usage_has_uids_on_request_only(identifiers: bool, tmp_path: Path) -> None:
    """What is wrong with the command line is said without naming an instance, unless that is asked for."""
    more = ("--log-identifiers",) if identifiers else ()
    result = rad69("get", "http://127.0.0.1:1/", *ONE[2:], "-o", tmp_path / "out", *more)
    assert result.exit_code == 2, result.output
    assert f"instance {INSTANCE if identifiers else '<uid>'} names no repository" in result.stderr


# --- get: how it ends


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        pytest.param(401, 4, "--user, --bearer-env, --header, --security-header", id="unauthorised"),
        pytest.param(403, 4, "--user, --bearer-env, --header, --security-header", id="forbidden"),
        pytest.param(404, 6, "404", id="no such endpoint"),
        pytest.param(302, 6, "302", id="redirect"),
        pytest.param(200, 6, "text/html", id="login page"),
        pytest.param(503, 5, "503", id="busy"),
    ],
)
def test_exit_code_by_status(status: int, code: int, says: str, tmp_path: Path) -> None:
    """What a web server answers becomes an exit code, and a line or two with what to do."""
    with web_server(status) as server:
        result = rad69("get", server.url, *ONE, "-o", tmp_path / "out", "--attempts", 1)
    assert result.exit_code == code, result.output
    assert says in result.stderr
    assert len(result.stderr.splitlines()) <= 2
    assert not list(tmp_path.rglob("*.dcm"))


def test_exit_code_unreachable(tmp_path: Path) -> None:
    """No connection is exit code 5."""
    result = rad69("get", unused_url(), *ONE, "-o", tmp_path / "out", "--attempts", 1)
    assert result.exit_code == 5, result.output
    assert result.stderr.startswith("rad69: no connection to the source")


def test_exit_code_incomplete(source: SimulatedSource, table: Path, tmp_path: Path) -> None:
    """One instance that the source does not have: everything else is written, exit code 3, and it is counted."""
    args = ("--table", table, "--reference", UNKNOWN, "--repository", REPOSITORY)
    result = rad69("get", source.url, *args, "-o", tmp_path / "out")
    assert result.exit_code == 3, result.output
    assert "82 of 83 instances" in result.stdout
    assert "refused     1\nmissing     0\n" in result.stdout
    assert "rad69: incomplete: 1 of 83 instances did not come" in result.stderr
    assert len(list(tmp_path.rglob("*.dcm"))) == 82


def test_incomplete_says_what_would_help(source: SimulatedSource, tmp_path: Path) -> None:
    """Where the reason has a remedy, that is the advice, in the command line's words."""
    args = ("--reference", path_of(source.references()[0]), "--repository", "1.2.9")
    result = rad69("get", source.url, *args, "-o", tmp_path / "out")
    assert result.exit_code == 3, result.output
    assert "Pass --repository" in result.stderr
    assert "1 x the source answered XDSUnknownRepositoryId" in result.stdout


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        pytest.param("XDSMissingDocument", "Check the reference", id="not there"),
        pytest.param("XDSDocumentUniqueIdError", "Check the reference", id="not known"),
        pytest.param("XDSRepositoryError", "--json or --report-html lists them.", id="no remedy"),
        pytest.param("XDSRepositoryBusy", "Run the same command again to ask only for these.", id="busy"),
    ],
)
def test_incomplete_says_run_again_where_it_may_help(code: str, advice: str, tmp_path: Path) -> None:
    """A refusal that would be the same again is to be looked at; one that may pass is to be asked for again."""
    with ScriptedSource(lambda asked: no(asked, code)) as server:
        result = rad69("get", server.url, *ONE, "-o", tmp_path / "out", "--attempts", 1)
    assert result.exit_code == 3, result.output
    last = result.stderr.splitlines()[-1].strip()
    assert last.startswith(advice)
    assert ("Run the same command again" in last) is (code == "XDSRepositoryBusy")


@pytest.mark.parametrize("in_the_way", ["target", "instance"])
def test_exit_code_storage(in_the_way: str, source: SimulatedSource, tmp_path: Path) -> None:
    """What cannot be written is exit code 7; a file with other content stays."""
    first = source.references()[0]
    target = tmp_path / "out"
    file = target if in_the_way == "target" else target / f"{path_of(first)}.dcm"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"mine")
    args = ("--repository", REPOSITORY, "--reference", path_of(first), "--json")
    result = rad69("get", source.url, *args, "-o", target)
    assert result.exit_code == 7, result.output
    assert file.read_bytes() == b"mine"
    assert json.loads(result.stdout)["complete"] is False
    assert first.sop_instance_uid not in result.stderr


def test_json_is_alone_on_stdout(source: SimulatedSource, table: Path, tmp_path: Path) -> None:
    """In a pipe, stdout is the report and stderr is for people."""
    args = ("get", source.url, "--table", table, "--reference", UNKNOWN, "--repository", REPOSITORY)
    done = subprocess.run(command(*args, "-o", tmp_path / "out", "--json"), capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert done.returncode == 3
    assert report["instances"] == {"asked": 83, "delivered": 82, "refused": 1, "missing": 0, "ignored": 0}
    assert report["error"]["class"] == "IncompleteRetrieveError"
    assert done.stderr.startswith("rad69: incomplete")


def test_json_before_there_is_a_report(tmp_path: Path) -> None:
    """An endpoint that refuses us gives a report of nothing, and its reason."""
    with web_server(401) as server:
        report = json.loads(rad69("get", server.url, *ONE, "-o", tmp_path, "--json").stdout)
    assert (report["complete"], report["error"]["class"]) == (False, "AuthenticationError")


def test_quiet(source: SimulatedSource, table: Path, tmp_path: Path) -> None:
    """``-q`` says nothing where nothing is wrong."""
    result = rad69("get", source.url, "--table", table, "-o", tmp_path / "out", "-q")
    assert (result.exit_code, result.output) == (0, "")


@pytest.mark.parametrize("log", [("--log-format", "text"), ("--log-format", "json"), ("--debug",)], ids=" ".join)
def test_quiet_leaves_only_errors_of_a_log(log: tuple[str, ...], source: SimulatedSource, tmp_path: Path) -> None:
    """Whatever is logged: what is lost and why the command failed, and no request that went well or is repeated."""
    reference = source.references()[0]
    result = rad69("get", source.url, *by_reference(reference), "-o", tmp_path / "out", "-q", *log)
    assert (result.exit_code, result.output) == (0, "")
    with ScriptedSource(lambda _: Scripted(status="500 Internal Server Error")) as broken:
        result = rad69("get", broken.url, *ONE, "-o", tmp_path / "out", "-q", "--attempts", 2, *log)
    assert result.exit_code == 3
    assert "instance lost" in result.stderr
    assert "rad69: incomplete" in result.stderr
    assert not re.search(r" (INFO|WARNING) |\"(info|warning)\"", result.stderr)


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    """``--debug`` shows where an error came from, and changes nothing else."""
    with web_server(404) as server:
        result = rad69("get", server.url, *ONE, "-o", tmp_path, "--debug")
    assert result.exit_code == 6
    assert "request started" in result.stderr
    assert "Traceback" in result.stderr


@pytest.mark.parametrize("debug", [False, True])
def test_a_bug_is_not_a_traceback(
    debug: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody foresaw is a line and exit code 1, without its text; with ``--debug`` it goes through."""

    def broken(**_: object) -> None:
        raise KeyError(INSTANCE)

    monkeypatch.setattr("asyncrad69.cli._get.retrieve", lambda *_, **__: broken())
    arguments = ["get", "http://127.0.0.1:1/", *ONE, "-o", "out"]
    monkeypatch.setattr(sys, "argv", ["rad69", *arguments, *(["--debug"] if debug else [])])
    with pytest.raises(KeyError if debug else SystemExit) as raised:
        main()
    if not debug:
        assert raised.value.args == (1,)
        assert capsys.readouterr().err.startswith("rad69: a bug: KeyError\n")


@needs_sigint
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_interrupted(source: SimulatedSource, tmp_path: Path, number: signal.Signals) -> None:
    """A signal ends cleanly with 130, says what there is, and that the same command goes on; which it does."""
    first, second = source.references()[0], source.references()[-1]
    target = tmp_path / "out"
    assert rad69("get", source.url, *by_reference(first), "-o", target).exit_code == 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/rad69"
        process = subprocess.Popen(
            command("get", url, *by_reference(first, second), "-o", target, "--json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(1)
            process.send_signal(number)
            stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert [row["state"] for row in json.loads(stdout)["rows"]] == ["delivered", "missing"]
    assert stderr.splitlines() == [
        f"rad69: interrupted: 1 of 2 instances are whole in {target}",
        "  Run the same command again to go on.",
    ]
    assert rad69("get", source.url, *by_reference(first, second), "-o", target).exit_code == 0


@needs_sigint
def test_interrupted_twice(source: SimulatedSource, table: Path, tmp_path: Path) -> None:
    """Two of Ctrl-C, as some send them, are one: the files are counted as they are, and nothing is torn apart."""
    get = command("get", source.url, "--table", table, "-o", tmp_path, "--max-rate", "4MB/s", "--log-format", "json")
    for _ in range(3):
        with subprocess.Popen(get, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert any("request finished" in line for line in process.stderr)
            process.send_signal(signal.SIGINT)
            time.sleep(0.001)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=30)
        assert process.returncode == 130, stderr
        written = len(list(tmp_path.rglob("*.dcm")))
        assert f"interrupted: {written} of 82 instances are whole" in stderr
        assert "Traceback" not in stderr


@pytest.mark.parametrize(
    "interrupt",
    [
        pytest.param("KeyboardInterrupt", id="ctrl-c"),
        pytest.param("Abort", id="at a prompt"),
        pytest.param("BaseExceptionGroup('tasks', [KeyboardInterrupt()])", id="in a task"),
        pytest.param("RuntimeError from KeyboardInterrupt", id="in an import"),
    ],
)
def test_interrupted_at_any_other_moment(interrupt: str, tmp_path: Path) -> None:
    """Ctrl-C is 130 before a retrieve begins, too, in one line."""
    code = (
        "import sys\nfrom asyncrad69.cli import _get, main\n"
        "from asyncrad69.cli._get import Asked\nfrom click import Abort\n"
        f"def references(*_): raise {interrupt}\n"
        f"Asked.references = references\nsys.argv = ['rad69', 'get', 'http://localhost/', '-o', {str(tmp_path)!r}]\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "rad69: interrupted")


@needs_sigint
@pytest.mark.parametrize("limit", [("--max-rate", "1B/s"), ("--max-requests-per-minute", "1")])
def test_get_takes_its_time(limit: tuple[str, str], source: SimulatedSource, table: Path, tmp_path: Path) -> None:
    """While another client gets everything, one that is limited does not come to its second request."""
    get = ("get", source.url, "--table", table, "-o")
    slowly = command(*get, tmp_path / "slowly", *limit, "--concurrency", 1, "--log-format", "json", "--json")
    with subprocess.Popen(slowly, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("request started" in line for line in process.stderr)
        meanwhile = rad69(*get, tmp_path / "meanwhile")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, meanwhile.exit_code) == (130, 0), stderr
    assert json.loads(stdout)["requests"] == 1


def by_reference(*references: InstanceReference) -> list[str]:
    named = [part for each in references for part in ("--reference", path_of(each))]
    return ["--repository", REPOSITORY, *named]


# --- credentials


@pytest.mark.parametrize(
    ("args", "given", "header", "value"),
    [
        pytest.param(("--user", "u"), {"env": {"RAD69_PASSWORD": SECRET}}, "authorization", "Basic ", id="env"),
        pytest.param(
            ("--user", "u", "--password-stdin"), {"input": f"{SECRET}\n"}, "authorization", "Basic ", id="stdin"
        ),
        pytest.param(
            ("--bearer-env", "TOKEN"), {"env": {"TOKEN": SECRET}}, "authorization", f"Bearer {SECRET}", id="bearer"
        ),
        pytest.param(("--header", f"X-API-Key: {SECRET}"), {}, "x-api-key", SECRET, id="header"),
        pytest.param(("--header", "@headers.txt"), {}, "x-api-key", SECRET, id="header file"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_credentials_are_sent_and_never_shown(
    args: tuple[str, ...],
    given: dict[str, Any],
    header: str,
    value: str,
    debug: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The source gets them; stdout, stderr, the report and a traceback do not have them."""
    monkeypatch.chdir(tmp_path)
    Path("headers.txt").write_text(f"X-API-Key: {SECRET}\n\nX-Site: 7\n")
    more = ("--debug", "--log-identifiers") if debug else ("--json",)
    with web_server(401) as server:
        result = rad69("get", server.url, *ONE, "-o", "out", *args, *more, **given)
        assert server.headers[0][header].startswith(value)
    assert result.exit_code == 4
    assert ("Traceback" in result.stderr) is debug
    assert SECRET not in result.output
    assert server.headers[0][header].rpartition(" ")[2] not in result.output


_SECURITY = (
    '<w:Security xmlns:w="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd">'
    f"<a>{SECRET}</a></w:Security>"
)


@pytest.mark.parametrize(("name", "given"), [("header.xml", {}), ("-", {"input": _SECURITY})], ids=["file", "stdin"])
def test_security_header(name: str, given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes out byte for byte, and is in no output."""
    monkeypatch.chdir(tmp_path)
    Path("header.xml").write_text(_SECURITY)
    with ScriptedSource(lambda _: Scripted(status="401 Unauthorized")) as server:
        result = rad69("get", server.url, *ONE, "-o", "out", "--security-header", name, "--debug", **given)
    assert _SECURITY.encode() in server.requests[0].body
    assert result.exit_code == 4, result.output
    assert SECRET not in result.output


@pytest.mark.parametrize("by_stdin", [False, True])
@pytest.mark.parametrize("text", [SECRET, f"<{SECRET}/>", _SECURITY.removesuffix(">")])
def test_a_security_header_that_is_none(text: str, by_stdin: bool, tmp_path: Path) -> None:
    """A mistake in the command line, said before anything is sent, without its content."""
    file = tmp_path / "header.xml"
    file.write_text(text)
    given = {"input": text} if by_stdin else {}
    name = "-" if by_stdin else file
    result = rad69("get", "https://127.0.0.1:1/", *ONE, "-o", tmp_path / "out", "--security-header", name, **given)
    assert result.exit_code == 2, result.output
    assert "security header" in result.stderr
    assert SECRET not in result.output


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system's store is no file that a test can name")
def test_system_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--system-trust trusts what the operating system trusts, and says which extra it needs where it needs one."""
    authority().cert_pem.write_to_path(tmp_path / "ca.pem")
    with ScriptedSource(lambda _: Scripted(status="404 Not Found"), tls=served()) as server:
        args = ("get", server.url, *ONE, "-o", tmp_path / "out", "--attempts", 1)
        assert rad69(*args).exit_code == 5
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert rad69(*args, "--system-trust").exit_code == 6
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))
        monkeypatch.setitem(sys.modules, "truststore", None)
        without = rad69(*args, "--system-trust")
    assert without.exit_code == 2
    assert 'pip install "asyncrad69[truststore]"' in without.stderr


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(("--header", f"X-API-Key {SECRET}"), id="header without a colon"),
        pytest.param(("--header", f"X-API-Key: {SECRET}\nX: y"), id="header of two lines"),
        pytest.param(("--proxy", f"ftp://me:{SECRET}@proxy.example"), id="proxy scheme"),
        pytest.param(("--proxy", f"http://me:{SECRET}@[proxy"), id="proxy host"),
        pytest.param(("--proxy", f"http://me:{SECRET}@proxy:port"), id="proxy port"),
    ],
)
def test_what_holds_a_secret_is_not_quoted(args: tuple[str, ...], tmp_path: Path) -> None:
    """A header or proxy that makes no sense is refused without repeating it."""
    result = rad69("get", "http://127.0.0.1:1/", *ONE, "-o", tmp_path / "out", *args)
    assert result.exit_code == 2, result.output
    assert args[0] in result.stderr
    assert SECRET not in result.output


def test_proxy(tmp_path: Path) -> None:
    """Requests go to the proxy, and not to the source."""
    with web_server(407) as proxy:
        address = proxy.url.removesuffix("/rad69")
        result = rad69("get", "http://source.invalid/", *ONE, "-o", tmp_path / "out", "--proxy", address)
    assert result.exit_code == 4, result.output
    assert proxy.headers[0]["host"] == "source.invalid"


def test_tls(tmp_path: Path) -> None:
    """An unknown authority is exit code 5 and names the option; with that and our certificate we get through."""
    ca_file, certificate = tmp_path / "ca.pem", tmp_path / "client.pem"
    authority().cert_pem.write_to_path(ca_file)
    authority().issue_cert("client.example").private_key_and_cert_chain_pem.write_to_path(certificate)
    with web_server(404, context=served(asks=True)) as server:
        args = ("get", server.url, *ONE, "-o", tmp_path / "out", "--attempts", 1)
        unknown = rad69(*args)
        known = rad69(*args, "--ca-file", ca_file, "--client-cert", certificate)
    assert (unknown.exit_code, known.exit_code) == (5, 6), unknown.output + known.output
    assert "--ca-file" in unknown.stderr


# --- logs and progress


@pytest.mark.parametrize("identifiers", [False, True])
def test_json_log(identifiers: bool, source: SimulatedSource, tmp_path: Path) -> None:
    """A JSON object a line, and UIDs only where they were asked for."""
    args = ("--log-format", "json", *(("--log-identifiers",) if identifiers else ()))
    result = rad69("get", source.url, *ONE, "-o", tmp_path, *args)
    records = [json.loads(line) for line in result.stderr.splitlines()]
    events = [record["event"] for record in records]
    assert all(datetime.fromisoformat(record["time"]).tzinfo is UTC for record in records)
    assert {record["level"] for record in records} == {"info", "error"}
    assert events[0] == "request started"
    assert "instance lost" in events
    assert events[-1].startswith("rad69: incomplete")
    assert (INSTANCE in result.stderr) is identifiers
    assert (without_uids(result.stderr) == result.stderr) is not identifiers
    assert (INSTANCE in result.stdout) is False


def test_text_log(source: SimulatedSource, tmp_path: Path) -> None:
    """The same as text: time, level, event, facts."""
    result = rad69("get", source.url, *ONE, "-o", tmp_path, "--log-format", "text")
    first = result.stderr.splitlines()[0]
    assert re.fullmatch(r"\S+T\S+Z INFO    request started instances=1", first)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("instance 1.2.840.10008.5.1 is cut", "instance <uid> is cut"),
        ("2.25.123456789.dcm is there", "<uid>.dcm is there"),
        ("no connection to 127.0.0.1:8069", "no connection to 127.0.0.1:8069"),
        ("repository 1.2.3.4", "repository 1.2.3.4"),
    ],
)
def test_without_uids(text: str, expected: str) -> None:
    """What identifies is gone, addresses stay."""
    assert without_uids(text) == expected


def hints() -> Iterator[str]:
    kinds = [Rad69Error]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if kind.hint:
            yield kind.hint


@pytest.mark.parametrize("hint", sorted(set(hints())))
def test_hints_name_options(hint: str) -> None:
    """The library's hints name keywords; the command line's name options."""
    assert not re.search(r"\b[a-z_]+=", in_options(hint))


REFERENCE = InstanceReference(STUDY, SERIES, INSTANCE)
ARRIVED = InstanceVerified(reference=REFERENCE, size_bytes=500_000, transfer_syntax_uid="1.2")


def tally(seconds: float = 2.0, **kwargs: Any) -> Tally:
    """Of four instances, one has come after so many seconds and one is lost."""
    ticks = count(0, seconds)
    counted = Tally(4, clock=lambda: next(ticks), **kwargs)
    for event in (
        BytesReceived(size_bytes=500_000),
        ARRIVED,
        InstanceFailed(reference=REFERENCE, error=None),
        RetryScheduled(references=(REFERENCE,), wait_s=0.0),
    ):
        counted.note(event)
    return counted


def test_rate_and_time_left() -> None:
    """The rate is bytes over time; what is left takes as long as what was settled did, by its share."""
    assert tally().rate() == 250_000
    assert tally().maybe_seconds_left() == 2.0
    assert Tally(4).maybe_seconds_left() is None


def test_time_left_by_bytes_where_they_are_known() -> None:
    """With the size known beforehand, bytes count and not instances."""
    ticks = count(0, 3.0)
    counted = Tally(100, 2_000_000, clock=lambda: next(ticks))
    counted.note(ARRIVED)
    assert counted.maybe_seconds_left() == 9.0


@pytest.mark.parametrize("size_bytes", [None, 20_000_000])
def test_what_was_there_counts_but_says_nothing_of_speed(size_bytes: int | None) -> None:
    """Instances in their files already are in the totals at once, and leave the time for the rest to the rest."""
    ticks = count(0, 3.0)
    counted = Tally(40, size_bytes, clock=lambda: next(ticks))
    for _ in range(36):
        counted.note(InstancePresent(reference=REFERENCE, size_bytes=500_000))
    assert (counted.delivered, counted.delivered_bytes, counted.received_bytes) == (36, 18_000_000, 0)
    assert counted.maybe_seconds_left() is None
    counted.note(ARRIVED)
    assert counted.maybe_seconds_left() == 9.0


@pytest.mark.parametrize("width", [30, 50, 60, 80, 100, 120, 200])
def test_bar_is_one_line(width: int) -> None:
    """The bar fits any terminal, in one line, and counts what is missing before anything else is dropped."""
    console = Console(width=width)
    with console.capture() as capture:
        console.print(bar(tally(), width))
    [line] = capture.get().splitlines()
    assert "1/4 instances" in line
    assert ("1 failed" in line) is (width >= 48)


def test_bar_on_a_terminal() -> None:
    """It is drawn in place, ends with what has been, and gives the cursor back."""
    console = Console(file=StringIO(), force_terminal=True, width=80)
    with Bar(Tally(4), console) as display:
        display.note(ARRIVED)
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1/4 instances" in drawn.rpartition("\r")[2]
    assert drawn.index("\x1b[?25l") < drawn.index("\x1b[?25h")


@pytest.mark.parametrize(
    ("settings", "terminal", "kind"),
    [
        pytest.param({}, True, Bar, id="terminal"),
        pytest.param({}, False, Lines, id="pipe"),
        pytest.param({"quiet": True}, True, Silent, id="quiet"),
        pytest.param({"log_format": "json"}, True, Log, id="log"),
        pytest.param({"debug": True}, True, Log, id="debug"),
    ],
)
def test_display(settings: dict[str, Any], terminal: bool, kind: type[Silent], monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar for people, lines for a file, records where they were asked for."""
    monkeypatch.setattr("asyncrad69.cli._output.Console", lambda **_: Console(force_terminal=terminal))
    monkeypatch.setenv("TERM", "xterm")
    defaults = {"as_json": False, "quiet": False, "debug": False, "log_format": None, "log_identifiers": False}
    assert type(Output(**(defaults | settings)).display(Tally(1))) is kind


def test_no_lines_while_a_job_waits_for_the_night() -> None:
    """It has said what it waits for; with the next event they go on."""
    written = Queue[str]()
    with Lines(tally(), written.put, every_s=0.01) as display:
        display.say("waiting: 19:00")
        while written.get(timeout=10) != "waiting: 19:00":
            pass
        sleep(0.1)
        assert written.empty()
        display.note(BytesReceived(size_bytes=1))
        assert written.get(timeout=10).startswith("1/4 instances")


def test_lines_while_nothing_happens() -> None:
    """Without a terminal there is a line each time, without an event too; none before, and none after the end."""
    written = Queue[str]()
    with Lines(tally(), written.put, every_s=0.01):
        lines = [written.get(timeout=10) for _ in range(2)]
    before, threads = written.qsize(), [thread.name for thread in threading.enumerate()]
    sleep(0.05)
    assert written.qsize() == before
    assert "rad69 progress" not in threads
    assert lines[0].startswith("1/4 instances, 500.0 kB, ")
    assert lines[0].endswith("1 failed, 1 retried")


def test_no_line_before_its_time() -> None:
    """A retrieve that is quickly over writes none, and does not wait for one."""
    written = list[str]()
    with Lines(tally(), written.append) as display:
        display.note(BytesReceived(size_bytes=1))
    assert written == []


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [(0, "0 B"), (999, "999 B"), (999.9, "1.0 kB"), (31_638_546, "31.6 MB"), (2e9, "2.0 GB"), (3e15, "3000.0 TB")],
)
def test_size(size_bytes: float, expected: str) -> None:
    """Bytes in the unit that people would choose."""
    assert size(size_bytes) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.4, "0:00"), (59.6, "1:00"), (3661, "1:01:01"), (187_200, "2 d 4 h")]
)
def test_duration(seconds: float, expected: str) -> None:
    """Time as a clock shows it, and days as days."""
    assert duration(seconds) == expected


# --- serve


@contextmanager
def serving(*args: object) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """``rad69 serve``, and what it says about itself."""
    arguments = command("serve", "--port", 0, *args)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline() for _ in range(4)]
            yield process, {name: rest.strip() for name, _, rest in (line.partition(" ") for line in lines)}
        finally:
            process.kill()


@needs_sigint
def test_serve_demo_to_get(tmp_path: Path) -> None:
    """The command that ``rad69 serve`` suggests gets everything it serves, and Ctrl-C stops it."""
    with serving("--slices", 1, "--table", tmp_path / "references.csv") as (process, says):
        arguments = says["fetch"].split()[1:-1]
        result = rad69(*arguments, tmp_path / "out")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert result.exit_code == 0, result.output
    assert len(list(tmp_path.rglob("*.dcm"))) == 82
    assert (process.returncode, stderr) == (0, "stopped after 15 requests\n")


def test_serve_folder(source: SimulatedSource, tmp_path: Path) -> None:
    """A folder is served as it is, and without a table one of its instances is suggested."""
    first = source.references()[0]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(source.data(first.sop_instance_uid))
    with serving(tmp_path / "in", "--repository", "1.2.9") as (_, says):
        result = rad69(*says["fetch"].split()[1:-1], tmp_path / "out")
    assert (says["repository"], result.exit_code) == ("1.2.9", 0), result.output
    assert f"{path_of(first)}" in says["fetch"]


@needs_sigint
def test_serve_badly(tmp_path: Path) -> None:
    """A stack's shape, a framing and faults are options: what goes wrong twice, the third attempt gets."""
    faults = ("--fault", "status:status=503,retry_after=0,nth=1", "--fault", "cut:nth=2", "--seed", 7)
    with serving("--slices", 0, "--profile", "wcf", "--framing", "length", *faults) as (process, says):
        result = rad69(*says["fetch"].split()[1:-1], tmp_path / "out")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert result.exit_code == 0, result.output
    assert stderr == "stopped after 3 requests\n"


def test_serve_asks_for_a_security_header(tmp_path: Path) -> None:
    """What is suggested has a file for it. Without, we are refused by a SOAP fault, which is exit code 4, too."""
    (tmp_path / "header.xml").write_text(_SECURITY)
    with serving("--slices", 0, "--security-header") as (_, says):
        get = says["fetch"].split()[1:-1]
        place = get.index("SECURITY.xml")
        assert get[place - 1] == "--security-header"
        refused = rad69(*get[: place - 1], *get[place + 1 :], tmp_path / "refused")
        get[place] = str(tmp_path / "header.xml")
        result = rad69(*get, tmp_path / "out")
    assert (result.exit_code, refused.exit_code) == (0, 4), result.output
    assert "--security-header" in refused.stderr


def test_serve_at_every_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is suggested is for this machine: credentials do not leave it, and need no leave to."""
    monkeypatch.setenv("RAD69_PASSWORD", SECRET)
    with serving("--slices", 0, "--host", "0.0.0.0", "--user", "me") as (_, says):
        result = rad69(*says["fetch"].split()[1:-1], tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "--allow-plaintext" not in says["fetch"]


@pytest.mark.parametrize(
    ("url", "needed", "arguments"),
    [
        ("http://127.0.0.1:1/", ["--user", "me"], "http://127.0.0.1:1/ --user me"),
        ("http://192.0.2.7:1/", ["--user", "me"], "http://192.0.2.7:1/ --user me --allow-plaintext"),
        ("http://[2001:db8::7]:1/", ["--user", "me"], "http://[2001:db8::7]:1/ --user me --allow-plaintext"),
        ("https://192.0.2.7:1/", ["--user", "me"], "https://192.0.2.7:1/ --user me"),
        ("http://192.0.2.7:1/", [], "http://192.0.2.7:1/"),
        ("http://[::]:1/", ["--user", "me"], "http://[::1]:1/ --user me"),
    ],
)
def test_serve_at_an_address_of_its_own(url: str, needed: list[str], arguments: str) -> None:
    """Where credentials do go out in plain text, ``rad69 get`` wants to be told that they may."""
    assert " ".join(_asked_at(url, needed)) == arguments


@pytest.mark.parametrize("with_authority", [False, True])
def test_serve_asks_who_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_authority: bool) -> None:
    """The secret is in the environment; who knows it gets what is served over TLS, and slowly, as is suggested."""
    authority().cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes()
    (tmp_path / "server.pem").write_bytes(certificate + (authority().cert_pem.bytes() if with_authority else b""))
    monkeypatch.setenv("RAD69_PASSWORD", SECRET)
    slow = ("--latency", 0.001, "--latency-per-instance", 0.001, "--bytes-per-s", 1e6, "--max-concurrency", 1)
    with serving("--slices", 0, "--user", "u", "--certfile", tmp_path / "server.pem", *slow) as (_, says):
        assert f"--user u --ca-file {tmp_path / 'server.pem' if with_authority else 'CA.pem'} " in says["fetch"]
        get = says["fetch"].replace("CA.pem", str(tmp_path / "ca.pem")).split()[1:-1]
        result = rad69(*get, tmp_path / "out")
        monkeypatch.setenv("RAD69_PASSWORD", "another")
        refused = rad69(*get, tmp_path / "refused", "--attempts", 1)
    assert says["url"].startswith("https://")
    assert (refused.exit_code, result.exit_code) == (4, 0), result.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--fault", "cut:rate=2"), "rate is more than 0 and at most 1"),
        (("--latency", -1), "latency_s is 0 or more"),
        (("--bearer-env", "NOT_THERE"), "the environment has no NOT_THERE"),
        (("--bearer-env", "TOKEN", "--user", "u"), "pass --user or --bearer-env, not both"),
        (("--client-ca", __file__), "need a certfile"),
        (("--certfile", __file__), "--certfile, --keyfile or --client-ca"),
    ],
)
def test_serve_badly_spelled(args: tuple[str, ...], message: str) -> None:
    """What makes no sense is exit code 2, with what would make some."""
    result = rad69("serve", "--slices", 0, *args)
    assert (result.exit_code, message in result.stderr) == (2, True), result.output


def test_serve_usage(tmp_path: Path) -> None:
    """An empty folder, a wrong repository and a port that is taken are exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = rad69("serve", "--slices", 0, "--port", listener.getsockname()[1])
    results = [rad69("serve", tmp_path), rad69("serve", "--slices", 0, "--repository", "x"), taken]
    assert [result.exit_code for result in results] == [2, 2, 2]
    assert "Address already in use" in taken.stderr


def test_serve_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is named, and no option that was not given."""

    def refused(path: Path, *_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    (tmp_path / "locked.dcm").touch()
    monkeypatch.setattr("asyncrad69.testing._archive._opened", refused)
    result = rad69("serve", tmp_path)
    assert result.exit_code == 2
    assert "FOLDER: locked.dcm cannot be read: Permission denied" in result.stderr
    assert "--certfile" not in result.stderr


# --- documentation

DOCUMENTATION = Path(__file__).parents[1] / "docs" / "cli.md"
BULK = DOCUMENTATION.with_name("bulk.md")
NAMED_FILES = ("manifest.dcm", "references.csv", "ca.pem", "client.pem")


def documented_commands() -> list[str]:
    """Every ``rad69`` command of the documentation, up to a pipe or a redirection."""
    if not DOCUMENTATION.exists():
        return []
    text = DOCUMENTATION.read_text() + BULK.read_text()
    return re.findall(r"^(rad69 [^|<>\n]+)", text, flags=re.MULTILINE)


@pytest.mark.skipif(not DOCUMENTATION.exists(), reason="docs/cli.md is not beside these tests")
@pytest.mark.parametrize("line", documented_commands())
def test_documented_commands_parse(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the documentation shows is a command, and its options exist."""
    monkeypatch.chdir(tmp_path)
    Path("FOLDER").mkdir()
    for name in NAMED_FILES:
        Path(name).touch()
    Path("profiles.toml").write_text('[hospital]\nurl = "https://source.example/rad69"\n')
    monkeypatch.setenv("RAD69_PROFILES", "profiles.toml")
    profile, words = documented_words(line)
    command: click.Command = app
    context = app.make_context("rad69", words[:1], default_map=profile)
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None
        command, context = found, found.make_context(name, list(words), parent=context)
    assert context.params


def documented_words(line: str) -> tuple[dict[str, Any], list[str]]:
    """What --profile names, and the words after it."""
    _, *words = shlex.split(line)
    if words[0] != "--profile":
        return {}, words
    return profile_of(words[1]).default_map(), words[2:]


@pytest.mark.skipif(not DOCUMENTATION.exists(), reason="docs/cli.md is not beside these tests")
def test_documented_exit_codes() -> None:
    """The table of exit codes has all of them, and no other."""
    documented = re.findall(r"^\| (\d+) \| ", DOCUMENTATION.read_text(), flags=re.MULTILINE)
    assert [int(code) for code in documented] == sorted(ExitCode)
