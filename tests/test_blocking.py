"""Rad69: the same client for code that does not await, and no thread after it."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import pytest

from asyncrad69 import (
    AsyncRad69,
    AsyncRetrieval,
    IncompleteRetrieveError,
    InstanceReference,
    Rad69,
    RequestStarted,
    Retrieval,
    RetrieveFinished,
)
from asyncrad69.testing import SimulatedSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncrad69 import Event, Instance

UNKNOWN = InstanceReference("1.2.3", "1.2.3.1", "1.2.3.1.1", repository_unique_id="1.2.3.4")


@pytest.fixture(scope="module")
def source() -> Iterator[SimulatedSource]:
    """A source with small instances."""
    with SimulatedSource.demo(slices=1) as source:
        yield source


def loop_threads() -> list[threading.Thread]:
    """The threads of blocking clients."""
    return [each for each in threading.enumerate() if each.name == "asyncrad69"]


@pytest.mark.parametrize(
    "name",
    [
        "__init__",
        "datasets",
        "instances",
        "retrieve",
        "get_dataset",
        "download",
        "retrieve_documents",
        "retrieve_manifest",
    ],
)
def test_same_names_and_parameters(name: str) -> None:
    """Each method takes what its asynchronous twin takes, with the same defaults."""
    one = inspect.signature(getattr(Rad69, name)).parameters
    other = inspect.signature(getattr(AsyncRad69, name)).parameters
    assert [(each.name, each.kind, each.default) for each in one.values()] == [
        (each.name, each.kind, each.default) for each in other.values()
    ]


def test_a_retrieval_has_what_its_twin_has() -> None:
    """What a caller may do with a retrieve is there in both."""
    for name in ("report", "reject", "stop_asking"):
        assert hasattr(Retrieval, name)
        assert hasattr(AsyncRetrieval, name)


def test_all_ways_to_retrieve(source: SimulatedSource) -> None:
    """Instances, Datasets, a retrieve with its report, one Dataset."""
    wanted = source.references()[:5]
    with Rad69(source.url) as rad69:
        assert {each.reference for each in rad69.instances(wanted)} == set(wanted)
        assert len(list(rad69.datasets(wanted))) == 5
        with rad69.retrieve(wanted) as retrieval:
            assert len(list(retrieval)) == 5
        assert retrieval.report.complete
        assert rad69.get_dataset(wanted[0]).SOPInstanceUID == wanted[0].sop_instance_uid
    assert loop_threads() == []
    assert repr(rad69).startswith("<Rad69 ")


def test_stop_asking(source: SimulatedSource) -> None:
    """What is in flight still comes, and nothing else; a client that was closed is no obstacle."""
    with Rad69(source.url, concurrency=1) as rad69:
        with rad69.retrieve(source.references(), on_failure="report") as retrieval:
            for _ in retrieval:
                retrieval.stop_asking()
        assert 0 < len(retrieval.report.delivered) < len(source.references())
    retrieval.stop_asking()


def test_a_client_is_not_closed_from_an_event(source: SimulatedSource) -> None:
    """Its receiver runs in the loop's thread: said in words, and the client goes on as if nothing had been."""
    failed: list[str] = []

    def close(event: Event) -> None:
        if isinstance(event, RequestStarted):
            try:
                rad69.close()
            except RuntimeError as exc:
                failed.append(str(exc))

    with Rad69(source.url, on_event=close) as rad69:
        assert rad69.get_dataset(source.references()[0]).SOPInstanceUID == source.references()[0].sop_instance_uid
        assert loop_threads()
    assert failed == ["the client cannot be closed in its own thread: stop_asking() ends a retrieve from an event"]
    assert loop_threads() == []


def test_a_retrieve_that_is_collected_in_the_loop_s_thread(source: SimulatedSource) -> None:
    """The garbage collector runs where it likes: what is in flight ends there, too."""
    finished = threading.Event()

    def note(event: Event) -> None:
        if isinstance(event, RetrieveFinished):
            finished.set()

    with Rad69(source.url, on_event=note) as rad69:
        retrieval = rad69.retrieve(source.references())
        next(retrieval)
        rad69.thread().do(retrieval.close)
        assert finished.wait(10)
    assert not retrieval.report.complete


def test_what_was_fetched_and_not_seen_is_not_delivered(source: SimulatedSource) -> None:
    """Several are fetched at once from the loop's thread; the report counts those that the caller had."""
    with Rad69(source.url) as rad69:
        with rad69.retrieve(source.references(), on_failure="report") as retrieval:
            seen = [next(retrieval), next(retrieval)]
        assert {row.reference for row in retrieval.report.delivered} == {each.reference for each in seen}
    retrieval.close()


def test_an_error_comes_after_all_that_came_before_it(source: SimulatedSource) -> None:
    seen: list[Instance] = []
    with Rad69(source.url) as rad69:
        instances = rad69.instances([*source.references(), UNKNOWN])
        with pytest.raises(IncompleteRetrieveError, match="82 of 83"):
            seen.extend(instances)
    assert len(seen) == len(source.references())


async def _retrieve_in_a_loop(source: SimulatedSource) -> int:
    with Rad69(source.url) as rad69:
        return len(list(rad69.datasets(source.references()[:3])))


def test_inside_a_running_loop(source: SimulatedSource) -> None:
    """As in a notebook: a loop that runs already is no obstacle."""
    assert asyncio.run(_retrieve_in_a_loop(source)) == 3


def test_leaving_early(source: SimulatedSource) -> None:
    """A break and an exception of the caller's own leave a client that works."""
    with Rad69(source.url) as rad69:
        for _ in rad69.instances(source.references()):
            break
        with pytest.raises(KeyError):  # noqa: PT012 - the loop is what is left
            for _ in rad69.instances(source.references()):
                raise KeyError
        assert len(list(rad69.instances(source.references()[:3]))) == 3
    assert loop_threads() == []


def test_failures_are_the_same(source: SimulatedSource) -> None:
    """An incomplete retrieve raises at its end, with the report."""
    with Rad69(source.url) as rad69, pytest.raises(IncompleteRetrieveError, match="0 of 1") as caught:
        list(rad69.instances(UNKNOWN))
    assert caught.value.references == (UNKNOWN,)


def test_a_client_that_was_closed_can_be_opened_again(source: SimulatedSource) -> None:
    """In another thread and event loop, as two cells of a notebook do."""
    rad69 = Rad69(source.url)
    for _ in range(2):
        with rad69:
            assert len(list(rad69.datasets(source.references()))) == len(source.references())


def test_a_client_that_is_not_open_says_so(source: SimulatedSource) -> None:
    """Before, twice, and after: a RuntimeError that names the way; closing twice is nothing."""
    rad69 = Rad69(source.url)
    with pytest.raises(RuntimeError, match=r"with Rad69\(\.\.\.\)"):
        rad69.get_dataset(UNKNOWN)
    with rad69:
        assert rad69.is_open
        with pytest.raises(RuntimeError, match="open already"):
            rad69.__enter__()
        retrieval = rad69.retrieve(source.references())
    rad69.close()
    retrieval.close()
    with pytest.raises(RuntimeError, match=r"with Rad69\(\.\.\.\)"):
        next(retrieval)
    assert not rad69.is_open


def test_a_forgotten_client_leaves_no_thread(source: SimulatedSource) -> None:
    """The garbage collector ends it, with a warning."""
    rad69: Any = Rad69(source.url).__enter__()
    assert loop_threads()
    with pytest.warns(ResourceWarning, match="was not closed"):  # noqa: PT031 - the collector warns
        del rad69
        gc.collect()
    assert loop_threads() == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_is_told(source: SimulatedSource) -> None:
    """The child has the object but not its thread: an error, no hang, and closing it is harmless."""
    script = f"""
        import os
        from asyncrad69 import Rad69
        with Rad69({source.url!r}, repository_unique_id="1.2.3.4") as rad69:
            child = os.fork()
            if not child:
                try:
                    rad69.get_dataset(("1.2", "1.3", "1.4"))
                except RuntimeError as exc:
                    rad69.close()
                    os._exit(0 if "before a fork" in str(exc) else 2)
                os._exit(3)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    """
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)], timeout=60, check=False)
    assert done.returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="SIGINT as Ctrl-C sends it")
def test_an_interrupt_ends_all(source: SimulatedSource) -> None:
    """Rule 6: Ctrl-C inside a retrieve is a KeyboardInterrupt in the caller's code, and the process ends."""
    script = f"""
        import threading, time
        from asyncrad69 import Rad69
        references = {[_triple(each) for each in source.references()]!r}
        try:
            with Rad69({source.url!r}, repository_unique_id="1.2.3.4") as rad69:
                for _ in rad69.instances(references):
                    print("ready", flush=True)
                    time.sleep(60)
        except KeyboardInterrupt:
            end = time.monotonic() + 10
            while threading.active_count() > 1 and time.monotonic() < end:
                time.sleep(0.01)  # anyio tells its idle threads to end, and does not wait for them
            print(threading.active_count(), flush=True)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        assert child.stdout.read() == "1\n"
        assert child.wait(60) == 0


def _triple(reference: InstanceReference) -> tuple[str, str, str]:
    return reference.study_instance_uid, reference.series_instance_uid, reference.sop_instance_uid
