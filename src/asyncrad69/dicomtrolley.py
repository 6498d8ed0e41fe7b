"""
`Downloader`: RAD-69 for dicomtrolley's ``Trolley``.

    trolley = Trolley(searcher=searcher, downloader=Downloader(url, repository_unique_id="1.2.3"))
    trolley.download(trolley.find_study(query), "folder")

Needs ``pip install asyncrad69[dicomtrolley]``; nothing else imports this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

try:
    from dicomtrolley import core
    from dicomtrolley.exceptions import DICOMTrolleyError
except ImportError as exc:
    raise ImportError("asyncrad69.dicomtrolley needs dicomtrolley: pip install 'asyncrad69[dicomtrolley]'") from exc

from ._blocking import Rad69
from ._connection import ConnectionOptions
from ._errors import Rad69Error
from ._options import RetrieveOptions

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from ._dicom import Dataset
    from ._report import Report


class DownloadError(DICOMTrolleyError):
    """
    A download that failed or is not complete, in dicomtrolley's family of errors.

    Its ``__cause__`` is the `Rad69Error` that says what happened.

    Attributes:
        report: What became of every instance; ``None`` where the retrieve had not begun.
    """

    def __init__(self, message: str, *, report: Report | None = None) -> None:
        super().__init__(message)
        self.report = report


class ClientOptions(ConnectionOptions, RetrieveOptions, total=False):
    """The keywords of `Rad69`."""

    endpoints: Mapping[str, str] | None
    memory_budget_bytes: int | None
    read_size: int
    max_bytes_per_s: float | None
    max_requests_per_minute: float | None


class Downloader(core.Downloader):
    """
    What ``Trolley(downloader=...)`` takes.

    It has nothing to close: each download opens a client of its own, with its event loop and connections, and ends it.
    Several downloads may run at once, in any threads.

    Args:
        url: The RAD-69 endpoint.
        options: Everything else that `Rad69` takes, e.g. *repository_unique_id*, *auth*, *concurrency*, *ignore*.

    Raises:
        ValueError, TypeError: An option is wrong, as for `Rad69`.
    """

    def __init__(self, url: str, **options: Unpack[ClientOptions]) -> None:
        self._url = url
        self._options = options
        self._client()  # wrong options are found here, and not at the first download

    def __repr__(self) -> str:
        return repr(self._client()).replace("Rad69", "Downloader", 1)

    def datasets(self, objects: Sequence[core.DICOMDownloadable]) -> Generator[Dataset, None, None]:
        """
        The datasets of all instances in *objects*, in the order they arrive.

        By default everything that can be had comes first, and the error after it; see *on_failure*.

        Raises:
            NonInstanceParameterError: One of *objects* does not know its instances; ``Trolley`` then asks its searcher.
            DownloadError: Not all of them came, but for those with an error of *ignore*.
        """
        references = core.to_instance_refs(objects)
        try:
            with self._client() as rad69:
                yield from rad69.datasets(references)
        except Rad69Error as exc:
            raise DownloadError(str(exc), report=exc.report) from exc

    def get_dataset(self, instance: core.InstanceReference) -> Dataset:
        """
        The dataset of one instance.

        Raises:
            DownloadError: It did not come.
        """
        try:
            with self._client() as rad69:
                return rad69.get_dataset(instance)
        except Rad69Error as exc:
            raise DownloadError(str(exc), report=exc.report) from exc

    def _client(self) -> Rad69:
        return Rad69(self._url, **self._options)
