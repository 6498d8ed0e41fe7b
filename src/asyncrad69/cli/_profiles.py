"""Profiles: options under a name, in a TOML file of the user's. A secret is never in it, only where it is kept."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ._connection import CONNECTION_OPTIONS
from ._get import RETRIEVE_OPTIONS, get
from ._run import RUN_OPTIONS, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FILE: Final = "RAD69_PROFILES"
_NAME: Final = "profiles.toml"
# What a source's profile may say beyond how it is reached and asked.
_OF_GET: Final = frozenset(("existing", "log-format", "manifest-url", "output", "qido-url"))
# What stands for itself, or may be a secret.
_NOT_HERE: Final[Mapping[str, str]] = {
    "password-stdin": "stdin belongs to the command line",
    "password-from": 'here it is password = "env:NAME" or "keyring:SERVICE/USER"',
}


class ProfileError(click.ClickException):
    """The file, or what it says, is no use; its message has the line where there is one. A usage error: exit code 2."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Profile:
    """
    Options under a name.

    Attributes:
        name: The table's name.
        options: As the file has them.
        defaults: By the names that click has for them, converted and checked.
    """

    name: str
    options: Mapping[str, Any]
    defaults: Mapping[str, Any]

    def default_map(self) -> dict[str, Mapping[str, Any]]:
        """As click takes it: for each command that has these options."""
        # A job knows what it has written, so that "existing" means other things there.
        of_run = {name: value for name, value in self.defaults.items() if name != "existing"}
        # What rad69 manifest writes is one file, and does not go where the instances go.
        of_manifest = {name: value for name, value in self.defaults.items() if name != "target"}
        shared = dict.fromkeys(("bench", "get", "probe"), self.defaults)
        return {**shared, "run": of_run, "manifest": of_manifest}


def profiles_path() -> Path:
    """Where the profiles are: what RAD69_PROFILES says, else in the platform's folder for configuration."""
    if path := os.environ.get(_FILE):
        return Path(path)
    try:
        from platformdirs import user_config_path  # noqa: PLC0415 - only profiles need it
    except ModuleNotFoundError:
        raise ProfileError(f'profiles need platformdirs: pip install "asyncrad69[cli]", or set {_FILE}') from None
    return user_config_path("rad69", appauthor=False) / _NAME


def profile_of(name: str) -> Profile:
    """
    The profile of that name, checked.

    Raises:
        ProfileError: There is no such file, or none of that name in it, or it says what makes no sense.
    """
    path = profiles_path()
    text = _text(path)
    tables = _tables(path, text)
    if name not in tables:
        known = ", ".join(sorted(tables)) or "none"
        raise ProfileError(f"{path} has no profile {name!r}; it has: {known}")
    options = tables[name]
    if not isinstance(options, dict):
        raise ProfileError(f"{_at(path, text, None, name)}: {name} is no table: write [{name}] above its options")
    return Profile(name, options, _defaults(path, text, name, options))


def profile_tables() -> dict[str, Any]:
    """All tables as they are; none where there is no file."""
    path = profiles_path()
    return _tables(path, _text(path)) if path.exists() else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ProfileError(f"there is no file {path}: `rad69 profile --help` says what is in it") from None
    except UnicodeDecodeError:
        raise ProfileError(f"{path} is not UTF-8") from None
    except OSError as exc:
        raise ProfileError(f"{path} cannot be read: {exc.strerror}") from None


def _tables(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        # Its text is what is wrong and where: "... (at line 3, column 5)".
        raise ProfileError(f"{path} is not TOML: {exc}") from None


# --- what a profile may say


def _parameters() -> dict[str, click.Parameter]:
    """By the name that they have in the file: that of the option, without its dashes."""
    shared = [*CONNECTION_OPTIONS, *RETRIEVE_OPTIONS]
    by_name = {param.name: param for param in get.params}
    return {
        **_named(run, _names(RUN_OPTIONS)),
        **_named(get, _names(shared) | _OF_GET),
        "url": by_name["url"],
        "password": by_name["password_from"],
    }


def _named(command: click.Command, names: set[str]) -> dict[str, click.Parameter]:
    return {opt.lstrip("-"): param for param in command.params for opt in param.opts if opt.lstrip("-") in names}


def _names(options: Iterable[Any]) -> set[str]:
    @click.command
    def command() -> None: ...

    for option in options:
        option(command)
    return {opt.lstrip("-") for param in command.params for opt in param.opts} - set(_NOT_HERE)


def _defaults(path: Path, text: str, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    parameters = _parameters()
    defaults = {}
    for key, value in options.items():
        try:
            parameter = _parameter(parameters, key)
            defaults[str(parameter.name)] = _checked(path.parent, parameter, key, value)
        except click.BadParameter as exc:
            raise ProfileError(f"{_at(path, text, name, key)}: {key}: {exc.message}") from None
    return defaults


def _parameter(parameters: Mapping[str, click.Parameter], key: str) -> click.Parameter:
    if key not in parameters:
        raise click.BadParameter(_NOT_HERE.get(key, "there is no such option of rad69 get or run for a profile"))
    return parameters[key]


def _checked(folder: Path, parameter: click.Parameter, key: str, value: Any) -> Any:
    """*value* as click would have it from the command line."""
    _no_secret(key, value)
    if isinstance(parameter.type, click.Path) and isinstance(value, str):
        value = str(folder / Path(value).expanduser())
    if parameter.multiple and isinstance(value, str):
        value = [value]
    if isinstance(value, dict) or (isinstance(value, list) and not parameter.multiple):
        raise click.BadParameter("one value is expected")
    if isinstance(value, bool) and not getattr(parameter, "is_flag", False):
        raise click.BadParameter("true and false are no values of it")
    context = click.Context(get)
    converted = parameter.type_cast_value(context, value)
    if parameter.callback is not None:
        parameter.callback(context, parameter, converted)
    return value


def _no_secret(key: str, value: Any) -> None:
    """Not quoted: it may be the secret itself."""
    texts = value if isinstance(value, list) else [value]
    if key == "header" and not all(str(text).startswith("@") for text in texts):
        raise click.BadParameter('a header may be a secret: put it in a file of its own, and say header = ["@FILE"]')
    if key in {"manifest-url", "proxy", "qido-url", "url"} and "@" in str(value).partition("://")[2].partition("/")[0]:
        raise click.BadParameter("credentials have no place in a profile: set RAD69_PROXY, or say user and password")


def _at(path: Path, text: str, table: str | None, key: str) -> str:
    """The file, and the line where *table* has *key*."""
    inside = table is None
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*[\"']?([^\]\"']+)[\"']?\s*\]", line):
            inside = header[1].strip() == table
        elif inside and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
            return f"{path}, line {number}"
    return str(path)
