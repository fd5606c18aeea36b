"""The traffic gate: pods and hosts of every node reach pods, services, node ports and the cluster's DNS.

Two pods of agnhost a node, all taints tolerated: one asks, one answers. They are removed again; what a killed run left
is removed first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.errors import ProvisionError, UnreachableError
from provisioner.kube.asking import Asker, Broken, Target, Wishes, judge, questions
from provisioner.kube.check_objects import NAMESPACE, NODE_PORT, PORT, cluster_ip
from provisioner.kube.check_pods import CheckPods
from provisioner.kube.podwait import Present, nobody
from provisioner.resources.model import Answer, Runner
from provisioner.shell.script import Script

Everywhere = Callable[[Mapping[str, Script]], Mapping[str, Answer | Exception]]
"""Runs each host's script there, all at once: what it answered, or what it or connecting raised."""


_ID = re.compile(r"[0-9a-f]+")
"""Of a container, as containerd gives it. It is read from what a kubelet says."""


@dataclass(frozen=True)
class Pod:
    """`role` as in check_objects.ROLES; `addresses` one for each IP family; the id of its `container`."""

    name: str
    node: str
    role: str
    addresses: tuple[str, ...]
    container: str


@dataclass(frozen=True)
class TrafficCheck:
    """What is checked: `image` of agnhost, the nodes' addresses by name, the cluster's DNS domain; by which `name`."""

    image: str
    nodes: Mapping[str, str]
    domain: str
    name: str
    touched: Collection[str] = ()
    """The nodes that this run is about, of `nodes`, the rest of which are there to talk with them: a connection between
    two of the others is not asked for, and further nodes are left alone. Empty: all."""
    hosts: Collection[str] = ()
    """The nodes whose hosts ask, too: those that this run is connected with."""
    joined: bool = False
    """Whether some nodes have joined in this run."""
    at_once: int = 0
    """On how many nodes its pods start, and end, at the same time. 0: on all."""

    @property
    def pods(self) -> CheckPods:
        """The objects that it makes, and takes away."""
        return CheckPods(self.name, self.image, self._parts(), self.joined)

    def _parts(self) -> Sequence[Sequence[str]]:
        nodes = list(self.nodes)
        if not self.at_once:
            return [nodes if self.touched else ()]
        return [nodes[first : first + self.at_once] for first in range(0, len(nodes), self.at_once)]

    def __call__(self, runner: Runner, everywhere: Everywhere, present: Present = nobody) -> str:
        """How many connections work, in words. `runner` is a control plane's; `present` is called while pods are
        waited for.

        Raises ProvisionError with every pair that does not talk, and when something of the check itself could not be
        removed; and UnreachableError for a host that is lost meanwhile.
        """
        try:
            said = self._prove(runner, everywhere, present)
        except ProvisionError as fault:
            raise _joined(fault, self._left(runner)) from None
        except BaseException:  # interrupted: what was made still goes
            self._left(runner)
            raise
        left = self._left(runner)
        if left is not None:
            raise left
        return said

    def _prove(self, runner: Runner, everywhere: Everywhere, present: Present) -> str:
        items = self.pods.set_up(runner, list(self.nodes), present)
        services = {item["metadata"]["name"]: item["spec"] for item in items if item["kind"] == "Service"}
        every = [_pod(item) for item in items if item["kind"] == "Pod"]
        wishes = self._wishes([pod for pod in every if pod.node in self.nodes], services)
        broken = judge(wishes, _answered(everywhere(questions(wishes, runner.host))))
        if broken:
            raise _failure(broken)
        count = sum(len(targets) for targets in wishes.values())
        said = f"{count} connections between {len(self.nodes)} nodes: pods, services, node ports, DNS"
        return said + _strangers({pod.node for pod in every} - set(self.nodes))

    def _left(self, runner: Runner) -> ProvisionError | None:
        """Removes what was made; what came in the way of that."""
        try:
            self.pods.remove(runner)
        except ProvisionError as fault:
            return fault
        return None

    def _wishes(self, pods: Sequence[Pod], services: Mapping[str, Any]) -> Wishes:
        wishes: dict[Asker, list[Target]] = {}
        for pod in pods:
            if pod.role == "asker":
                wishes[Asker(pod.node, pod.name)] = self._of_pod(pod, pods, services)
                if pod.node in self.hosts:
                    if not _ID.fullmatch(pod.container):
                        raise ProvisionError(f"{pod.node}: the pod {pod.name} has no container")
                    wishes[Asker(pod.node, pod.name, pod.container)] = self._of_host(pod.node, services)
        return wishes

    def _of_pod(self, pod: Pod, pods: Sequence[Pod], services: Mapping[str, Any]) -> list[Target]:
        answerers = (each for each in pods if each.role == "answerer")
        direct = [
            Target(
                "same-node" if each.node == pod.node else "other-node", _endpoint(address, PORT), each.node
            )
            for each in answerers
            for address in each.addresses
        ]
        name = f"{cluster_ip(self.name)}.{NAMESPACE}.svc.{self.domain}:80"
        return [
            *self._about(pod.node, direct),
            *self._of_host(pod.node, services),
            Target("dns", name),
        ]

    def _of_host(self, node: str, services: Mapping[str, Any]) -> list[Target]:
        """What a host reaches, and its pods as well: the other nodes' ports, and a service."""
        port = int(services[NODE_PORT]["ports"][0]["nodePort"])
        others = {name: address for name, address in self.nodes.items() if name != node} or self.nodes
        ports = [Target("node-port", _endpoint(address, port), name) for name, address in others.items()]
        service = Target("service", _endpoint(services[cluster_ip(self.name)]["clusterIP"], 80))
        return [*self._about(node, ports), service]

    def _about(self, node: str, targets: Sequence[Target]) -> list[Target]:
        if not self.touched or node in self.touched:
            return list(targets)
        return [each for each in targets if each.node in self.touched]


def _answered(answers: Mapping[str, Answer | Exception]) -> list[Answer]:
    """Raises what some host raised instead of an answer; that one is lost comes first, as others fail because of it."""
    faults = [each for each in answers.values() if isinstance(each, Exception)]
    for fault in sorted(faults, key=lambda each: not isinstance(each, UnreachableError)):
        raise fault
    return [each for each in answers.values() if not isinstance(each, Exception)]


def _strangers(names: Iterable[str]) -> str:
    """The nodes that the inventory does not name: every node has the check's pods, so no other question is needed."""
    found = ", ".join(sorted(names))
    return f"; not in the inventory: {found}" if found else ""


def _pod(item: Mapping[str, Any]) -> Pod:
    """Ids are told as "containerd://ID" (core/v1, ContainerStatus)."""
    status = item["status"]
    return Pod(
        name=item["metadata"]["name"],
        node=item["spec"]["nodeName"],
        role=item["metadata"]["labels"]["role"],
        addresses=tuple(each["ip"] for each in status["podIPs"]),
        container=status["containerStatuses"][0]["containerID"].rpartition("/")[2],
    )


def _joined(fault: ProvisionError, left: ProvisionError | None) -> ProvisionError:
    """Why the check failed and, behind it, what it could not remove."""
    if left is None or left.reason == fault.reason:
        return fault
    return type(fault)(f"{fault.reason}\n{left.reason}", "; ".join(filter(None, (fault.hint, left.hint))))


def _failure(broken: Sequence[Broken]) -> ProvisionError:
    lines = []
    for each in broken[:20]:
        source = f"{each.asker.node} ({each.asker.place})"
        place = f" on {each.target.node}" if each.target.node else ""
        lines.append(f"  {source} → {each.target.kind} {each.target.address}{place}: {each.said}")
    if len(broken) > 20:
        lines.append(f"  and {len(broken) - 20} more")
    return ProvisionError(
        f"{len(broken)} connections do not work:\n" + "\n".join(lines),
        "the cluster is up but its network is not: look at the network plug-in's pods and the hosts' firewalls",
    )


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
