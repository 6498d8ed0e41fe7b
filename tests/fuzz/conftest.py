"""The figures of a run, in one line at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .targets import EXECUTED

if TYPE_CHECKING:
    import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was fed to which reader."""
    if EXECUTED:
        each = ", ".join(f"{name} {count:,}" for name, count in EXECUTED.items())
        terminalreporter.write_line(f"fuzz: {EXECUTED.total():,} executions with declared errors only: {each}")
