"""
Public names that are imported when they are first asked for (PEP 562).

httpx and pydicom take longer to import than all else does. Whoever wants ``rad69 --help``, or an error to catch, does
not wait for them; whoever names the client has them from then on, before any event loop runs a request.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Hooks: TypeAlias = tuple[Callable[[str], object], Callable[[], list[str]]]


def imported_later(package: str, names: Mapping[str, tuple[str, ...]]) -> Hooks:
    """
    ``__getattr__`` and ``__dir__`` for a package.

    Args:
        package: Its ``__name__``.
        names: Modules of it, without their dots, and what of each is public.
    """
    homes = {name: module for module, of_module in names.items() for name in of_module}
    attributes = vars(sys.modules[package])

    def getattribute(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{package}.{homes[name]}"), name)
        # The next time it is found without us.
        attributes[name] = value
        return value

    def directory() -> list[str]:
        return sorted({*attributes, *homes})

    return getattribute, directory
