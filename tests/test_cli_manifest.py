"""``rad69 manifest``, and ``rad69 get --manifest``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from asyncrad69 import references_from_kos, references_from_table
from asyncrad69.cli._app import app
from asyncrad69.testing import SimulatedSource, kos_bytes, write_kos

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

    from asyncrad69 import DocumentReference

UNUSED = "http://127.0.0.1:1/rad69"


def rad69(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], prog_name="rad69")


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    """Images and their manifests."""
    with SimulatedSource.demo(slices=2) as source:
        yield source


def name(document: DocumentReference) -> str:
    """As the command line has it."""
    return f"{document.repository_unique_id}/{document.document_unique_id}"


def test_a_manifest_is_a_table_json_or_a_file(source: SimulatedSource, tmp_path: Path) -> None:
    """The table is one that --table reads; the file is the manifest as it is, and is never written over."""
    kos = write_kos(source.references()[-2:])
    args = ("manifest", source.url, "--document", name(source.publish(kos)))
    table, file = tmp_path / "table.csv", tmp_path / "kos.dcm"
    table.write_text(rad69(*args).stdout)
    assert references_from_table(table) == references_from_kos(kos)
    rows = json.loads(rad69(*args, "--json").stdout)
    assert [row["SOPInstanceUID"] for row in rows] == [each.sop_instance_uid for each in source.references()[-2:]]
    assert rad69(*args, "-o", file).exit_code == 0
    assert file.read_bytes() == kos_bytes(kos)
    again = rad69(*args, "-o", file)
    assert (again.exit_code, "File exists" in again.output) == (2, True)


def test_get_by_manifest(source: SimulatedSource, tmp_path: Path) -> None:
    """From the repository at the source's own URL, or at another."""
    asked = ("--manifest", name(source.publish(write_kos(source.references()[-2:]))))
    result = rad69("get", source.url, *asked, "-o", tmp_path / "one")
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "one").rglob("*.dcm"))) == 2
    elsewhere = ("--manifest-url", source.url, "--endpoint", f"1.2.3.4={source.url}")
    assert rad69("get", UNUSED, *asked, *elsewhere, "-o", tmp_path / "two").exit_code == 0
    assert len(list((tmp_path / "two").rglob("*.dcm"))) == 2


def test_a_password_from_stdin_is_for_both(source: SimulatedSource, tmp_path: Path) -> None:
    """It is read once, and the repository and the source get the same."""
    asked = ("--manifest", name(source.publish(write_kos(source.references()[-1:]))))
    args = ["get", source.url, *asked, "--user", "u", "--password-stdin", "-o", str(tmp_path / "out")]
    assert CliRunner().invoke(app, args, input="secret\n").exit_code == 0
    first, second = (each.headers["authorization"] for each in source.requests[-2:])
    assert first == second == "Basic dTpzZWNyZXQ="


def test_a_rejection_note_needs_a_word(source: SimulatedSource, tmp_path: Path) -> None:
    """Refused with the option that takes it; taken with it."""
    kos = write_kos(source.references()[-1:], title="113037")
    path = tmp_path / "note.dcm"
    path.write_bytes(kos_bytes(kos))
    for asked in (("--manifest", name(source.publish(kos))), ("--kos", path)):
        refused = rad69("get", source.url, *asked, "-o", tmp_path / "out")
        assert (refused.exit_code, "pass --rejected" in " ".join(refused.output.split())) == (2, True)
        assert rad69("get", source.url, *asked, "--rejected", "-o", tmp_path / "out").exit_code == 0


@pytest.mark.parametrize(
    ("url", "document", "code", "words"),
    [
        (UNUSED, "1.2.3", 2, "with / between them"),
        (UNUSED, "1.2.x/1.2", 2, "not a UID"),
        (UNUSED, "1.2/1.3", 5, "no connection"),
        (None, "1.2.3.4/1.3", 3, "XDSDocumentUniqueIdError"),
    ],
)
def test_how_it_fails(source: SimulatedSource, url: str | None, document: str, code: int, words: str) -> None:
    """Usage, an unreachable repository, an unknown document: the exit codes of ``get``."""
    result = rad69("manifest", url or source.url, "--document", document)
    assert (result.exit_code, words in result.output) == (code, True), result.output
