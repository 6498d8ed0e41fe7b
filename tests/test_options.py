"""Options: what makes no sense is refused when it is said, and nothing else is."""

from __future__ import annotations

import dataclasses
import inspect
import math
from typing import Any

import pytest

from asyncrad69 import AS_STORED, Limits, Options, Retry, Timeout, XDSMissingDocumentError
from asyncrad69._options import RetrieveOptions


@pytest.mark.parametrize("name", [each.name for each in dataclasses.fields(Timeout)])
def test_timeouts_are_positive_or_none(name: str) -> None:
    """Zero and less are refused by name; None waits for ever."""
    kwargs: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=f"{name} is more than 0"):
        Timeout(**kwargs)
    kwargs[name] = None
    assert getattr(Timeout(**kwargs), name) is None


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"attempts": 0}, "attempts is a whole number, of at least 1; not 0"),
        ({"wait_initial_s": -1.0}, "0 <= wait_initial_s"),
        ({"wait_initial_s": math.nan}, "0 <= wait_initial_s"),
        ({"wait_initial_s": 2.0, "wait_max_s": 1.0}, "wait_initial_s <= wait_max_s"),
    ],
)
def test_retry_is_checked(kwargs: dict[str, Any], message: str) -> None:
    """Attempts and waits that contradict each other are refused."""
    with pytest.raises(ValueError, match=message):
        Retry(**kwargs)


async def _awaited(_event: object) -> None: ...


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"packaging": "mime"}, ValueError, "packaging is one of 'mtom', 'simple'"),
        ({"on_failure": "raise"}, ValueError, "on_failure is one of"),
        ({"identity": "patient"}, ValueError, "identity is one of"),
        ({"invalid_instances": "keep"}, ValueError, "invalid_instances is one of"),
        ({"concurrency": 0}, ValueError, "concurrency is a whole number, or 'auto', of at least 1; not 0"),
        ({"concurrency": "many"}, TypeError, "or 'auto'; not 'many'"),
        ({"instances_per_request": -1}, ValueError, "or None for a request per series, of at least 0"),
        ({"spool_bytes": -1}, ValueError, "or None to never spool, of at least 0"),
        ({"spool_bytes": 1.5}, TypeError, "spool_bytes is a whole number"),
        ({"to": 5}, TypeError, "to is an address; not int"),
        ({"ignore": (KeyError,)}, TypeError, "ignore takes subclasses of Rad69Error"),
        ({"ignore": ("XDSMissingDocument",)}, TypeError, "ignore takes subclasses of Rad69Error"),
        ({"ignore": XDSMissingDocumentError}, TypeError, "ignore takes subclasses of Rad69Error"),
        ({"timeout": 10}, TypeError, r"timeout is a Timeout, e.g. Timeout\(idle_s=10\); not int"),
        ({"timeout": None}, TypeError, "timeout is a Timeout"),
        ({"retry": 3}, TypeError, r"retry is a Retry, e.g. Retry\(attempts=5\); not int"),
        ({"limits": {}}, TypeError, "limits is a Limits"),
        ({"concurrency": 2.5}, TypeError, "concurrency is a whole number, or 'auto'; not 2.5"),
        ({"concurrency": True}, TypeError, "not True"),
        ({"instances_per_request": 2.5}, TypeError, "instances_per_request is a whole number"),
        ({"on_event": 1}, TypeError, "on_event is a function"),
        ({"on_event": _awaited}, TypeError, "not awaited"),
        ({"transfer_syntaxes": "1.2.840.10008.1.2.1"}, TypeError, "takes a list of UIDs"),
        ({"transfer_syntaxes": ()}, ValueError, "transfer_syntaxes is empty"),
        ({"transfer_syntaxes": ("1.2.840.10008.1.2.4.94",)}, ValueError, "JPIP"),
        ({"transfer_syntaxes": ("explicit",)}, ValueError, "transfer_syntaxes"),
        ({"repository_unique_id": "here"}, ValueError, "repository"),
        ({"home_community_id": "1.2.3"}, ValueError, "urn:oid:"),
    ],
)
def test_options_are_checked(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    """Each option that makes no sense is refused with a message that names it."""
    with pytest.raises(error, match=message):
        Options(**kwargs)
    with pytest.raises(error, match=message):
        Options().override(kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("repository", "no option 'repository'; did you mean repository_unique_id"),
        ("xyz", "no option 'xyz'$"),
    ],
)
def test_an_option_that_there_is_not(name: str, message: str) -> None:
    """With the one that may have been meant."""
    with pytest.raises(TypeError, match=message):
        Options().override({name: "1.2.3"})  # type: ignore[misc]


def test_override_changes_a_copy() -> None:
    """An override leaves the defaults alone, and none at all is the same object."""
    defaults = Options(ignore=[XDSMissingDocumentError], concurrency="auto")  # type: ignore[arg-type]
    assert defaults.ignore == (XDSMissingDocumentError,)
    assert defaults.override({}) is defaults
    assert defaults.override({"concurrency": 1}).concurrency == 1
    assert defaults.concurrency == "auto"


def test_transfer_syntaxes_keep_their_order_once() -> None:
    """What is asked for is a preference list: its order stays, repetitions go."""
    first, second = AS_STORED[:2]
    assert Options(transfer_syntaxes=(second, first, second)).transfer_syntaxes == (second, first)


def test_parts_follow_what_was_asked() -> None:
    """The limit of parts grows with the request, unless it is given."""
    assert Limits().of_reply(10).max_parts == 36
    assert Limits(max_parts=3).of_reply(10).max_parts == 3


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"max_part": None}, TypeError, "max_part is a whole number; not None"),
        ({"max_headers": "64"}, TypeError, "max_headers is a whole number; not '64'"),
        ({"max_part": -1}, ValueError, "max_part is a whole number, of at least 0; not -1"),
        ({"max_parts": -1}, ValueError, "max_parts is a whole number, of at least 0; not -1"),
    ],
)
def test_limits_are_checked(given: dict[str, Any], error: type[Exception], message: str) -> None:
    """A limit that is none would only be found out in a reply."""
    with pytest.raises(error, match=message):
        Limits(**given)


def test_keywords_and_options_are_the_same() -> None:
    """RetrieveOptions, which types the keywords, has every option and no other."""
    assert list(RetrieveOptions.__annotations__) == list(inspect.signature(Options).parameters)
