"""Desired and actual → Plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from provisioner.engine.diff import diff_all
from provisioner.engine.plan import Desired, Plan, StagePlan
from provisioner.engine.read import Sessions, read_controller, read_host, run_probe
from provisioner.errors import ProvisionError
from provisioner.remote.session import Session
from provisioner.resources.model import AnyKind, Change, Resource, Section, Showing, State


class Planner:
    """Reads every host once and compares. `kinds` by resource kind."""

    def __init__(self, sessions: Sessions, kinds: Mapping[str, AnyKind]) -> None:
        self._sessions = sessions
        self._kinds = kinds

    def plan(self, desired: Sequence[Desired], *, inventory: str, inputs: str, texts: bool = True) -> Plan:
        """The plan. Raises UnreachableError and ProvisionError of the first host that cannot be read."""
        wanted = _per_host(desired)
        check_unambiguous(desired)
        states = self._read(wanted)
        stages = self._stages(desired, states)
        plan = Plan(inventory, inputs, stages, sum(len(each) for each in wanted.values()))
        if not texts or not plan.count:
            return plan
        return replace(plan, texts=self._texts(plan))

    def _read(self, wanted: Mapping[str, Sequence[Resource]]) -> dict[str, dict[str, State]]:
        with ThreadPoolExecutor(max_workers=min(64, len(wanted) + 1)) as threads:
            every = [resource for resources in wanted.values() for resource in resources]
            ours = threads.submit(read_controller, every, self._kinds)
            futures = {
                host: threads.submit(
                    lambda h, r: read_host(self._sessions.session(h), r, self._kinds), host, each
                )
                for host, each in wanted.items()
            }
            return {host: {**future.result(), **ours.result()} for host, future in futures.items()}

    def _stages(
        self, desired: Sequence[Desired], states: Mapping[str, Mapping[str, State]]
    ) -> tuple[StagePlan, ...]:
        planned: dict[str, list[Change]] = {}
        stages = []
        for stage in desired:
            changes: dict[str, tuple[Change, ...]] = {}
            for host, resources in stage.hosts.items():
                before = planned.setdefault(host, [])
                found = diff_all(resources, states[host], self._kinds, before)
                before.extend(found)
                if found:
                    changes[host] = tuple(found)
            own = (stage.serial, stage.gate, stage.always, stage.barrier, stage.needs)
            stages.append(StagePlan(stage.name, tuple(stage.hosts), changes, *own))
        return tuple(stages)

    def _texts(self, plan: Plan) -> dict[tuple[str, str], tuple[Section, ...]]:
        shown: dict[str, dict[str, list[Change]]] = {}
        texts: dict[tuple[str, str], tuple[Section, ...]] = {}
        for _, host, change in plan.changes():
            if change.action == "create" and change.resource.text is not None:
                texts[host, change.resource.id] = (Section("", "", change.resource.text),)
            elif isinstance(self._kinds[change.resource.kind], Showing) and change.resource.text is not None:
                shown.setdefault(host, {}).setdefault(change.resource.kind, []).append(change)
        with ThreadPoolExecutor(max_workers=64) as threads:
            sets = threads.map(lambda item: self._host_texts(*item), shown.items())
        for found in sets:
            texts |= found
        return texts

    def _host_texts(
        self, host: str, kinds: Mapping[str, Sequence[Change]]
    ) -> dict[tuple[str, str], tuple[Section, ...]]:
        session: Session = self._sessions.session(host)
        texts: dict[tuple[str, str], tuple[Section, ...]] = {}
        for name, changes in kinds.items():
            kind = self._kinds[name]
            if isinstance(kind, Showing):
                output = run_probe(session, kind.show(changes))
                texts |= {(host, rid): parts for rid, parts in kind.parse_shown(output, changes).items()}
        return texts


def _per_host(desired: Sequence[Desired]) -> dict[str, list[Resource]]:
    wanted: dict[str, list[Resource]] = {}
    for stage in desired:
        for host, resources in stage.hosts.items():
            wanted.setdefault(host, []).extend(resources)
    return wanted


def check_unambiguous(desired: Sequence[Desired]) -> None:
    """Two stages that want one thing differently would change it back and forth. Raises ProvisionError."""
    seen: dict[tuple[str, str], tuple[str, Resource]] = {}
    for stage in desired:
        for host, resources in stage.hosts.items():
            for resource in resources:
                other = seen.setdefault((host, resource.id), (stage.name, resource))
                if other[1].desired != resource.desired:
                    raise ProvisionError(
                        f"{host}: the stages '{other[0]}' and '{stage.name}' want {resource.id} differently"
                    )
