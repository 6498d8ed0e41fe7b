"""The figures of a run, in one line each at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .driver import FIGURES, SUMMARIES

if TYPE_CHECKING:
    import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was checked."""
    if FIGURES["retrieves"]:
        terminalreporter.write_line(
            f"faults: {FIGURES['retrieves']:,} retrieves checked, {FIGURES['instances']:,} of {FIGURES['asked']:,} "
            f"instances delivered, all others reported; {FIGURES['wrong']} retrieves broke a promise (a silent loss, a "
            "duplicate, wrong bytes, too little delivered)"
        )
    for line in SUMMARIES:
        terminalreporter.write_line(line)
