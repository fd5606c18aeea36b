"""Facts in a file: what hosts are like, for a rendering that reaches none.

JSON as it is written; read as YAML, of which it is a part, for the places of what is wrong in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.inventory.documents import Document, read_document
from provisioner.inventory.spelling import kind_of, said
from provisioner.inventory.words import hint_for, nearest
from provisioner.playbook.facts import Facts
from provisioner.playbook.factsread import ARCHITECTURES

_OF_THE_CLUSTER = (
    "state",
    "network_record",
    "owned",
    "mark",
    "last_change",
    "kubelet_certificate",
    "existing",
)
"""Not written: keys do not belong into such a file, and without them the rest would stand for keys that were lost."""
_OF_THE_MOMENT = ("claimed", "iptables", "macs", "masters", "strict_links", "towards", "virtual")
"""Not written: they decide whether a run may begin, and what is advised, not what is rendered."""
_FIELDS = {each.name: each for each in fields(Facts) if each.name not in (*_OF_THE_CLUSTER, *_OF_THE_MOMENT)}
_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "a text"),
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "tuple[str, ...]": ((list,), "a list of texts"),
    "Mapping[str, tuple[str, ...]]": ((dict,), "a mapping of lists of texts"),
    "Mapping[str, int]": ((dict,), "a mapping of whole numbers"),
    "Mapping[str, str]": ((dict,), "a mapping of texts"),
}


def write_facts(path: Path, facts: Mapping[str, Facts]) -> None:
    """Writes the facts by host. Raises ProvisionError."""
    plain = {host: {name: getattr(each, name) for name in _FIELDS} for host, each in facts.items()}
    try:
        path.write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as fault:
        raise ProvisionError(f"the facts cannot be written to {path}: {fault.strerror}") from None


def read_facts(path: Path, hosts: Iterable[str]) -> dict[str, Facts]:
    """The facts of `hosts`; the file may have others. Raises InputError with every fault."""
    document = read_document(path)
    if not isinstance(document.data, dict):
        reason = f"facts are a mapping of hosts, this is {kind_of(document.data)}"
        raise InputError([document.problem((), reason, "`provision render --save-facts FILE` writes them")])
    wanted = list(hosts)
    problems = list(_missing(document, wanted))
    for host in wanted:
        if host in document.data:
            problems += _faults(document, host)
    if problems:
        raise InputError(problems)
    return {host: _facts(document.data[host]) for host in wanted}


def _missing(document: Document, hosts: list[str]) -> Iterator[Problem]:
    spare = [name for name in document.data if isinstance(name, str) and name not in hosts]
    for host in hosts:
        if host in document.data:
            continue
        near = nearest(host, spare)
        if near:
            yield document.problem((near,), f"'{near}' is no host here", f"did you mean '{host}'?", key=True)
        else:
            hint = "`provision render --save-facts FILE` writes those of all hosts"
            yield document.problem((), f"there are no facts of {host}", hint)


def _faults(document: Document, host: str) -> Iterator[Problem]:
    data = document.data[host]
    if not isinstance(data, dict):
        yield document.problem((host,), f"the facts of {host} must be a mapping, this is {kind_of(data)}")
        return
    for name in data:
        if name not in _FIELDS:
            hint = hint_for(name, _FIELDS)
            yield document.problem((host, name), f"{host}: there is no fact '{name}'", hint, key=True)
    meant = {nearest(name, _FIELDS) for name in data if isinstance(name, str) and name not in _FIELDS}
    for name, field in _FIELDS.items():
        needed = field.default is MISSING and field.default_factory is MISSING
        if name not in data and needed and name not in meant:
            yield document.problem((host,), f"{host}: the fact '{name}' is missing", key=True)
        elif name in data and not _fits(str(field.type), data[name]):
            must = _KINDS[str(field.type)][1]
            reason = f"{host}: '{name}' must be {must}, this is {kind_of(data[name])}"
            yield document.problem((host, name), reason)
        elif name == "architecture" and data.get(name, "amd64") not in ARCHITECTURES:
            reason = f"{host}: there is no architecture {said(data[name])}"
            yield document.problem((host, name), reason, hint_for(data[name], ARCHITECTURES))


def _fits(kind: str, value: Any) -> bool:
    if not isinstance(value, _KINDS[kind][0]) or (isinstance(value, bool) and kind != "bool"):
        return False
    if isinstance(value, dict):
        inner = kind.removeprefix("Mapping[str, ").removesuffix("]")
        return all(isinstance(key, str) and _fits(inner, each) for key, each in value.items())
    return not isinstance(value, list) or all(isinstance(each, str) for each in value)


def _facts(data: Mapping[str, Any]) -> Facts:
    return Facts(**{name: _frozen(value) for name, value in data.items()})


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _frozen(each) for name, each in value.items()}
    return tuple(value) if isinstance(value, list) else value
