"""
The ledger of one retrieve: which instance was asked for, what came, and what to ask for again. No I/O.

Its rule: an instance leaves *pending* once, into exactly one column, and never comes back.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ._errors import (
    ConnectionFailed,
    InstanceLimitExceeded,
    InstanceNotAvailable,
    InvalidInstanceError,
    Rad69Error,
    RegistryError,
    ServerBusy,
    ServerError,
    TruncatedResponse,
)
from ._events import SeriesFinished
from ._plan import Request
from ._report import Report, Row, State

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator

    from ._options import Options
    from ._references import InstanceReference
    from ._walk import Facts

# A source that answers well and still leaves an instance out is asked once more; then it does not have it.
_MAX_OMISSIONS = 2
# A damaged instance may be the network's fault once; the second time it is stored like this.
_MAX_FLAWED = 2


@dataclass(slots=True)
class _Entry:
    reference: InstanceReference
    state: State | None = None
    error: Rad69Error | None = None
    attempts: int = 0
    alone: int = 0
    omitted: int = 0
    flawed: int = 0
    foreign: bool = False
    on_its_way: bool = False
    size_bytes: int = 0
    transfer_syntax_uid: str = ""
    path: str | None = None


@dataclass(slots=True)
class _Series:
    entries: list[_Entry] = field(default_factory=list)
    pending: int = 0
    on_their_way: int = 0
    told: bool = False

    def add(self, entry: _Entry) -> None:
        self.entries.append(entry)
        self.pending += 1

    def event(self) -> SeriesFinished:
        delivered = sum(entry.state == "delivered" for entry in self.entries)
        study_instance_uid, series_instance_uid = _key(self.entries[0])
        return SeriesFinished(
            study_instance_uid=study_instance_uid,
            series_instance_uid=series_instance_uid,
            delivered=delivered,
            failed=len(self.entries) - delivered,
        )


class Ledger:
    """
    Args:
        references: What is asked for, each SOP Instance UID once.
        options: Its identity, invalid_instances, ignore and retry rules are applied here.
        on_failed: Told of every instance that is given up.
    """

    def __init__(
        self,
        references: Iterable[InstanceReference],
        options: Options,
        *,
        on_failed: Callable[[InstanceReference, Rad69Error | None], None],
    ) -> None:
        self._entries = {reference.sop_instance_uid: _Entry(reference) for reference in references}
        self._options = options
        self._on_failed = on_failed
        self._settled = 0
        self._series: dict[tuple[str, str], _Series] = {}
        for entry in self._entries.values():
            self._series.setdefault(_key(entry), _Series()).add(entry)
        self._finished: list[_Series] = []
        self.answers: Counter[str] = Counter()
        self.remarks: Counter[str] = Counter()
        self.requests = 0
        self.received_bytes = 0

    @property
    def settled(self) -> int:
        """How many instances have left pending: delivered, refused or missing."""
        return self._settled

    def pending(self, references: Iterable[InstanceReference]) -> tuple[InstanceReference, ...]:
        """Those of *references* that are still to come."""
        return tuple(each for each in references if self._entry(each).state is None)

    def ask(self, request: Request) -> None:
        """Note that *request* is sent."""
        self.requests += 1
        for reference in request.references:
            self._entry(reference).attempts += 1

    # --- a document came

    def identify(self, document_unique_id: str | None, facts: Facts) -> InstanceReference | None:
        """
        Which pending instance a document is; ``None`` for one that is not wanted, or not any more.

        Raises:
            InvalidInstanceError: It is cut, not DICOM, or not the instance it is said to be. Its `references` name
                the instance it should have been, as far as that can be known.
        """
        entry = self._entry_of(document_unique_id, facts)
        if entry is None:
            self.remarks["an instance came that was not asked for; it was dropped"] += 1
            return None
        if entry.state is not None:
            self.remarks["an instance came again; it was dropped"] += 1
            return None
        mismatch = self._mismatch(entry.reference, facts)
        entry.foreign = mismatch is not None
        if mismatch is not None:
            raise mismatch
        if facts.flaw is not None:
            raise self._flaw(entry.reference, facts)
        return entry.reference

    def _flaw(self, reference: InstanceReference, facts: Facts) -> InvalidInstanceError:
        message = f"instance {reference.sop_instance_uid} {facts.flaw}"
        if facts.exceeded is None:
            return InvalidInstanceError(message, references=(reference,))
        maximum = getattr(self._options.limits, facts.exceeded)
        return InstanceLimitExceeded(message, limit=facts.exceeded, maximum=maximum, references=(reference,))

    def _entry_of(self, document_unique_id: str | None, facts: Facts) -> _Entry | None:
        """
        The entry that a document belongs to: by the name it came under where its own UIDs bear that out, else by
        these, and last by that name alone, for a document that is cut or not what it is said to be.
        """
        own = (facts.sop_instance_uid, facts.meta_sop_instance_uid)
        name = document_unique_id or ""
        trusted = name in own or self._options.identity == "content-id"
        uids = (name, *own) if trusted else (*own, name)
        return next((self._entries[uid] for uid in uids if uid in self._entries), None)

    def _mismatch(self, reference: InstanceReference, facts: Facts) -> InvalidInstanceError | None:
        if self._options.identity == "content-id" or not facts.sop_instance_uid:
            return None
        pairs = [("SOP Instance UID", reference.sop_instance_uid, facts.sop_instance_uid)]
        if self._options.identity == "study" and facts.flaw is None:
            pairs += [
                ("Series Instance UID", reference.series_instance_uid, facts.series_instance_uid),
                ("Study Instance UID", reference.study_instance_uid, facts.study_instance_uid),
            ]
        own = {facts.sop_instance_uid, facts.meta_sop_instance_uid}
        for name, asked, came in pairs:
            if asked != came and not (name.startswith("SOP") and asked in own):
                return InvalidInstanceError(
                    f"instance {reference.sop_instance_uid} came with another {name} than asked for",
                    references=(reference,),
                    hint="If the source changes UIDs on purpose, pass identity='instance' or 'content-id'.",
                )
        return None

    def flawed(self, error: InvalidInstanceError) -> bool:
        """
        Note a damaged document; whether it is to be delivered all the same.

        It is asked for once more, since the network may be at fault. If it comes damaged again it is missing, or
        delivered with its error where ``invalid_instances="deliver"``; not if it is another than was asked for.
        """
        entries = [entry for entry in map(self._entry, error.references) if entry.state is None]
        for entry in entries:
            entry.error = error
            entry.flawed += 1
        again = self._options.retry.attempts > 1
        final = [entry for entry in entries if entry.flawed >= (_MAX_FLAWED if again else 1)]
        if final and self._options.invalid_instances == "deliver" and not any(entry.foreign for entry in final):
            return True
        for entry in final:
            self._give_up(entry, "missing", error)
        return False

    def deliver(
        self, reference: InstanceReference, facts: Facts, size_bytes: int, error: InvalidInstanceError | None = None
    ) -> None:
        """An instance goes to the caller, or to its file; with *error*, though it is damaged."""
        entry = self._entry(reference)
        entry.state = "delivered"
        entry.error = error
        entry.size_bytes = size_bytes
        entry.transfer_syntax_uid = facts.transfer_syntax_uid
        entry.on_its_way = True
        self._series[_key(entry)].on_their_way += 1
        self._settle(entry)
        if facts.transfer_syntax_uid not in self._options.transfer_syntaxes:
            self.remarks["an instance came in a transfer syntax that was not asked for"] += 1

    def put_back(self, reference: InstanceReference) -> None:
        """An instance could not be handed over: the caller has left."""
        self.handed_over(reference)
        entry = self._entry(reference)
        entry.state, entry.size_bytes, entry.transfer_syntax_uid = None, 0, ""
        self._settled -= 1
        self._series[_key(entry)].pending += 1

    def withdraw(self, reference: InstanceReference, error: Rad69Error) -> None:
        """A delivered instance turned out to be of no use after all: it could not be parsed."""
        entry = self._entry(reference)
        entry.state = "missing"
        entry.error = error
        self._on_failed(reference, error)
        self.handed_over(reference)

    def handed_over(self, reference: InstanceReference) -> None:
        """A delivered instance is where it was to go, or will not be. Does nothing the second time."""
        entry = self._entry(reference)
        if entry.on_its_way:
            entry.on_its_way = False
            series = self._series[_key(entry)]
            series.on_their_way -= 1
            self._note_finished(series)

    def there(self, reference: InstanceReference, path: str, size_bytes: int) -> None:
        """An instance need not be asked for: it is in a file."""
        entry = self._entry(reference)
        entry.state = "delivered"
        entry.path = path
        entry.size_bytes = size_bytes
        self._settle(entry)
        self.remarks["an instance was in its file already"] += 1

    def written(self, reference: InstanceReference, path: str) -> None:
        """A delivered instance is in a file."""
        self._entry(reference).path = path

    # --- an exchange is over

    def refuse(
        self, request: Request, errors: Iterable[RegistryError], *, promised: Container[str] = frozenset()
    ) -> None:
        """
        Enter the source's RegistryErrors: each under the instance it names, else under all that did not come and that
        the same answer does not promise.

        ITI TF-2 3.43.4.2.2: location is the document unique id. Sources also write class names there, or nothing.
        """
        general: list[RegistryError] = []
        for error in errors:
            entry = self._entries.get(error.location)
            if error.severity == "Warning":
                self.remarks[f"warning of the source: {error.message}"] += 1
            elif entry is None:
                general.append(error)
            elif entry.state is None:
                error.references = (entry.reference,)
                self._refused(entry, error)
        if general:
            for reference in self.pending(request.references):
                if reference.sop_instance_uid not in promised:
                    self._refused(self._entry(reference), general[0])

    def absent(self, document_unique_id: str) -> None:
        """The manifest promises a document, and no part brought it."""
        entry = self._entries.get(document_unique_id)
        if entry is not None and entry.state is None:
            entry.error = TruncatedResponse(
                f"instance {document_unique_id} was promised, and no part brought it", references=(entry.reference,)
            )

    def _refused(self, entry: _Entry, error: RegistryError) -> None:
        entry.error = error
        if not error.retryable or self._options.retry.attempts == 1:
            self._give_up(entry, "refused", error)

    def settle(self, request: Request, error: Rad69Error | None, *, progress: bool) -> list[Request]:
        """
        What to ask for again after *request*, whose exchange ended with *error*, or well.

        - An answer that is whole and leaves an instance out: ask once more.
        - An error that repeating does not change: all that is left is refused, or missing.
        - A retryable one that brought something: ask for the rest.
        - One that brought nothing, or asks for less: ask for halves. An instance is blamed only when it was asked for
          alone.
        """
        left = [entry for entry in map(self._entry, request.references) if entry.state is None]
        if not left:
            return []
        once = self._options.retry.attempts == 1
        if error is None:
            left = list(self._after_good_answer(left, alone=len(request.references) == 1, give_up=once))
        elif once or not (error.retryable or (error.asks_for_less and len(left) > 1)):
            for entry in left:
                self._give_up(entry, "refused" if isinstance(error, ServerError) else "missing", error)
            return []
        if not left:
            return []
        rest = Request(tuple(entry.reference for entry in left))
        less = (error, *(entry.error for entry in left))
        if len(left) > 1 and any(each is not None and each.asks_for_less for each in less):
            return list(rest.halves())
        if progress or error is None or isinstance(error, ConnectionFailed | ServerBusy):
            return [rest]
        if len(left) > 1:
            return list(rest.halves())
        return [rest] if self._once_more(left[0], error) else []

    def _after_good_answer(self, left: list[_Entry], *, alone: bool, give_up: bool) -> Iterator[_Entry]:
        """Those worth asking for once more after an answer that was whole."""
        for entry in left:
            if isinstance(entry.error, RegistryError):  # refused for now: the source is busy
                # That it was too much at once is the fault of none of those that were asked for together.
                if (entry.error.asks_for_less and not alone) or self._once_more(entry, entry.error):
                    yield entry
                continue
            entry.omitted += 1
            if give_up or entry.omitted >= _MAX_OMISSIONS:
                self._give_up(entry, "missing", entry.error)
            else:
                yield entry

    def refusal(self, requests: Iterable[Request]) -> RegistryError | None:
        """What a good answer refused of *requests*, for now: the source is busy, or it was too much at once."""
        errors = (self._entry(reference).error for request in requests for reference in request.references)
        return next((error for error in errors if isinstance(error, RegistryError)), None)

    def _once_more(self, entry: _Entry, error: Rad69Error) -> bool:
        entry.alone += 1
        if entry.alone < self._options.retry.attempts:
            return True
        self._give_up(entry, "refused" if isinstance(error, ServerError) else "missing", error)
        return False

    def give_up(self, error: Rad69Error, references: Iterable[InstanceReference]) -> None:
        """Nothing more of *references* will be asked for: what is pending of them is missing, because of *error*."""
        for entry in map(self._entry, references):
            if entry.state is None:
                self._give_up(entry, "missing", entry.error or error)

    def _give_up(self, entry: _Entry, state: State, error: Rad69Error | None) -> None:
        entry.state = state
        entry.error = error
        self._settle(entry)
        self._on_failed(entry.reference, error)

    def _settle(self, entry: _Entry) -> None:
        """An entry has left pending."""
        self._settled += 1
        series = self._series[_key(entry)]
        series.pending -= 1
        self._note_finished(series)

    def _note_finished(self, series: _Series) -> None:
        if not series.pending and not series.on_their_way:
            self._finished.append(series)

    # --- the sum

    def finished_series(self) -> Iterator[SeriesFinished]:
        """The series of which nothing is pending or on its way any more, each once."""
        finished, self._finished = self._finished, []
        for series in finished:
            if not series.told and not series.pending:
                series.told = True
                yield series.event()

    def first_failure(self) -> Rad69Error | None:
        """An error, not ignored, that an instance ended with; for ``on_failure="stop"``."""
        lost = (entry for entry in self._entries.values() if entry.state in {"refused", "missing"})
        entry = next((entry for entry in lost if not self._ignored(entry)), None)
        if entry is None:
            return None
        if entry.error is not None:
            return entry.error
        message = f"instance {entry.reference.sop_instance_uid} did not come, and the source names no reason"
        return InstanceNotAvailable(message, references=(entry.reference,))

    def report(self, seconds: float) -> Report:
        """The report as of now; what is pending counts as missing."""
        return Report(
            rows=tuple(self._row(entry) for entry in self._entries.values()),
            seconds=seconds,
            requests=self.requests,
            received_bytes=self.received_bytes,
            answers=dict(self.answers),
            remarks=dict(self.remarks),
        )

    def _row(self, entry: _Entry) -> Row:
        return Row(
            reference=entry.reference,
            state=entry.state or "missing",
            error=entry.error,
            attempts=entry.attempts,
            size_bytes=entry.size_bytes,
            transfer_syntax_uid=entry.transfer_syntax_uid,
            path=entry.path,
            ignored=entry.state != "delivered" and self._ignored(entry),
        )

    def _ignored(self, entry: _Entry) -> bool:
        return isinstance(entry.error, self._options.ignore)

    def _entry(self, reference: InstanceReference) -> _Entry:
        return self._entries[reference.sop_instance_uid]


def _key(entry: _Entry) -> tuple[str, str]:
    return entry.reference.study_instance_uid, entry.reference.series_instance_uid
