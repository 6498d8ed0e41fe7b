"""
Retrieve DICOM instances from an IHE Imaging Document Source with RAD-69, and prove that all of them came.

`AsyncRad69` is the client, `Rad69` the same without ``await``. What they do not do: search for instances (RAD-69
asks for them by name), store or anonymise them, or decode pixels.
"""

from typing import TYPE_CHECKING

from ._documents import DocumentReference, RetrievedDocument
from ._errors import (
    AuthenticationError,
    ConnectionFailed,
    ConnectionLost,
    ConnectionTimedOut,
    CredentialsError,
    ExistingFileError,
    HTTPStatusRefused,
    IncompleteRetrieveError,
    InstanceLimitExceeded,
    InstanceNotAvailable,
    InvalidInstanceError,
    InvalidReferenceError,
    LimitExceeded,
    MultipartError,
    NonInstanceReferenceError,
    NotAManifestError,
    NotARad69Response,
    ProtocolError,
    QidoError,
    Rad69Error,
    RegistryError,
    RejectionNoteError,
    RequestTooLarge,
    ServerBusy,
    ServerError,
    SoapError,
    SoapFault,
    StorageError,
    TLSError,
    TransferSyntaxRefused,
    TransferTimeout,
    TransportError,
    TruncatedResponse,
    WadoInstanceUnknown,
    XDSBusyError,
    XDSDocumentUniqueIdError,
    XDSHomeCommunityError,
    XDSMissingDocumentError,
    XDSRepositoryError,
    XDSRequestError,
    XDSTooMuchError,
    XDSUnknownRepositoryIdError,
)
from ._events import (
    BytesReceived,
    Event,
    InstanceFailed,
    InstancePresent,
    InstanceVerified,
    RequestFinished,
    RequestStarted,
    RetrieveFinished,
    RetryScheduled,
    SeriesFinished,
)
from ._lazy import imported_later
from ._limits import Limits
from ._options import Options, Retry, Timeout
from ._reference_files import references_from_table
from ._references import InstanceReference, references_from
from ._report import Report, Row
from ._transfer_syntaxes import AS_STORED, LOSSLESS, UNCOMPRESSED
from ._version import __version__

if TYPE_CHECKING:
    from ._blocking import Rad69, Retrieval, expand_blocking
    from ._client import AsyncRad69
    from ._instance import Instance
    from ._kos import KeyObjectSelection, read_kos, references_from_kos
    from ._probe import Layer, Probe, probe
    from ._qido import expand
    from ._retrieval import AsyncRetrieval
else:
    # What needs httpx or pydicom. Type checkers see no __getattr__, which would make them believe in any name.
    __getattr__, __dir__ = imported_later(
        __name__,
        {
            "_blocking": ("Rad69", "Retrieval", "expand_blocking"),
            "_client": ("AsyncRad69",),
            "_instance": ("Instance",),
            "_kos": ("KeyObjectSelection", "read_kos", "references_from_kos"),
            "_probe": ("Layer", "Probe", "probe"),
            "_qido": ("expand",),
            "_retrieval": ("AsyncRetrieval",),
        },
    )

__all__ = [
    "AS_STORED",
    "LOSSLESS",
    "UNCOMPRESSED",
    "AsyncRad69",
    "AsyncRetrieval",
    "AuthenticationError",
    "BytesReceived",
    "ConnectionFailed",
    "ConnectionLost",
    "ConnectionTimedOut",
    "CredentialsError",
    "DocumentReference",
    "Event",
    "ExistingFileError",
    "HTTPStatusRefused",
    "IncompleteRetrieveError",
    "Instance",
    "InstanceFailed",
    "InstanceLimitExceeded",
    "InstanceNotAvailable",
    "InstancePresent",
    "InstanceReference",
    "InstanceVerified",
    "InvalidInstanceError",
    "InvalidReferenceError",
    "KeyObjectSelection",
    "Layer",
    "LimitExceeded",
    "Limits",
    "MultipartError",
    "NonInstanceReferenceError",
    "NotAManifestError",
    "NotARad69Response",
    "Options",
    "Probe",
    "ProtocolError",
    "QidoError",
    "Rad69",
    "Rad69Error",
    "RegistryError",
    "RejectionNoteError",
    "Report",
    "RequestFinished",
    "RequestStarted",
    "RequestTooLarge",
    "Retrieval",
    "RetrieveFinished",
    "RetrievedDocument",
    "Retry",
    "RetryScheduled",
    "Row",
    "SeriesFinished",
    "ServerBusy",
    "ServerError",
    "SoapError",
    "SoapFault",
    "StorageError",
    "TLSError",
    "Timeout",
    "TransferSyntaxRefused",
    "TransferTimeout",
    "TransportError",
    "TruncatedResponse",
    "WadoInstanceUnknown",
    "XDSBusyError",
    "XDSDocumentUniqueIdError",
    "XDSHomeCommunityError",
    "XDSMissingDocumentError",
    "XDSRepositoryError",
    "XDSRequestError",
    "XDSTooMuchError",
    "XDSUnknownRepositoryIdError",
    "__version__",
    "expand",
    "expand_blocking",
    "probe",
    "read_kos",
    "references_from",
    "references_from_kos",
    "references_from_table",
]
