"""README and docs say what is: their examples run, their tables are complete, their links lead somewhere."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shlex
from typing import TYPE_CHECKING, Any, cast, get_args

import click
import pytest
from pydicom import Dataset

import asyncrad69
import pages
from asyncrad69 import AsyncRad69, Event, Rad69Error
from asyncrad69.cli._app import app
from asyncrad69.testing import SimulatedSource, kos_bytes, write_kos
from asyncrad69.testing._faults import KINDS
from asyncrad69.testing._profiles import PROFILES
from asyncrad69.testing._settings import Settings
from dicomweb import DicomWebArchive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WITH_PYTHON = [page for page in pages.PAGES if pages.blocks(page, "python")]


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    """What the examples talk to."""
    with SimulatedSource.demo(slices=2) as source:
        yield source


@pytest.fixture(scope="module")
def archive(source: SimulatedSource) -> Iterator[DicomWebArchive]:
    """The DICOMweb archive that knows what the source holds."""
    with DicomWebArchive(source.references()) as archive:
        yield archive


def prelude(source: SimulatedSource, archive: DicomWebArchive, folder: Path) -> dict[str, Any]:
    """What the examples find, besides what they import: a source's URL, references, and places on the disk."""
    references = list(source.references()[-2:])
    triples = [(each.study_instance_uid, each.series_instance_uid, each.sop_instance_uid) for each in references]
    kos, table = folder / "kos.dcm", folder / "table.csv"
    kos.write_bytes(kos_bytes(write_kos(references)))
    table.write_text("\n".join(("StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID", *map(",".join, triples))))
    return {
        "url": source.url,
        "qido_url": archive.url,
        "references": references,
        "triples": triples,
        "kos_file": kos,
        "table_file": table,
        "folder": folder / "images",
        "dataset": Dataset(),
    }


@pytest.mark.parametrize(
    "page", [page for page in pages.PAGES if pages.blocks(page, "python")], ids=lambda page: page.name
)
def test_the_examples_run(
    page: Path,
    source: SimulatedSource,
    archive: DicomWebArchive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every Python block of a page, one after the other, as a reader would paste them."""
    monkeypatch.chdir(tmp_path)
    namespace = prelude(source, archive, tmp_path)
    original = namespace["references"]
    for block in pages.blocks(page, "python"):
        exec(compile(block, page.name, "exec"), namespace)
        namespace["references"] = original  # the quickstart shows ways to get others


@pytest.mark.anyio
async def test_what_the_readmes_function_returns(source: SimulatedSource) -> None:
    """The service's example, called as a service would."""
    namespace: dict[str, Any] = {}
    exec(pages.blocks(pages.ROOT / "README.md", "python")[0], namespace)
    assert await namespace["pull"](source.url, list(source.references()[-2:])) == 2 * 512


def test_the_notebooks_example_writes_files(
    source: SimulatedSource,
    archive: DicomWebArchive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The README's second example prints two lines and leaves two files."""
    monkeypatch.chdir(tmp_path)
    namespace = prelude(source, archive, tmp_path)
    exec(pages.blocks(pages.ROOT / "README.md", "python")[1], namespace)
    assert namespace["report"].complete
    assert capsys.readouterr().out == "CT 1\nCT 2\n"
    assert len(list((tmp_path / "images").rglob("*.dcm"))) == 2


def test_every_error_is_documented() -> None:
    """docs/errors.md has a row for each public error, and for nothing else."""
    documented = {
        name for row in pages.tables(pages.ROOT / "docs/errors.md") for name in re.findall(r"^`(\w+)`$", row[0])
    }
    public = {
        name
        for name in asyncrad69.__all__
        if isinstance(each := getattr(asyncrad69, name), type) and issubclass(each, Exception)
    }
    assert documented == public - {"Rad69Error"}


def test_every_event_and_every_row_of_a_report_is_documented() -> None:
    """docs/report.md has a row for each event, with its fields, and names all that a report says."""
    page = pages.ROOT / "docs/report.md"
    rows = {row[0].strip("`"): row[-1] for row in pages.tables(page)}
    for event in get_args(Event):
        assert {field.name for field in dataclasses.fields(event)} == set(re.findall(r"`(\w+)`", rows[event.__name__]))
    named = set(re.findall(r"`(\w+)(?:\(\))?`", page.read_text(encoding="utf-8")))
    for cls in (asyncrad69.Report, asyncrad69.Row):
        assert {name for name in dir(cls) if not name.startswith("_")} <= named


def documented_commands() -> Iterator[tuple[str, list[str]]]:
    """Each ``rad69 ...`` of README and docs: where it stands, and its words."""
    for page in pages.PAGES:
        for block in (*pages.blocks(page, "console"), *pages.blocks(page, "sh")):
            for text in re.findall(r"(?:^|&& \S*)rad69 ([^#|>&<\n]*)", block, re.MULTILINE):
                yield f"{page.name}: {text}", shlex.split(text)


@pytest.mark.parametrize(("where", "words"), list(documented_commands()), ids=lambda value: str(value)[:60])
def test_the_commands_are_there(where: str, words: list[str]) -> None:
    """Every command that a page shows is one of ours, and has the options that are shown."""
    command: click.Command = app
    known = {opt for param in app.params for opt in param.opts}
    for word in words:
        context = click.Context(command)
        if isinstance(command, click.Group) and word in command.list_commands(context):
            command = cast("click.Command", command.get_command(context, word))
            known |= {opt for param in command.params for opt in param.opts}
        assert word == "-" or not word.startswith("-") or word in known | {"--help"}, word
    assert command is not app


def options_of(command: click.Command) -> Iterator[tuple[str, ...]]:
    """The options of a command and of those below it, each with its short and its long name."""
    for param in command.params:
        if isinstance(param, click.Option):
            yield tuple(param.opts)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from options_of(cast("click.Command", command.get_command(context, name)))


def test_every_option_of_the_command_line_is_documented() -> None:
    """The pages name each option of each command, in one way or the other."""
    text = "".join(page.read_text(encoding="utf-8") for page in pages.PAGES)
    assert not {names for names in options_of(app) if not any(name in text for name in names)}


def test_the_simulated_source_is_documented() -> None:
    """docs/testing.md has a row for each fault and each profile, and names each option."""
    page = pages.ROOT / "docs/testing.md"
    first = [row[0] for row in pages.tables(page)]
    assert {name for cell in first for name in re.findall(r"^`(\w+)\(", cell)} == set(KINDS)
    assert {cell.strip("`") for cell in first} >= set(PROFILES)
    text = page.read_text(encoding="utf-8")
    unnamed = {field.name for field in dataclasses.fields(Settings) if field.name not in text}
    assert unnamed == {"repository_unique_id", "read_size"}  # of any source; see its docstring


@pytest.mark.parametrize("cls", [asyncrad69.Options, asyncrad69.Retry, asyncrad69.Timeout, asyncrad69.Limits])
def test_every_option_is_documented(cls: Any) -> None:
    """docs/options.md has a row for each field, with its default."""
    rows = {row[0].strip("`"): row[1] for row in pages.tables(pages.ROOT / "docs/options.md") if len(row) > 1}
    defaults = cls()
    for field in dataclasses.fields(cls):
        value, shown = getattr(defaults, field.name), rows[field.name].strip("`")
        if value == asyncrad69.AS_STORED:
            assert shown == "AS_STORED"
        elif dataclasses.is_dataclass(value):
            assert shown == f"{type(value).__name__}()"
        elif shown.endswith("iB"):
            number, unit = shown.split()
            assert value == int(number) * 1024 ** ["B", "KiB", "MiB", "GiB"].index(unit)
        else:
            assert shown in {repr(value), repr(value).replace("'", '"')}


def test_the_readme_leads_to_every_page() -> None:
    """A page that nothing links to is not there."""
    text = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    assert not [page.name for page in pages.PAGES[1:] if f"(docs/{page.name})" not in text]


def anchors(page: Path) -> set[str]:
    """What a link into a page may name: its headings, as they become fragments."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_keyword_of_the_client_is_documented() -> None:
    """docs/options.md names all that is no option of a retrieve."""
    text = (pages.ROOT / "docs/options.md").read_text(encoding="utf-8")
    keywords = {
        each.name for each in inspect.signature(AsyncRad69).parameters.values() if each.kind is each.KEYWORD_ONLY
    }
    assert not {name for name in keywords if f"`{name}`" not in text}


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link is to a file that is there, and to a heading in it."""
    for name, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8")):
        target = page.parent / name if name else page
        assert target.exists(), name
        assert not anchor or anchor in anchors(target), f"{name}#{anchor}"


def test_the_public_errors_have_a_line_that_explains_them() -> None:
    """help() on any error says what it means."""
    for name in asyncrad69.__all__:
        each = getattr(asyncrad69, name)
        if isinstance(each, type) and issubclass(each, Rad69Error):
            assert each.__doc__, name


def test_credentials_examples_do_not_connect() -> None:
    """A client that was made and not opened has no connection and no thread."""
    assert "closed" in repr(AsyncRad69("https://source.example/rad69", auth=("user", "password")))
