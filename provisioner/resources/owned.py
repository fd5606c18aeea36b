"""What a host remembers of the things that this tool put there: JSON lines in /var/lib/provision/owned, newest last.

A line is written before the thing is, so that a run that is killed leaves nothing behind that nobody knows of. Lines
are only added, because that survives a kill, and because rewriting JSON takes tools that hosts need not have. The file
is root's alone: it holds digests of secret files. Originals that were written over lie in /var/lib/provision/displaced.

What a cluster that ended has left behind on purpose is nobody's (KEPT), until the next cluster takes it over.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from provisioner.resources.model import LEFT_OVER, Absent, Change, Owned, Plain, Present

OF_CLUSTERS = "site of "
"""How the names begin under which clusters remember what the shipped playbook has put there."""
KEPT = "kept"
"""In the place of such a name, while there is no cluster."""


def parse_owned(text: str) -> dict[str, Owned]:
    """By resource id, in the order in which they first came; without lines that a full disk or a lost power cut off,
    and others that are none of ours."""
    found: dict[str, Owned] = {}
    for line in text.splitlines():
        try:
            _take(found, json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return found


def _take(found: dict[str, Owned], said: Mapping[str, Any]) -> None:
    kind, name, playbook = (_text(said[each]) for each in ("kind", "name", "playbook"))
    key = f"{kind}:{name}"
    known = found.get(key)
    others = known.playbooks - {playbook} if known else frozenset()
    if playbook.startswith(OF_CLUSTERS):
        others = frozenset(each for each in others if not _of_a_cluster(each))
    if not said.get("gone"):
        wanted, before = (_plain(said[name]) for name in ("wanted", "before"))
        found[key] = Owned(kind, name, others | {playbook}, wanted, before, bool(said.get("secret")))
    elif known and others:
        found[key] = replace(known, playbooks=others)
    else:
        found.pop(key, None)


def owned_line(change: Change, playbook: str, known: Owned | None, run: str) -> str:
    """What is remembered of `change` once it is made. `known` is what was remembered of the thing until now."""
    desired = change.resource.desired
    wanted = desired.attrs if isinstance(desired, Present) else {}
    before: Mapping[str, Plain] = {}
    if known is not None:
        before = known.before
    elif isinstance(change.before, Present):
        before = change.before.attrs
    record = {**_named(change), "playbook": playbook, "run": run, "wanted": wanted, "before": before}
    return _line({**record, "secret": True} if change.resource.secret else record)


def kept_lines(known: Mapping[str, Owned], kept: Collection[str], playbook: str, run: str) -> list[str]:
    """What is remembered when the cluster of `playbook` ends: of its things those that are `kept`, by their ids, as
    nobody's; no others. Things of other playbooks are theirs on."""
    lines = []
    for each in known.values():
        if playbook not in each.playbooks:
            continue
        named = {"kind": each.kind, "name": each.name, "run": run}
        lines.append(_line({**named, "playbook": playbook, "gone": True}))
        if each.id in kept:
            record = {**named, "playbook": KEPT, "wanted": each.wanted, "before": each.before}
            lines.append(_line({**record, "secret": True} if each.secret else record))
    return lines


def taken_over(known: Mapping[str, Owned], playbook: str) -> dict[str, Owned]:
    """`known` to a run of the cluster of `playbook`: what is nobody's is its own, and what was another cluster's, too.
    A host is in one at a time: that one has ended, by a run that was stopped before it had forgotten all of it."""
    return {
        rid: replace(each, playbooks=frozenset({*filter(_others, each.playbooks), playbook}))
        if any(map(_of_a_cluster, each.playbooks))
        else each
        for rid, each in known.items()
    }


def _of_a_cluster(playbook: str) -> bool:
    return playbook == KEPT or playbook.startswith(OF_CLUSTERS)


def _others(playbook: str) -> bool:
    return not _of_a_cluster(playbook)


def gone_line(change: Change, playbook: str, run: str) -> str:
    """The line that ends the memory of a thing for `playbook`."""
    return _line({**_named(change), "playbook": playbook, "run": run, "gone": True})


def is_gone(change: Change) -> bool:
    """Whether the thing is no longer the tool's once `change` is made."""
    return isinstance(change.resource.desired, Absent) or LEFT_OVER in change.resource.spec


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"))


def _named(change: Change) -> dict[str, Any]:
    return {"kind": change.resource.kind, "name": change.resource.name}


def _plain(value: Mapping[str, Any]) -> dict[str, Plain]:
    return {
        key: tuple(map(_text, each)) if isinstance(each, list) else _scalar(each)
        for key, each in value.items()
    }


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _scalar(value: Any) -> str | int | bool | None:
    if value is not None and not isinstance(value, str | int):
        raise TypeError
    return value
