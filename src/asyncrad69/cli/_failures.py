"""How a command ends that does not end well: an exit code, and a line or two on stderr."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from asyncrad69 import (
    AuthenticationError,
    CredentialsError,
    HTTPStatusRefused,
    NotARad69Response,
    Rad69Error,
    ServerBusy,
    SoapError,
    SoapFault,
    StorageError,
    TransportError,
)

if TYPE_CHECKING:
    from asyncrad69 import Report


class ExitCode(IntEnum):
    """What a script can tell apart."""

    COMPLETE = 0
    BUG = 1
    USAGE = 2
    INCOMPLETE = 3
    AUTHENTICATION = 4
    UNREACHABLE = 5
    NOT_RAD69 = 6
    STORAGE = 7
    INTERRUPTED = 130


# The first that fits, so the most specific first.
_CODES: Final[tuple[tuple[type[Rad69Error], ExitCode], ...]] = (
    (AuthenticationError, ExitCode.AUTHENTICATION),
    (CredentialsError, ExitCode.AUTHENTICATION),
    (StorageError, ExitCode.STORAGE),
    (TransportError, ExitCode.UNREACHABLE),
    (ServerBusy, ExitCode.UNREACHABLE),
    (NotARad69Response, ExitCode.NOT_RAD69),
    (SoapError, ExitCode.NOT_RAD69),
)


def exit_code(error: Rad69Error) -> ExitCode:
    """The exit code for what ended a retrieve, or an instance."""
    if isinstance(error, HTTPStatusRefused) and error.fatal and not isinstance(error, AuthenticationError):
        return ExitCode.NOT_RAD69  # 404, 405, a redirect: there is a web server, but no such endpoint
    if isinstance(error, SoapFault) and error.refuses_us:
        return ExitCode.AUTHENTICATION
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.INCOMPLETE)


def incomplete_exit_code(report: Report) -> ExitCode:
    """The exit code for a retrieve that ran to its end: a common reason, if nothing came at all, is a better one."""
    lost = [row for row in report.rows if row.state != "delivered" and not row.ignored]
    codes = {exit_code(row.error) if row.error else ExitCode.INCOMPLETE for row in lost}
    storage = ExitCode.STORAGE in codes
    if storage or (len(codes) == 1 and not report.delivered):
        return ExitCode.STORAGE if storage else codes.pop()
    return ExitCode.INCOMPLETE


# A UID as it stands in a sentence: five components or more, which no IP address has, or PS3.5 B.2's form of a UUID.
_UID: Final = re.compile(r"\b(?:[0-2](?:\.\d+){4,}|2\.25\.\d+)\b", re.ASCII)


def without_uids(text: str) -> str:
    """*text* without what identifies a study, and through it a patient."""
    return _UID.sub("<uid>", text)
