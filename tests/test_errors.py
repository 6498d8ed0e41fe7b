"""The errors: a tree to catch by, small, picklable, and silent about what they must not say."""

from __future__ import annotations

import copy
import errno
import inspect
import pickle
import re
from typing import Any

import pytest

import asyncrad69
from asyncrad69 import InstanceReference, Rad69Error, _errors as errors

ALL = sorted(
    (
        cls
        for _, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, Exception) and cls.__module__ == errors.__name__
    ),
    key=lambda cls: cls.__name__,
)
OURS = [cls for cls in ALL if issubclass(cls, Rad69Error)]
REFERENCES = tuple(InstanceReference("1.2", "1.3", f"1.4.{number}", repository_unique_id="1.9") for number in range(3))

#: Every code of ITI TF-3 table 4.2.4.1-2 and PS3.18-2014b 6.4.4 that a source of images answers with.
CODES: dict[str, type[errors.RegistryError]] = {
    "XDSMissingDocument": errors.XDSMissingDocumentError,
    "XDSDocumentUniqueIdError": errors.XDSDocumentUniqueIdError,
    "XDSUnknownRepositoryId": errors.XDSUnknownRepositoryIdError,
    "XDSIUnknownIdsUid": errors.XDSUnknownRepositoryIdError,
    "XDSRepositoryError": errors.XDSRepositoryError,
    "XDSRegistryError": errors.XDSRepositoryError,
    "XDSRepositoryBusy": errors.XDSBusyError,
    "XDSRegistryBusy": errors.XDSBusyError,
    "XDSUnavailableCommunity": errors.XDSBusyError,
    "XDSRepositoryOutOfResources": errors.XDSTooMuchError,
    "XDSRegistryOutOfResources": errors.XDSTooMuchError,
    "XDSTooManyResults": errors.XDSTooMuchError,
    "XDSMissingHomeCommunityId": errors.XDSHomeCommunityError,
    "XDSUnknownCommunity": errors.XDSHomeCommunityError,
    "XDSIRequestError": errors.XDSRequestError,
    "urn:dicom:wado:0003": errors.XDSBusyError,
    "urn:dicom:wado:0004": errors.WadoInstanceUnknown,
    "urn:dicom:wado:0005": errors.XDSTooMuchError,
    "urn:dicom:wado:0006": errors.TransferSyntaxRefused,
    "urn:dicom:wado:0007": errors.TransferSyntaxRefused,
    "urn:dicom:wado:0010": errors.WadoInstanceUnknown,
    "urn:dicom:wado:0012": errors.XDSRequestError,
    "urn:dicom:wado:0013": errors.XDSRequestError,
    "urn:dicom:wado:0014": errors.XDSBusyError,
    "urn:dicom:wado:0015": errors.WadoInstanceUnknown,
    "urn:dicom:wado:0016": errors.WadoInstanceUnknown,
    "urn:dicom:wado:0017": errors.WadoInstanceUnknown,
}
#: Codes that say nothing about what to do: kept raw, as a RegistryError.
PLAIN = [f"urn:dicom:wado:{number:04}" for number in (1, 2, 8, 9, 11, 18, 19, 20)]


def made(cls: type[Rad69Error]) -> Rad69Error:
    """An error of *cls* with every attribute it can have."""
    values = {
        "phase": "idle",
        "limit_s": 3.5,
        "content_type": "text/html",
        "http_status": 403,
        "limit": "max_part",
        "maximum": 7,
        "retry_after_s": 2.0,
        "code": "Sender",
        "subcodes": ("a", "b"),
        "reason": "SECRET reason",
        "error_code": "X",
        "code_context": "SECRET context",
        "location": "1.2",
        "severity": "Warning",
    }
    taken = inspect.signature(cls.__init__).parameters
    return cls(
        "what happened",
        references=REFERENCES,
        hint="do this",
        **{k: v for k, v in values.items() if k in taken},
        **extra(cls),
    )


def extra(cls: type[Rad69Error]) -> dict[str, Any]:
    """What only some of them need."""
    return {"report": None} if issubclass(cls, errors.IncompleteRetrieveError) else {}


@pytest.mark.parametrize("cls", OURS)
def test_every_error_survives_pickling(cls: type[Rad69Error]) -> None:
    """Type, attributes, text and flags are the same, small, and without what a server wrote as free text."""
    error = made(cls)
    pickled = pickle.dumps(error)
    for revived in (pickle.loads(pickled), copy.copy(error), copy.deepcopy(error)):
        assert type(revived) is cls
        assert vars(revived) == vars(error) | dict.fromkeys(cls._free_texts, "")
        assert (str(revived), repr(revived), revived.args) == (str(error), repr(error), error.args)
        assert (revived.retryable, revived.fatal, revived.asks_for_less) == (
            error.retryable,
            error.fatal,
            error.asks_for_less,
        )
    assert len(pickled) < 10_000
    assert b"SECRET" not in pickled


@pytest.mark.parametrize("cls", OURS)
def test_a_servers_text_is_in_no_message(cls: type[Rad69Error]) -> None:
    """A server may write anything into its reasons; str and repr do not repeat it."""
    error = made(cls)
    assert str(error) == "what happened. do this"
    assert error.message == "what happened"
    assert "SECRET" not in str(error) + repr(error)


@pytest.mark.parametrize("cls", OURS)
def test_every_error_can_be_made_of_a_text_alone(cls: type[Rad69Error]) -> None:
    """No keyword is needed, the class's own hint is shown, and references are none."""
    error = cls("what happened", **extra(cls))
    assert str(error).startswith("what happened")
    assert error.references == ()
    assert (cls.hint is None) == (str(error) == "what happened")


def test_without_a_message_the_class_is_named() -> None:
    """An error revived without arguments still has a text."""
    assert str(Rad69Error.__new__(Rad69Error)) == "Rad69Error"


@pytest.mark.parametrize("cls", [cls for cls in ALL if cls not in OURS])
def test_a_callers_mistake_is_a_value_error(cls: type[Exception]) -> None:
    """Not a Rad69Error: whoever retries those must not retry these."""
    assert issubclass(cls, ValueError)
    assert not issubclass(cls, Rad69Error)
    assert str(pickle.loads(pickle.dumps(cls("text")))) == "text"


def test_the_documented_tree_is_the_true_one() -> None:
    """The module's picture has every class above the RegistryErrors, each below its parent."""
    depth: dict[int, str] = {}
    drawn = {}
    for bars, name in re.findall(r"^    ((?:\|  )*(?:\|- )?)(\w+)", str(errors.__doc__), re.MULTILINE):
        level = len(bars) // 3
        depth[level] = name
        drawn[name] = depth.get(level - 1)
    known = {cls.__name__: cls.__mro__[1].__name__ for cls in OURS if cls is not Rad69Error}
    assert {name: parent for name, parent in drawn.items() if parent}.items() <= known.items()
    left_out = {errors.ExistingFileError}
    undrawn = {cls for cls in OURS if cls.__name__ not in drawn} - left_out
    assert all(issubclass(cls, errors.RegistryError) for cls in undrawn)


def test_every_error_is_public() -> None:
    """What can be raised can be caught by name."""
    assert {cls.__name__ for cls in ALL} <= set(asyncrad69.__all__)


@pytest.mark.parametrize(("code", "cls"), CODES.items())
def test_every_code_has_a_class(code: str, cls: type[errors.RegistryError]) -> None:
    """The tables of the standards, code by code."""
    assert errors.registry_error_class(code) is cls


@pytest.mark.parametrize("code", [*PLAIN, "MyBigError", "", "xdsmissingdocument"])
def test_other_codes_are_plain(code: str) -> None:
    """A vendor's code is legal."""
    assert errors.registry_error_class(code) is errors.RegistryError


def test_no_code_is_left_out_of_the_tables() -> None:
    """Every class with codes is registered, none twice."""
    assert errors._BY_CODE == CODES
    classes = [cls for cls in OURS if issubclass(cls, errors.RegistryError)]
    assert sum(len(vars(cls).get("codes", ())) for cls in classes) == len(CODES)


@pytest.mark.parametrize(
    ("status", "retryable", "fatal"),
    [
        (400, False, False),
        (204, True, False),
        (404, False, True),
        (302, False, True),
        (500, True, False),
        (504, True, False),
        (415, False, False),
    ],
)
def test_a_status_decides_what_to_do(status: int, retryable: bool, fatal: bool) -> None:
    """Worth asking again, or pointless for the whole endpoint."""
    error = errors.HTTPStatusRefused("x", http_status=status)
    assert (error.retryable, error.fatal) == (retryable, fatal)


@pytest.mark.parametrize(("code", "retryable"), [("Receiver", True), ("Server", True), ("Sender", False), ("", False)])
def test_a_faults_code_decides_what_to_do(code: str, retryable: bool) -> None:
    """SOAP 1.2 part 1, table 5."""
    assert errors.SoapFault("x", code=code).retryable is retryable


@pytest.mark.parametrize(("subcode", "refuses"), [("FailedAuthentication", True), ("ActionNotSupported", False)])
def test_a_fault_of_ws_security_is_about_us(subcode: str, refuses: bool) -> None:
    """It is told apart from others, and says what may be passed."""
    fault = errors.SoapFault("x", code="Sender", subcodes=(subcode,))
    assert fault.refuses_us is refuses
    assert fault.fatal is refuses  # the next request would be refused too
    assert ("security_header=" in (fault.hint or "")) is refuses


def test_what_cannot_be_written_says_what_and_why_and_the_way_out() -> None:
    """The operating system's words, and what to do; it ends everything."""
    error = errors.unwritable("out", OSError(errno.ENOSPC, "No space left on device"))
    assert (error.message, error.hint) == ("out cannot be written: No space left on device", errors.STORAGE_HINT)
    assert error.fatal
    denied = PermissionError(errno.EACCES, "Permission denied")
    with (
        pytest.raises(errors.StorageError, match=r"^out cannot be read: Permission denied") as caught,
        errors.storage_errors("out", done="read"),
    ):
        raise denied
    assert isinstance(caught.value.__cause__, PermissionError)
