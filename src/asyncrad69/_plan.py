"""References to requests: what is asked for together. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._errors import InvalidReferenceError
from ._references import InstanceReference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._options import Options


@dataclass(frozen=True, slots=True)
class Request:
    """The instances that one RetrieveImagingDocumentSetRequest asks for, of one repository."""

    references: tuple[InstanceReference, ...]

    @property
    def repository_unique_id(self) -> str | None:
        """The repository; ``None`` where nothing is asked for."""
        return self.references[0].repository_unique_id if self.references else None

    def halves(self) -> tuple[Request, ...]:
        """Two requests for half as much each; itself if it asks for one instance."""
        middle = (len(self.references) + 1) // 2
        parts = (self.references[:middle], self.references[middle:])
        return tuple(Request(part) for part in parts if part)


def addressed(references: Iterable[InstanceReference], options: Options) -> tuple[InstanceReference, ...]:
    """
    The references with the repository and community that *options* give where they name none.

    Raises:
        InvalidReferenceError: An instance is in no repository, or for RAD-75 in no community.
    """
    return tuple(_addressed(reference, options) for reference in references)


def _addressed(reference: InstanceReference, options: Options) -> InstanceReference:
    repository = reference.repository_unique_id or options.repository_unique_id
    if repository is None:
        raise InvalidReferenceError(
            f"instance {reference.sop_instance_uid} names no repository, which RAD-69 requires: pass "
            "repository_unique_id=. It is the RetrieveLocationUID of the KOS manifest; the source's operator knows it"
        )
    home = reference.home_community_id or options.home_community_id
    if home is None and options.transaction == "RAD-75":
        raise InvalidReferenceError(
            f"instance {reference.sop_instance_uid} names no home community, which RAD-75 requires: pass "
            "home_community_id=, in the form urn:oid:1.2.3"
        )
    if (repository, home) == (reference.repository_unique_id, reference.home_community_id):
        return reference
    return InstanceReference(
        reference.study_instance_uid,
        reference.series_instance_uid,
        reference.sop_instance_uid,
        repository_unique_id=repository,
        home_community_id=home,
    )


def requests(references: Iterable[InstanceReference], options: Options) -> list[Request]:
    """
    Group *references* into requests, in the order of their first instances.

    One request never names two repositories: a source refuses the whole of it for one repository that is not its
    own. Studies are kept apart too where requests are per series, since series UIDs alone may be reused.
    """
    groups: dict[tuple[str | None, ...], list[InstanceReference]] = {}
    for reference in references:
        groups.setdefault(_group(reference, options), []).append(reference)
    size = options.instances_per_request
    return [Request(batch) for group in groups.values() for batch in _batches(group, size)]


def _group(reference: InstanceReference, options: Options) -> tuple[str | None, ...]:
    place = (reference.repository_unique_id, reference.home_community_id)
    if options.instances_per_request == 0:
        return place
    return (*place, reference.study_instance_uid, reference.series_instance_uid)


def _batches(group: list[InstanceReference], size: int | None) -> Iterable[tuple[InstanceReference, ...]]:
    size = size or len(group)
    for start in range(0, len(group), size):
        yield tuple(group[start : start + size])
