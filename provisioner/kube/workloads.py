"""The pods of a cluster, who makes them, and whether they have an address of the network that they are to have."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from provisioner.kube.kubectl import KUBECTL, rows
from provisioner.kube.marks import ask
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote

MARK = "provision.dev/network"
"""An annotation of pod templates: the migration that has had their pods made anew."""

Home = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]
_LIVE = ("Pending", "Running", "Unknown")
_ROLLED = {"Deployment": "RollingUpdate", "StatefulSet": "RollingUpdate", "DaemonSet": "RollingUpdate"}
_FIELDS = {
    "pod": (
        ".metadata.namespace", ".metadata.name", ".spec.nodeName", ".spec.hostNetwork", ".status.podIPs[*].ip",
        ".status.phase", ".metadata.deletionTimestamp", ".metadata.ownerReferences[?(@.controller==true)].kind",
        ".metadata.ownerReferences[?(@.controller==true)].name",
        r".metadata.annotations.kubernetes\.io/config\.mirror", ".metadata.uid",
    ),
    "set": (
        ".metadata.namespace", ".metadata.name", ".metadata.ownerReferences[?(@.controller==true)].kind",
        ".metadata.ownerReferences[?(@.controller==true)].name",
    ),
    "workload": (
        ".kind", ".metadata.namespace", ".metadata.name", ".spec.strategy.type", ".spec.updateStrategy.type",
        ".spec.paused", ".spec.updateStrategy.rollingUpdate.partition",
        r".spec.template.metadata.annotations.provision\.dev/network", ".spec.replicas", ".status.readyReplicas",
        ".status.desiredNumberScheduled", ".status.numberReady",
    ),
    "node": (".metadata.name", ".spec.podCIDRs[*]", ".spec.unschedulable"),
}  # fmt: skip
_ASKED = {
    "pod": "pods -A",
    "set": "replicasets.apps -A",
    "workload": "deployments.apps,statefulsets.apps,daemonsets.apps -A",
    "node": "nodes",
}


@dataclass(frozen=True)
class Pod:
    """`owner` is who makes it anew, None where nobody does; `ending`: it has been deleted and is still there."""

    namespace: str
    name: str
    node: str
    addresses: tuple[str, ...]
    owner: tuple[str, str] | None
    ending: bool = False
    uid: str = ""


@dataclass(frozen=True)
class Workload:
    """What makes pods anew, `pods` of them. `rolls`: by itself, as soon as its template changes; `mark` is the
    migration that has had them made anew last. `well`: all its pods are Ready; of one that is not a rollout may never
    end."""

    kind: str
    namespace: str
    name: str
    rolls: bool
    mark: str = ""
    pods: int = 0
    well: bool = True

    def may_roll(self, mark: str) -> bool:
        """Its pods are made anew by a rollout; of the migration `mark`, which may have begun it. All others' pods are
        evicted."""
        return self.rolls and (self.well or self.mark == mark)

    @property
    def place(self) -> str:
        """ "deployment NAMESPACE/NAME"."""
        return f"{self.kind.lower()} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Reading:
    """`pods` that have a network of their own and have not ended; `static` are those of them that a kubelet makes by a
    file of its node's, and which are not in `pods`; `homes`: nodes' pod CIDRs."""

    pods: tuple[Pod, ...] = ()
    workloads: Mapping[tuple[str, str, str], Workload] = field(default_factory=dict)
    makers: Mapping[tuple[str, str], tuple[str, str] | None] = field(default_factory=dict)
    homes: Mapping[str, Home] = field(default_factory=dict)
    static: tuple[Pod, ...] = ()

    def maker(self, pod: Pod) -> Workload | None:
        """The workload whose pod it is, a Deployment and not its ReplicaSet; None for all others."""
        owner = pod.owner
        if owner is not None and owner[0] == "ReplicaSet":
            owner = self.makers.get((pod.namespace, owner[1])) or owner
        return self.workloads.get((owner[0], pod.namespace, owner[1])) if owner else None

    def outside(self, homes: Mapping[str, Home] | Home) -> list[Pod]:
        """Pods with an address that is in none of `homes`, by node or of all."""
        return [pod for pod in self.pods if pod.addresses and not _inside(pod, homes)]


def _inside(pod: Pod, homes: Mapping[str, Home] | Home) -> bool:
    networks = homes.get(pod.node, ()) if isinstance(homes, Mapping) else homes
    return all(
        any(address in each for each in networks) for address in map(ipaddress.ip_address, pod.addresses)
    )


def read_workloads(runner: Runner) -> Reading:
    """Raises ProvisionError when the API server does not answer."""
    return parse_workloads(
        ask(runner, "set -e\n" + "".join(map(_question, _FIELDS))).decode(errors="replace")
    )


def parse_workloads(text: str) -> Reading:
    rows: dict[str, list[list[str]]] = {word: [] for word in _FIELDS}
    for line in text.splitlines():
        word, *columns = line.split("\t")
        if word in rows and len(columns) == len(_FIELDS[word]):
            rows[word].append(columns)
    workloads = [_workload(row) for row in rows["workload"]]
    return Reading(
        tuple(_pods(rows["pod"], static=False)),
        {(each.kind, each.namespace, each.name): each for each in workloads},
        {(row[0], row[1]): (row[2], row[3]) if row[2] else None for row in rows["set"]},
        {row[0]: [ipaddress.ip_network(each) for each in row[1].split()] for row in rows["node"]},
        tuple(_pods(rows["pod"], static=True)),
    )


def _question(word: str) -> str:
    return f"{KUBECTL} get {_ASKED[word]} -o jsonpath={quote(rows(_FIELDS[word], word))}\n"


def _pods(rows: Iterable[Sequence[str]], *, static: bool) -> Iterable[Pod]:
    for namespace, name, node, host, addresses, phase, deleted, kind, owner, mirror, uid in rows:
        if host != "true" and bool(mirror) is static and phase in _LIVE:
            made = (kind, owner) if kind else None
            yield Pod(namespace, name, node, tuple(addresses.split()), made, bool(deleted), uid)


def _workload(row: Sequence[str]) -> Workload:
    kind, namespace, name, strategy, update, paused, partition, mark, *counts = row
    rolls = (strategy or update) == _ROLLED[kind] and paused != "true" and partition in ("", "0")
    replicas, ready, desired, number = (int(each) if each.isdigit() else 0 for each in counts)
    pods = desired if kind == "DaemonSet" else replicas
    well = (number if kind == "DaemonSet" else ready) >= pods
    return Workload(kind, namespace, name, rolls, mark, pods, well)
