"""What the spec says of the plug-in's own pods, as edits of its manifest: tolerations, resources and probes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.inventory.words import hint_for
from provisioner.kube.objects import object_key
from provisioner.network.patches import Edit, Path
from provisioner.spec.model import ClusterSpec, Taint
from provisioner.spec.networkpods import PROBES, TIMES, ContainerPart, NetworkPods
from provisioner.spec.quantities import amount, part_of
from provisioner.spec.values import RefusedError

_POD: Path = ("spec", "template", "spec")
_KINDS = ("DaemonSet", "Deployment")
_WHY = "network.pods of the spec"
Object = dict[str, Any]


@dataclass(frozen=True)
class PodMisfit:
    """What no pod of the manifest can have, at `path` below network.pods; `key`: its name is meant, not its value."""

    path: tuple[str, ...]
    reason: str
    hint: str
    key: bool = False


def pod_misfits(pods: NetworkPods, upstream: Sequence[Object]) -> Iterator[PodMisfit]:
    """Containers and probes that the manifest has not, and amounts that an API server refuses beside its own."""
    places = list(_containers(_workloads(upstream)).values())
    for name, part in pods.containers.items():
        at, found = ("containers", name), [each for each in places if each["name"] == name]
        if not found:
            hint = hint_for(name, {str(each["name"]) for each in places})
            yield PodMisfit(at, f"containers: the manifest has no container {name}", hint, key=True)
        for container in found:
            yield from _probeless(at, container, part, places)
            yield from _beyond_limits(at, container, part)


def pod_edits(spec: ClusterSpec, upstream: Sequence[Object]) -> Iterator[Edit]:
    """Raises ProvisionError for what no pod of the manifest can have."""
    pods, workloads = spec.network.pods, _workloads(upstream)
    for each in pod_misfits(pods, upstream):
        raise ProvisionError(f"network.pods: {each.reason}", each.hint)
    for target, workload in workloads.items():
        yield from _tolerating(target, workload, pods.tolerations)
    for (target, path), container in _containers(workloads).items():
        part = pods.containers.get(container["name"])
        if part is not None:
            yield from _settings(target, path, container, part)


def _workloads(upstream: Sequence[Object]) -> dict[str, Object]:
    return {object_key(each): each for each in upstream if each["kind"] in _KINDS}


def _probeless(
    at: tuple[str, ...], container: Object, part: ContainerPart, every: Sequence[Object]
) -> Iterator[PodMisfit]:
    for key, said in (("liveness", part.liveness), ("readiness", part.readiness)):
        if not said or container.get(PROBES[key]):
            continue
        own = [other for other in PROBES if container.get(PROBES[other])]
        others = sorted({str(each["name"]) for each in every if each.get(PROBES[key])})
        hint = f"it has a {own[0]} probe" if own else "leave it out"
        hint += f"; one of {key} has {', '.join(others)}" if others else ""
        yield PodMisfit(
            (*at, key), f"{key}: {container['name']} has no such probe in the manifest", hint, key=True
        )


def _beyond_limits(at: tuple[str, ...], container: Object, part: ContainerPart) -> Iterator[PodMisfit]:
    """One is of the spec, the other of the manifest; where both are of the spec, that is told when it is read."""
    has, name = container.get("resources") or {}, container["name"]
    for kind, most in part.limits.items():
        asked = str((has.get("requests") or {}).get(kind, ""))
        if kind not in part.requests and _exceeds(asked, most):
            reason = f"{kind}: {name} asks for {asked} in the manifest, and may have {most} at most here"
            hint = f"at least {asked}, or requests: {{{kind}: {most}}} beside it"
            yield PodMisfit((*at, "limits", kind), reason, hint)
    for kind, asked in part.requests.items():
        most = str((has.get("limits") or {}).get(kind, ""))
        if kind not in part.limits and _exceeds(asked, most):
            reason = f"{kind}: {name} asks for {asked} here, and may have {most} at most in the manifest"
            hint = f"at most {most}, or limits: {{{kind}: {asked}}} beside it"
            yield PodMisfit((*at, "requests", kind), reason, hint)


def _exceeds(asked: str, most: str) -> bool:
    """Not so where one of them is none, or is written as only a program would ("1e3")."""
    try:
        amount(asked)
        amount(most)
    except RefusedError:
        return False
    return part_of(asked, Decimal(1)) > part_of(most, Decimal(1))


def _tolerating(target: str, workload: Object, taints: Sequence[Taint]) -> Iterator[Edit]:
    """One list, because there may be none."""
    has = list(workload["spec"]["template"]["spec"].get("tolerations") or [])
    more = [each for each in map(_toleration, taints) if each not in has]
    if more:
        yield Edit(target, (*_POD, "tolerations"), [*has, *more], _WHY, new=True)


def _toleration(taint: Taint) -> Object:
    how = {"operator": "Equal", "value": taint.value} if taint.value else {"operator": "Exists"}
    return {"key": taint.key, **how, "effect": taint.effect}


def _containers(workloads: Mapping[str, Object]) -> dict[tuple[str, Path], Object]:
    """By workload, and path in it."""
    return {
        (target, (*_POD, group, index)): container
        for target, each in workloads.items()
        for group in ("initContainers", "containers")
        for index, container in enumerate(each["spec"]["template"]["spec"].get(group) or [])
    }


def _settings(target: str, path: Path, container: Object, part: ContainerPart) -> Iterator[Edit]:
    has = container.get("resources") or {}
    amounts = {"requests": part.requests, "limits": part.limits}
    made = {key: {**(has.get(key) or {}), **more} for key, more in amounts.items() if more}
    if made:
        yield Edit(target, (*path, "resources"), {**has, **made}, _WHY, new=True)
    for key, times in (("liveness", part.liveness), ("readiness", part.readiness)):
        for name, value in times.items():
            yield Edit(target, (*path, PROBES[key], TIMES[name]), value, _WHY, new=True)
