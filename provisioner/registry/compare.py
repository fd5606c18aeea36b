"""Which images of a set a registry lacks or has otherwise, by their digests alone: nothing is moved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.registry.client import Registry
from provisioner.registry.placing import Placed

SAME, MISSING, OTHER = "same", "missing", "other"


@dataclass(frozen=True)
class Compared:
    """`state` is same, missing or other; `there` is the registry's digest, "" where it has none."""

    reference: str
    where: str
    state: str
    digest: str
    there: str = ""


def compare(registry: Registry, images: Sequence[Placed]) -> list[Compared]:
    """One HEAD an image. Raises ProvisionError as `Registry.digest`."""
    result = []
    for each in images:
        there = registry.digest(each.repository, each.tag) or ""
        state = SAME if there == each.image.digest else OTHER if there else MISSING
        where = f"{registry.authority}/{each.where}"
        result.append(Compared(each.reference, where, state, each.image.digest, there))
    return result


def comparison_value(found: Sequence[Compared]) -> dict[str, Any]:
    """For --json: the images by what they are there."""
    by_state: dict[str, list[dict[str, str]]] = {SAME: [], MISSING: [], OTHER: []}
    for each in found:
        names = ("reference", "where", "digest", "there")
        by_state[each.state].append({name: getattr(each, name) for name in names})
    return dict(by_state)


def comparison_lines(found: Sequence[Compared]) -> Iterator[str]:
    """As diff(1) marks them, the registry being what is to become the bundle; the last line counts."""
    for each in found:
        if each.state == MISSING:
            yield f"+ {each.where}  {each.digest[:19]}  is missing there ({each.reference})"
        elif each.state == OTHER:
            yield f"~ {each.where}  {each.there[:19]} there, {each.digest[:19]} here ({each.reference})"
    counts = {state: sum(each.state == state for each in found) for state in (SAME, MISSING, OTHER)}
    yield f"{counts[SAME]} are the same, {counts[MISSING]} are missing there, {counts[OTHER]} differ"
