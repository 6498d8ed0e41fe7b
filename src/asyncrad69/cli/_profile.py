"""``rad69 profile``: what is in the file of profiles, and where it is."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import click

from ._profiles import profile_of, profile_tables, profiles_path

_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


@click.group
def profile() -> None:
    """
    Show the profiles that --profile takes.

    They are in a TOML file, a table for each, with the options of `rad69 get` and `rad69 run` without their dashes,
    and the url. A password is never in it, only where it is kept:

    \b
    [hospital]
    url = "https://source.example/rad69"
    repository = "1.2.3.4"
    concurrency = "auto"
    user = "me"
    password = "keyring:rad69/me"    # or "env:NAME"
    """


@profile.command("list")
@_JSON
def list_profiles(*, as_json: bool) -> None:
    """List the profiles and their endpoints."""
    urls = {name: _url(table) for name, table in profile_tables().items() if isinstance(table, dict)}
    if as_json:
        click.echo(json.dumps({"path": str(profiles_path()), "profiles": urls}, indent=2))
        return
    if not urls:
        click.echo(f"there are none: write them to {profiles_path()}", err=True)
    width = max(map(len, urls), default=0)
    for name, url in urls.items():
        click.echo(f"{name:<{width}}  {url}".rstrip())


@profile.command
@click.argument("name")
@_JSON
def show(*, name: str, as_json: bool) -> None:
    """Check the profile NAME, and show what it says."""
    options = dict(profile_of(name).options)
    if as_json:
        click.echo(json.dumps(options, indent=2))
        return
    for key, value in options.items():
        click.echo(f"{key} = {_toml(value)}")


@profile.command
@_JSON
def path(*, as_json: bool) -> None:
    """Say where the file is."""
    found = str(profiles_path())
    click.echo(json.dumps({"path": found}) if as_json else found)


def _url(table: dict[str, Any]) -> str:
    """Without the credentials that `show` would complain of."""
    return re.sub(r"//[^/]*@", "//", str(table.get("url", "")))


def _toml(value: Any) -> str:
    """Strings, numbers, booleans and arrays of them look in TOML as in JSON."""
    return json.dumps(value, ensure_ascii=False)
