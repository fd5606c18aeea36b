"""What the spec says of the plug-in's own pods, as edits of its manifest: tolerations, resources and probes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.inventory.words import hint_for
from provisioner.kube.objects import object_key
from provisioner.network.patches import Edit, Path
from provisioner.spec.model import ClusterSpec, Taint
from provisioner.spec.networkpods import PROBES, TIMES, ContainerPart

_POD: Path = ("spec", "template", "spec")
_KINDS = ("DaemonSet", "Deployment")
_WHY = "network.pods of the spec"
Object = dict[str, Any]


def pod_edits(spec: ClusterSpec, upstream: Sequence[Object]) -> Iterator[Edit]:
    """Raises ProvisionError for a container, or a probe, that no pod of the manifest has."""
    pods = spec.network.pods
    workloads = {object_key(each): each for each in upstream if each["kind"] in _KINDS}
    for target, each in workloads.items():
        yield from _tolerating(target, each, pods.tolerations)
    places = dict(_containers(workloads))
    for name, part in pods.containers.items():
        found = [(at, container) for at, container in places.items() if container["name"] == name]
        if not found:
            names = {str(container["name"]) for container in places.values()}
            reason = f"network.pods.containers: the manifest has no container {name}"
            raise ProvisionError(reason, hint_for(name, names))
        for (target, path), container in found:
            yield from _settings(target, path, container, part)


def _tolerating(target: str, workload: Object, taints: Sequence[Taint]) -> Iterator[Edit]:
    """One list, because there may be none."""
    has = list(workload["spec"]["template"]["spec"].get("tolerations") or [])
    more = [each for each in map(_toleration, taints) if each not in has]
    if more:
        yield Edit(target, (*_POD, "tolerations"), [*has, *more], _WHY, new=True)


def _toleration(taint: Taint) -> Object:
    how = {"operator": "Equal", "value": taint.value} if taint.value else {"operator": "Exists"}
    return {"key": taint.key, **how, "effect": taint.effect}


def _containers(workloads: Mapping[str, Object]) -> Iterator[tuple[tuple[str, Path], Object]]:
    for target, each in workloads.items():
        pod = each["spec"]["template"]["spec"]
        for group in ("initContainers", "containers"):
            for index, container in enumerate(pod.get(group) or []):
                yield (target, (*_POD, group, index)), container


def _settings(target: str, path: Path, container: Object, part: ContainerPart) -> Iterator[Edit]:
    has = container.get("resources") or {}
    amounts = {"requests": part.requests, "limits": part.limits}
    made = {key: {**(has.get(key) or {}), **more} for key, more in amounts.items() if more}
    if made:
        yield Edit(target, (*path, "resources"), {**has, **made}, _WHY, new=True)
    for key, times in (("liveness", part.liveness), ("readiness", part.readiness)):
        for name, value in times.items():
            yield Edit(target, (*path, PROBES[key], TIMES[name]), value, _WHY, new=True)
