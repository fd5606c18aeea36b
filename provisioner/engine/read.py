"""Reads the state of all wanted things: one probe script a host, and the controller's own kinds beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from provisioner.errors import ProvisionError
from provisioner.remote.causes import cause_of
from provisioner.remote.session import Session
from provisioner.resources.model import AnyKind, ControllerKind, HostKind, Resource, State, Unknown
from provisioner.shell.assemble import ProbeAnswer, parse_probes, probe_script
from provisioner.shell.script import Script


class Sessions(Protocol):
    """What the engine needs of a pool of sessions."""

    def session(self, host: str) -> Session: ...


Group = tuple[HostKind, tuple[Resource, ...]]


def by_kind(resources: Iterable[Resource], kinds: Mapping[str, AnyKind]) -> list[Group]:
    """Resources that live on the host, by kind, each id once."""
    groups: dict[str, dict[str, Resource]] = {}
    for resource in resources:
        if isinstance(kinds[resource.kind], HostKind):
            groups.setdefault(resource.kind, {})[resource.id] = resource
    pairs = ((kinds[name], tuple(group.values())) for name, group in groups.items())
    return [(kind, group) for kind, group in pairs if isinstance(kind, HostKind)]


def read_host(
    session: Session, resources: Sequence[Resource], kinds: Mapping[str, AnyKind]
) -> dict[str, State]:
    """States by resource id of one host. Raises UnreachableError, ProvisionError when the probe itself failed."""
    groups = by_kind(resources, kinds)
    if not groups:
        return {}
    script = probe_script([kind.probe(group) for kind, group in groups])
    result = session.run(script, deadline=120, what="the reading of its state")
    answers = answered(session.host, result.stdout, result.stderr, len(groups))
    return parsed(groups, answers)


def answered(host: str, stdout: bytes, stderr: bytes, count: int) -> Mapping[int, ProbeAnswer]:
    """The answers of all `count` probes of a script. Raises ProvisionError when the script was cut off."""
    answers = parse_probes(stdout)
    if len(answers) < count:
        last = stderr.decode(errors="replace").strip()[-400:]
        cause, hint = cause_of(last, host)
        words = f"{cause}; its last words: {last}" if cause else last or "it said nothing"
        raise ProvisionError(f"{host}: the probe ended after {len(answers)} of {count} parts: {words}", hint)
    return answers


def parsed(groups: Sequence[Group], answers: Mapping[int, ProbeAnswer]) -> dict[str, State]:
    """States from the answers; a part that failed gives Unknown for its resources."""
    states: dict[str, State] = {}
    for index, (kind, group) in enumerate(groups):
        answer = answers[index]
        if answer.status != 0:
            lines = answer.stderr.decode(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else f"exit status {answer.status}"
            states |= {each.id: Unknown(reason) for each in group}
        else:
            states |= kind.parse(answer.stdout, group)
    return states


def read_controller(resources: Iterable[Resource], kinds: Mapping[str, AnyKind]) -> dict[str, State]:
    """States of the kinds that the controller reads itself."""
    groups: dict[str, dict[str, Resource]] = {}
    for resource in resources:
        if isinstance(kinds[resource.kind], ControllerKind):
            groups.setdefault(resource.kind, {})[resource.id] = resource
    states: dict[str, State] = {}
    for name, group in groups.items():
        kind = kinds[name]
        if isinstance(kind, ControllerKind):
            states |= kind.read(tuple(group.values()))
    return states


def run_probe(session: Session, fragment: Script) -> bytes:
    """The output of one fragment. Raises ProvisionError with its stderr when it fails."""
    result = session.run(probe_script([fragment]), deadline=60, what="the reading of its state")
    answer = answered(session.host, result.stdout, result.stderr, 1)[0]
    if answer.status != 0:
        raise ProvisionError(f"{session.host}: {answer.stderr.decode(errors='replace').strip()[-400:]}")
    return answer.stdout
