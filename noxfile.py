"""The project's checks: ``nox`` runs what a change must pass, ``nox -l`` lists the rest."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_missing_interpreters = False


def group(name: str) -> list[str]:
    """A dependency group's requirements."""
    return list(nox.project.dependency_groups(PROJECT, name))


@nox.session
def lint(session: nox.Session) -> None:
    """Style, spelling, and the lint rules of pyproject.toml."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")


@nox.session
def types(session: nox.Session) -> None:
    """mypy --strict on everything."""
    session.install(".[cli,server]", *group("types"), *group("test"), "nox")
    session.run("mypy")


@nox.session
def public_types(session: nox.Session) -> None:
    """How much of the public interface is typed, by pyright."""
    session.install(".[cli,dicomtrolley,server]", "pyright")
    session.run("pyright", "--verifytypes", "asyncrad69", "--ignoreexternal")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests, against the built wheel."""
    wheel = build_wheel(session)
    session.install(f"{wheel}[cli,server]", *group("test"))
    session.run("pytest", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Branch coverage of everything; the rooms without I/O must have all of it."""
    session.install("-e", ".[cli,server]", *group("test"), *group("coverage"))
    session.run("coverage", "run", "-m", "pytest", "-q", *session.posargs)
    session.run("coverage", "report", "--fail-under=90")
    session.run("coverage", "report", "--fail-under=100", f"--include={','.join(PURE_ROOMS)}")


# Floors 0 to 2; tests/test_layers.py knows them.
PURE_ROOMS = [
    f"*/asyncrad69/{room}.py"
    for room in (
        "_content_encoding",
        "_dataset",
        "_dicom",
        "_documents",
        "_elements",
        "_errors",
        "_events",
        "_instance",
        "_kos",
        "_lazy",
        "_ledger",
        "_likeness",
        "_limits",
        "_multipart",
        "_options",
        "_pace",
        "_patience",
        "_plan",
        "_reference_files",
        "_references",
        "_reply",
        "_report",
        "_security_header",
        "_soap",
        "_soap_request",
        "_throttle",
        "_transfer_syntaxes",
        "_version",
        "_walk",
        "audit",
    )
]


@nox.session
def rooms(session: nox.Session) -> None:
    """The rooms without I/O, by the tests that need no command, job or server of their own: every branch of them."""
    session.install("-e", ".[cli,server]", *group("test"), *group("coverage"))
    session.run("coverage", "run", "-m", "pytest", "-q", *(f"tests/test_{name}.py" for name in ROOM_TESTS))
    session.run("coverage", "report", "--fail-under=100", f"--include={','.join(PURE_ROOMS)}")


ROOM_TESTS = [
    "audit",
    "client",
    "content_encoding",
    "dataset",
    "dicom",
    "documents",
    "errors",
    "events",
    "exchange",
    "exports",
    "handover",
    "kos",
    "ledger",
    "likeness",
    "multipart",
    "options",
    "pace",
    "plan",
    "properties_protocol",
    "reference_files",
    "references",
    "reply",
    "report",
    "security_header",
    "soap",
    "throttle",
    "walk",
]


@nox.session
def interop(session: nox.Session) -> None:
    """Against RAD-69 servers that are not ours, where they are at hand; skipped by name elsewhere."""
    session.install(f"{build_wheel(session)}[cli,server]", *group("test"))
    session.run("pytest", "-m", "interop", "--timeout", "600", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Every fault in every framing, cut at every byte, every way to end: half an hour. The tests take a slice of it."""
    rest = ("--deselect", "tests/faults/test_chaos.py", "--deselect", "tests/faults/test_soak.py")
    trouble(session, "tests/faults", *rest)


@nox.session
def chaos(session: nox.Session) -> None:
    """1,000 retrieves from a source whose answers are wrong at random."""
    trouble(session, "tests/faults/test_chaos.py")


@nox.session
def soak(session: nox.Session) -> None:
    """Five minutes of retrieving from a source in chaos; ``RAD69_SOAK_S=28800 nox -s soak`` takes eight hours."""
    trouble(session, "tests/faults/test_soak.py", RAD69_SOAK_S=os.environ.get("RAD69_SOAK_S", "300"))


@nox.session
def fuzz(session: nox.Session) -> None:
    """A million inputs that no sane peer sends, to every reader of foreign bytes."""
    executions = os.environ.get("RAD69_FUZZ_EXECUTIONS", "1000000")
    trouble(session, "tests/fuzz", RAD69_FUZZ_EXECUTIONS=executions)


def trouble(session: nox.Session, *args: str, **env: str) -> None:
    """Tests at their full scale, with their figures in one line at the end."""
    session.install(f"{build_wheel(session)}[cli,server]", *group("test"))
    session.run("pytest", "-q", *args, *session.posargs, env={"RAD69_TEST_SCALE": "full", **env})


@nox.session
def demo(session: nox.Session) -> None:
    """The main job as a user runs it: a simulated source, a retrieve, files, a report."""
    session.install(f"{build_wheel(session)}[cli,server]")
    session.run("rad69", "demo", "--json", "-o", str(Path(session.create_tmp(), "demo")))


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmark's quick form."""
    session.install(".[cli,server]", *group("test"), *group("bench"))
    session.run("python", "-m", "benchmarks", *(session.posargs or ["--quick"]))


def build_wheel(session: nox.Session) -> str:
    """Build the wheel that users would install; returns its path."""
    folder = Path(session.create_tmp(), "wheel")
    shutil.rmtree(folder, ignore_errors=True)
    session.run("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), ".")
    return str(next(folder.glob("*.whl")))
