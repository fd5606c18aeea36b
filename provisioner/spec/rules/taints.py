"""Taints of nodes that stand beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from provisioner.errors import Problem
from provisioner.inventory.model import Position
from provisioner.spec.draft import Draft, place
from provisioner.spec.labels import taint
from provisioner.spec.model import Taint
from provisioner.spec.values import RefusedError


def taints_do_not_clash(draft: Draft) -> Iterator[Problem]:
    """Key and effect tell a node's taints apart (kubernetes, pkg/apis/core/validation: validateNodeTaints)."""
    yield from _clashes(draft, None, ("cluster", "nodes", "taints"), draft.get("nodes", "taints"))
    for host in draft.inventory.hosts.values():
        yield from _clashes(draft, host.name, ("node_taints",), draft.host_value(host.name, "node_taints"))


def _clashes(draft: Draft, host: str | None, path: Sequence[str], written: Any) -> Iterator[Problem]:
    first: dict[tuple[str, str], tuple[Taint, Position]] = {}
    for index, value in enumerate(written if isinstance(written, list) else ()):
        if not isinstance(value, str | dict):
            continue
        try:
            found = taint(value)
        except RefusedError:
            continue  # wrong by itself
        at = draft.inventory.origin(host, *path, index)
        other, where = first.setdefault(found.slot, (found, at))
        if other != found:
            reason = f"{path[-1]}: '{found}' has the key and the effect of '{other}' ({place(where)})"
            yield Problem(*at, reason, "a node has one taint of a key and an effect; keep one of the two")
