"""Options whose text has a meaning of its own, such as sizes and rates."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable


def parsed(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """A callback for an option whose text *parse* understands, or says with a ValueError that it does not."""

    def convert(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Any:
        try:
            return None if text is None else parse(text)
        except ValueError as exc:
            raise click.BadParameter(str(exc)) from exc

    return convert


def size_of(text: str) -> float:
    """
    A number of bytes: ``500``, ``5GB``, ``1.5 GiB``.

    Raises:
        ValueError: It is none.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a size: a number and a unit, e.g. 20MB")
    return float(found[1]) * _UNITS[(found[2] or "b").lower()]


def rate_of(text: str) -> float:
    """
    A number of bytes per second: ``20MB/s``; ``/s`` may be left out.

    Raises:
        ValueError: It is none.
    """
    return size_of(text.strip().removesuffix("/s"))


_UNITS: Final = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_SIZE: Final = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(_UNITS)})?", re.ASCII | re.IGNORECASE)
