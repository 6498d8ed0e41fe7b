"""Studies in place of instances: a DICOMweb archive is asked what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

import asyncrad69

from ._output import usage_errors

if TYPE_CHECKING:
    from asyncrad69 import InstanceReference

    from ._connection import ConnectionSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Studies:
    """The options below, as they were given."""

    study: tuple[str, ...]
    qido_url: str | None

    def references(self, connection: ConnectionSettings) -> tuple[InstanceReference, ...]:
        """
        All instances of the studies.

        Credentials are for the source, and the archive may be somebody else: only TLS and the proxy are the same.

        Raises:
            Rad69Error: The archive does not answer, or not in DICOM JSON.
        """
        if self.qido_url is None:
            if self.study:
                raise click.UsageError("--study needs --qido-url, an archive to ask what is in it")
            return ()
        return tuple(each for study_uid in self.study for each in self._instances(study_uid, self.qido_url, connection))

    @staticmethod
    def _instances(study_uid: str, qido_url: str, connection: ConnectionSettings) -> tuple[InstanceReference, ...]:
        with usage_errors():
            found = asyncrad69.expand_blocking(
                study_uid, qido_url=qido_url, ssl_context=connection.ssl_context(), proxy=connection.proxy_url()
            )
        if not found:
            raise click.UsageError("the archive at --qido-url knows no instances of a --study")
        return found


STUDY_OPTIONS: Final = (
    click.option("--study", metavar="UID", multiple=True, help="All instances of a study, as --qido-url lists them."),
    click.option("--qido-url", metavar="URL", help="The root of a DICOMweb archive, asked without credentials."),
)
