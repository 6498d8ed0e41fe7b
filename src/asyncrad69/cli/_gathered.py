"""Options that belong together reach a command as one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: A command's function, before or after click has seen it.
Function: TypeAlias = Callable[..., Any]


def gathered(
    name: str, kind: type[DataclassInstance], *options: Callable[[Function], Function]
) -> Callable[[Function], Function]:
    """
    Add *options* to a command, which gets their values as one *kind* under *name*.

    Args:
        name: The keyword.
        kind: A dataclass with a field for each option; one without its option has a default.
        options: Made with ``click.option``.
    """

    def decorate(command: Function) -> Function:
        @wraps(command)
        def run(**given: Any) -> Any:
            values = {field.name: given.pop(field.name) for field in fields(kind) if field.name in given}
            return command(**given, **{name: kind(**values)})

        function: Function = run
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
