"""What every command has, and that the documentation knows every option."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from asyncrad69.cli._app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[1] / "docs"


def commands(group: click.Group = app, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command, by the words that call it."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        else:
            yield " ".join((*words, name)), command


def options(command: click.Command) -> set[str]:
    """All names, as they are typed."""
    return {opt for param in command.params if isinstance(param, click.Option) for opt in param.opts}


def documented() -> str:
    """All that is said of the command line."""
    return "".join((DOCS / name).read_text(encoding="utf-8") for name in ("cli.md", "bulk.md"))


COMMANDS = [pytest.param(command, id=words) for words, command in commands()]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_json(command: click.Command) -> None:
    """What a command says can be read by a program."""
    assert "--json" in options(command)


@pytest.mark.parametrize("command", [*COMMANDS, pytest.param(app, id="rad69")])
def test_every_option_is_documented(command: click.Command) -> None:
    """No option is known to ``--help`` alone; one of its names is enough."""
    known = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", documented()))
    given = [param.opts for param in command.params if isinstance(param, click.Option)]
    assert not [names for names in given if not known.intersection(names)]


def test_no_other_option_is_documented() -> None:
    """An option that is gone, or was never there, is not in the command line's documentation."""
    known = {"--help"}.union(options(app), *(options(command) for _, command in commands()))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", documented())) <= known


def test_every_command_is_documented() -> None:
    """Each has a line in the documentation that calls it."""
    assert not [words for words, _ in commands() if not re.search(rf"rad69 (--profile \S+ )?{words}\b", documented())]
