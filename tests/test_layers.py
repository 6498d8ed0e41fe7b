"""The structure of the package: imports go down, and each dependency has its doors."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import asyncrad69
import pages
from pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(asyncrad69.__file__).parent

# From the ground up. A room imports from its own floor or from a lower one.
FLOORS = [
    {
        "_version",
        "_lazy",
        "_documents",
        "_errors",
        "_limits",
        "_references",
        "_events",
        "_report",
        "_transfer_syntaxes",
    },
    {
        "_content_encoding",
        "_dataset",
        "_dicom",
        "_elements",
        "_kos",
        "_likeness",
        "_multipart",
        "_reference_files",
        "_reply",
        "_security_header",
        "_soap",
        "_soap_request",
        "_walk",
        "audit",
    },
    {"_instance", "_ledger", "_options", "_pace", "_patience", "_plan", "_throttle"},
    {
        "_asking",
        "_connection",
        "_content",
        "_document_retrieval",
        "_download",
        "_endpoint",
        "_examination",
        "_exchange",
        "_files",
        "_handover",
        "_http_client",
        "_http_errors",
        "_identity",
        "_journal",
        "_keeping",
        "_qido",
        "_retrieval",
        "_running",
        "_services",
        "_threads",
        "_tls",
        "_to_files",
        "_transport",
    },
    {"_client", "_blocking", "_probe"},
    {"dicomtrolley", "testing", "cli", "jobs", "__init__", "__main__"},
]

# anyio is the ground the upper floors stand on; everything else has few doors.
DOORS = {
    "anyio": {
        "_asking",
        "_content",
        "_document_retrieval",
        "_endpoint",
        "_exchange",
        "_handover",
        "_identity",
        "_keeping",
        "_retrieval",
        "_running",
        "_services",
        "_threads",
        "_to_files",
        "_client",
        "_transport",
        "_blocking",
        "_probe",
        "cli",
        "jobs",
    },
    "anyio.from_thread": {"_blocking"},
    "httpx": {"_connection", "_endpoint", "_http_client", "_http_errors", "_tls", "_transport"},
    "httpcore": {"_transport"},
    "multipart": {"_multipart"},
    "pydicom": {"_dataset", "_dicom", "_probe", "testing", "cli"},
    "xmltodict": {"_soap", "_soap_request"},
    "dicomtrolley": {"dicomtrolley"},
    "truststore": {"_tls"},
    "uvicorn": {"testing"},
    "click": {"cli"},
    "rich": {"cli"},
    "PIL": {"cli"},
    "numpy": {"cli"},
    "keyring": {"cli"},
    "platformdirs": {"cli"},
}

STDLIB_ONLY = FLOORS[0]


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield room_of(path), path


def room_of(path: Path) -> str:
    """The room a file belongs to: its module, or the package it is part of."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Absolute names of what a file imports, and whether it is part of this package."""
    parents = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, alias.name.partition(".")[0] == "asyncrad69"
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join((*parents[: len(parents) - node.level + 1], node.module or ""))
            for alias in node.names:
                yield f"{base}.{alias.name}".strip("."), True
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.module.partition(".")[0] == "asyncrad69"


def floor_of(room: str) -> int:
    return next(number for number, floor in enumerate(FLOORS) if room in floor)


MODULES = list(modules())


@pytest.mark.parametrize(("room", "path"), MODULES, ids=lambda value: str(value).rpartition("/")[2])
def test_every_file_has_a_floor(room: str, path: Path) -> None:
    """A new room is put on a floor when it is built."""
    assert any(room in floor for floor in FLOORS)


@pytest.mark.parametrize(("room", "path"), MODULES, ids=lambda value: str(value).rpartition("/")[2])
def test_imports_go_down(room: str, path: Path) -> None:
    """No room imports from a floor above its own."""
    for name, ours in imports(path):
        imported = name.removeprefix("asyncrad69").strip(".").partition(".")[0]
        if ours and imported != room:
            known = any(imported in floor for floor in FLOORS)
            assert not known or floor_of(imported) <= floor_of(room), f"{room} imports {imported}"


@pytest.mark.parametrize(("room", "path"), MODULES, ids=lambda value: str(value).rpartition("/")[2])
def test_dependencies_have_doors(room: str, path: Path) -> None:
    """A dependency is imported in the rooms that are its doors, and nowhere else."""
    for name, ours in imports(path):
        if not ours:
            door = next((each for each in (name, name.partition(".")[0]) if each in DOORS), None)
            assert door is None or room in DOORS[door], f"{room} imports {name}"


@pytest.mark.parametrize(("room", "path"), MODULES, ids=lambda value: str(value).rpartition("/")[2])
def test_the_ground_floor_needs_nothing(room: str, path: Path) -> None:
    """The words everything else is made of need the standard library alone."""
    if room in STDLIB_ONLY:
        assert not {name.partition(".")[0] for name, ours in imports(path) if not ours} & set(DOORS)


def test_the_rooms_without_io_are_covered_whole() -> None:
    """``nox -s coverage`` asks for all of floors 0 to 2."""
    listed = re.search(r"PURE_ROOMS = .*?\n\]", (ROOT / "noxfile.py").read_text(), re.DOTALL)
    assert listed is not None
    rooms = set(re.findall(r'"(\w+)",', listed[0]))
    assert rooms == set.union(*FLOORS[:3])


def test_the_design_page_has_every_room_on_its_floor() -> None:
    """docs/design.md is the same list."""
    rows = {row[0][0]: row[1] for row in pages.tables(ROOT / "docs/design.md") if row[0][0].isdigit()}
    for number, floor in enumerate(FLOORS):
        rooms = floor - {"__init__", "__main__", "_version"}
        assert set(re.findall(r"`(\w+)`", rows[str(number)])) == rooms


def test_the_walk_sees_a_breach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test itself can fail: it finds an import that is spelled in any of the ways Python has."""
    file = tmp_path / "_plan.py"
    file.write_text("import httpx\nfrom . import _client\nfrom ._retrieval import AsyncRetrieval\n")
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    assert set(imports(file)) == {("httpx", False), ("_client", True), ("_retrieval.AsyncRetrieval", True)}
