"""
The command line, ``rad69``. It reads arguments, calls the library, and says what became of it; nothing else.

What the modules here import is quick to import, so that ``rad69 COMMAND --help`` answers at once. What needs httpx or
pydicom is named where it is used, as ``asyncrad69.AsyncRad69``, and is imported then.

Needs ``pip install "asyncrad69[cli]"``; ``rad69 demo`` and ``rad69 serve`` need the extra ``server``, too.
"""

from __future__ import annotations

import sys
from typing import Final

_EXTRA: Final = frozenset(("click", "rich"))


def main() -> None:
    """Run the command that ``sys.argv`` names, and exit with its code."""
    try:
        from ._app import app  # noqa: PLC0415 - not to be had without the extra

        app(prog_name="rad69")
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write('rad69 needs click and rich: pip install "asyncrad69[cli]"\n')
        sys.exit(2)
    except Exception as exc:
        if "--debug" in sys.argv:
            raise
        # Not its text, which may be anything.
        sys.stderr.write(f"rad69: a bug: {type(exc).__name__}\n  Please report it, with what --debug shows.\n")
        sys.exit(1)
