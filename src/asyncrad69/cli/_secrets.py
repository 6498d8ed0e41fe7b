"""Where a password is kept: an environment variable, or the operating system's key ring."""

from __future__ import annotations

import os

import click

_FORMS = "env:NAME or keyring:SERVICE/USER"


def kept(_ctx: click.Context, _param: click.Parameter, place: str | None) -> str | None:
    """
    *place*, if it is one. Not quoted if it is not: it may be the password itself.

    Raises:
        click.BadParameter: It is none.
    """
    if place is None:
        return None
    kind, _, name = place.partition(":")
    if (kind == "env" and name) or (kind == "keyring" and all(name.partition("/"))):
        return place
    raise click.BadParameter(f"it says where the password is kept: {_FORMS}")


def secret(place: str) -> str:
    """
    What is kept there.

    Raises:
        click.UsageError: Nothing is.
    """
    kind, _, name = place.partition(":")
    value = os.environ.get(name) if kind == "env" else _of_keyring(*name.split("/", 1))
    if not value:
        raise click.UsageError(f"there is no password at {place}: store it there first")
    return value


def _of_keyring(service: str, user: str) -> str | None:
    try:
        import keyring  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise click.UsageError('keyring: needs an extra: pip install "asyncrad69[cli,keyring]"') from None
    try:
        password: str | None = keyring.get_password(service, user)
    except keyring.errors.KeyringError as exc:
        raise click.UsageError(f"the key ring gives nothing: {type(exc).__name__}") from exc
    return password
