"""
The command line, ``rad69``. It reads arguments, calls the library, and says what became of it; nothing else.

What the modules here import is quick to import, so that ``rad69 COMMAND --help`` answers at once. What needs httpx or
pydicom is named where it is used, as ``asyncrad69.AsyncRad69``, and is imported then.

Needs ``pip install "asyncrad69[cli]"``; ``rad69 demo`` and ``rad69 serve`` need the extra ``server``, too.
"""

from __future__ import annotations

import signal
import sys
from typing import Final

_EXTRA: Final = frozenset(("click", "rich"))
# As in `ExitCode`, which takes long to import.
_INTERRUPTED: Final = 130


def main() -> None:
    """Run the command that ``sys.argv`` names, and exit with its code."""
    try:
        code = _code()
    except KeyboardInterrupt:
        code = _interrupted()
    except BaseExceptionGroup as exc:  # of tasks, one of which Ctrl-C hit
        if exc.split(KeyboardInterrupt)[1] is not None:
            raise
        code = _interrupted()
    sys.exit(code)


def _code() -> int:
    try:
        import click  # noqa: PLC0415 - not to be had without the extra

        from ._app import app  # noqa: PLC0415 - likewise

        try:
            # Not standalone, where click itself would call Ctrl-C an error like any other.
            code: int = app.main(prog_name="rad69", standalone_mode=False)
        except click.Abort:
            return _interrupted()
        except click.ClickException as exc:
            exc.show()
            return exc.exit_code
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write('rad69 needs click and rich: pip install "asyncrad69[cli]"\n')
        return 2
    except Exception as exc:
        # Ctrl-C while a class is made, e.g. by an import: Python 3.11 makes a RuntimeError of it.
        if isinstance(exc.__cause__, KeyboardInterrupt):
            return _interrupted()
        if "--debug" in sys.argv:
            raise
        # Not its text, which may be anything.
        sys.stderr.write(f"rad69: a bug: {type(exc).__name__}\n  Please report it, with what --debug shows.\n")
        return 1
    if code == _INTERRUPTED:
        _ignore_interrupts()
    return code


def _interrupted() -> int:
    _ignore_interrupts()
    sys.stderr.write("rad69: interrupted\n")
    return _INTERRUPTED


def _ignore_interrupts() -> None:
    """What sends Ctrl-C may send it twice, and the second would come while Python ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
