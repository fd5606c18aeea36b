"""Ansible's host patterns: `web:&blue:!web3`, `db*`, `~web[0-9]+`, `etcd[0]`, `kube_node[1:]`."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence

from provisioner.inventory.aliases import ROLES, canonical
from provisioner.inventory.ranges import is_ipv6
from provisioner.inventory.words import nearest

_TERM = re.compile(r"(?:[^\s:\[\]]|\[[^\]]*\])+")
_SUBSCRIPT = re.compile(r"(.+)\[(?:(-?[0-9]{1,9})|([0-9]{1,9})[:-]([0-9]{0,9}))\]")


class PatternError(ValueError):
    """A pattern names nothing that exists; `hint` names the nearest that does."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


def match(pattern: str, hosts: Sequence[str], groups: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The hosts that a pattern selects, in its order. Raises PatternError when a part of it names nothing.

    Plain parts are united, then `&` parts intersect, then `!` parts are taken away, in whatever order they
    stand. The groups with a role in a cluster may be absent: they then have no hosts.
    """
    terms = _terms(pattern, hosts)
    plain = [term for term in terms if term[0] not in "&!"]
    selected = _united(plain, hosts, groups) if plain else list(hosts)
    for term in (term[1:] for term in terms if term[0] == "&"):
        kept = set(_enumerate(term, hosts, groups))
        selected = [host for host in selected if host in kept]
    for term in (term[1:] for term in terms if term[0] == "!"):
        dropped = set(_enumerate(term, hosts, groups))
        selected = [host for host in selected if host not in dropped]
    if not selected and not any(canonical(term) in ROLES for term in plain):
        raise PatternError(f"the pattern '{pattern}' selects no host")
    return tuple(selected)


def _terms(pattern: str, hosts: Sequence[str]) -> list[str]:
    if "," in pattern:
        terms = [part.strip() for part in pattern.split(",")]
    elif pattern in hosts or is_ipv6(pattern.strip("[]")):
        terms = [pattern.strip("[]")]
    else:
        terms = _TERM.findall(pattern)
        if ":".join(terms) != pattern:  # an open bracket or an empty part
            hint = "part names by ','" if len(pattern.split()) > 1 else ""
            raise PatternError(f"'{pattern}' is not a host pattern", hint)
    terms = [term for term in terms if term.strip("&!")]
    if not terms:
        raise PatternError(f"'{pattern}' is not a host pattern")
    return terms


def _united(terms: Sequence[str], hosts: Sequence[str], groups: Mapping[str, tuple[str, ...]]) -> list[str]:
    found: dict[str, None] = {}
    for term in terms:
        found |= dict.fromkeys(_enumerate(term, hosts, groups))
    return list(found)


def _enumerate(term: str, hosts: Sequence[str], groups: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    if term.startswith("~"):
        return _named(term, hosts, groups)
    subscript = _SUBSCRIPT.fullmatch(term)
    if subscript is None:
        return _named(term, hosts, groups)
    found = _named(subscript[1], hosts, groups)
    if subscript[2] is not None:
        index = int(subscript[2])
        chosen = found[index : index + 1 or None] if -len(found) <= index < len(found) else ()
    else:
        end = int(subscript[4]) if subscript[4] else len(found)
        chosen = found[int(subscript[3]) : end + 1]
    if not chosen and found:
        raise PatternError(f"'{term}' selects no host: '{subscript[1]}' has {len(found)}")
    return chosen


def _named(term: str, hosts: Sequence[str], groups: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Groups go first; hosts are tried when no group has the name, or when the term is a glob."""
    expression = _compiled(term)
    in_groups = [name for name in groups if expression.match(name)]
    if not in_groups and canonical(term) in groups:
        in_groups = [canonical(term)]
    found: dict[str, None] = {}
    for name in in_groups:
        found |= dict.fromkeys(groups[name])
    named = [host for host in hosts if expression.match(host)]
    if not in_groups or term.startswith("~") or any(letter in term for letter in ".?*["):
        found |= dict.fromkeys(named)
    if not found and not in_groups and canonical(term) not in ROLES:
        raise PatternError(f"no host or group is named '{term}'", _hint(term, [*groups, *hosts, *ROLES]))
    return tuple(found)


def _hint(term: str, known: Sequence[str]) -> str:
    near = nearest(term, known)
    if near:
        return f"did you mean '{near}'?"
    return "beside ',' a ':' parts nothing; use only one of them" if ":" in term else ""


def _compiled(term: str) -> re.Pattern[str]:
    try:
        return re.compile(term[1:] if term.startswith("~") else fnmatch.translate(term))
    except re.error as error:
        raise PatternError(f"'{term}' is not a regular expression: {error}") from None
