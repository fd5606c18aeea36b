"""The modules `calico_reflectors` and `calico_mesh`, for what Calico reads beside its manifests.

Everything comes in an order in which no node is ever without sessions: who is to reflect comes before who leaves, one
node after the other; the mesh goes after the first have come, and is back before the last leave. Between two steps all
sessions are awaited (docs, networking/configuring/bgp).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from provisioner.errors import ProvisionError
from provisioner.kube.bgpsessions import MESH, Reading, Speaker, parse, script
from provisioner.kube.gates import network_ready
from provisioner.kube.kubectl import KUBECTL, PROBING
from provisioner.kube.marks import ask
from provisioner.resources.model import Change, Plain, Present, Resource, Runner, State
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote
from provisioner.shell.script import Script
from provisioner.shell.worklock import locked

LABEL = "route-reflector"
"""Of nodes that are route reflectors; peers are chosen by it."""
_CLUSTER = "projectcalico.org/RouteReflectorClusterID"
"""The annotation in which Calico keeps a node's spec.bgp.routeReflectorClusterID where Kubernetes is its datastore
(libcalico-go, lib/backend/k8s/resources/node.go)."""
SESSION_SECONDS = 60
"""In which sessions are established once all agents run; one more for each node, which is asked in its turn."""
_RENDERED = 10.0
"""Seconds after which a node has surely read its new configuration. Mostly it says so before, but its clock counts in
whole seconds."""
PAUSE = 0.5
"""Seconds between two looks."""
_ARGUMENTS = {"nodes": list, "daemons": str, "operated": bool, "families": list}

_NODES = (
    r'{range .items[*]}{.metadata.name}{"\t"}{.metadata.labels.route-reflector}{"\t"}'
    r'{.metadata.annotations.projectcalico\.org/RouteReflectorClusterID}{"\n"}{end}'
)


class CalicoReflectorsKind:
    """Present, by node, with its cluster ID, or "" for one that reflects nothing."""

    name = "calico_reflectors"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({**_ARGUMENTS, "reflectors": list, "cluster_id": str}, {})
        chosen, cluster = set(map(str, task.args["reflectors"])), str(task.args["cluster_id"])
        nodes: dict[str, Plain] = {
            str(each): cluster if each in chosen else "" for each in task.args["nodes"]
        }
        return [Resource("calico_reflectors", "nodes", Present(nodes), {"agents": _Agents.of(task)})]

    def probe(self, resources: Sequence[Resource]) -> Script:
        del resources
        return Script(f"{PROBING}probing get nodes -o jsonpath={quote(_NODES)}\n")

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        found = Present(_reflecting(output.decode(errors="replace")))
        return {each.id: found for each in resources}

    def conduct(self, changes: Sequence[Change], runner: Runner) -> None:
        """Raises ProvisionError when sessions are not established in time; whoever has not had its turn is as it was
        then."""
        for change in changes:
            agents: _Agents = change.resource.spec["agents"]
            agents.await_ready(runner)
            reading, awaited = agents.read(runner), False
            for node, cluster, comes in _steps(change, reading):
                if not comes and not awaited:
                    reading = agents.await_sessions(runner)
                ask(runner, locked(_marked(node, cluster)) + "\n")
                reading, awaited = agents.await_sessions(runner, changed=node, before=reading), True


class CalicoMeshKind:
    """Present with {"mesh": whether every node has a session with every other}. It goes only while every node has
    others, and all are established; it has come back when its own are."""

    name = "calico_mesh"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({**_ARGUMENTS, "mesh": bool}, {})
        spec = {"agents": _Agents.of(task)}
        return [Resource("calico_mesh", "default", Present({"mesh": bool(task.args["mesh"])}), spec)]

    def probe(self, resources: Sequence[Resource]) -> Script:
        del resources
        said = "{.items[*].spec.nodeToNodeMeshEnabled}"
        return Script(f"{PROBING}probing get {MESH.partition(' ')[0]} -o jsonpath='{said}'\n")

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        found = Present({"mesh": output.strip() != b"false"})
        return {each.id: found for each in resources}

    def conduct(self, changes: Sequence[Change], runner: Runner) -> None:
        """Raises ProvisionError when sessions are not established in time; the mesh is as it was when it should have
        gone."""
        for change in changes:
            wanted, agents = change.resource.desired, change.resource.spec["agents"]
            mesh = isinstance(wanted, Present) and bool(wanted.attrs["mesh"])
            agents.await_ready(runner)
            if not mesh:
                agents.await_sessions(runner, without_mesh=True)
            patch = quote(json.dumps({"spec": {"nodeToNodeMeshEnabled": mesh}}))
            ask(runner, locked(f"{KUBECTL} patch {MESH} --type merge -p {patch} >/dev/null") + "\n")
            agents.await_sessions(runner)


@dataclass(frozen=True)
class _Agents:
    """Calico's on all `nodes`: pods of the DaemonSet `daemons` (its key), which an operator makes where they are
    `operated`; sessions of the IP `families`."""

    nodes: tuple[str, ...]
    daemons: str
    operated: bool
    families: tuple[str, ...]

    @classmethod
    def of(cls, task: TaskCall) -> _Agents:
        nodes, families = (tuple(map(str, task.args[each])) for each in ("nodes", "families"))
        return cls(nodes, str(task.args["daemons"]), bool(task.args["operated"]), families)

    @property
    def namespace(self) -> str:
        return self.daemons.partition(" ")[2].partition("/")[0]

    def await_ready(self, runner: Runner) -> None:
        """Until all run: pulling their images takes its own time, which is not that of sessions."""
        network_ready(runner, self.nodes, [self.daemons], operated=self.operated)

    def read(self, runner: Runner) -> Reading:
        return parse(ask(runner, script(self.namespace, self.families)).decode(errors="replace"))

    def await_sessions(
        self,
        runner: Runner,
        *,
        without_mesh: bool = False,
        changed: str = "",
        before: Reading | None = None,
    ) -> Reading:
        """Until two looks find all as it shall be. `changed` is a node that was another `before`: until it has read
        its configuration again, what it says is of the past. Raises ProvisionError with what is missing."""
        began, good = time.monotonic(), 0
        while good < 2:
            reading, took = self.read(runner), time.monotonic() - began
            left = reading.missing(self.nodes, without_mesh=without_mesh)
            old = before is not None and before.read_by(changed) == reading.read_by(changed)
            if not left and old and took < _RENDERED:
                left = [f"{changed}: has not read its new configuration"]
            good = 0 if left else good + 1
            if left and took > SESSION_SECONDS + len(self.nodes):
                raise ProvisionError(
                    "not all BGP sessions are established:\n" + "\n".join(left[:12]),
                    "does BGP's TCP port (179) pass between the nodes? see "
                    f"`kubectl -n {self.namespace} logs ds/calico-node`",
                )
            time.sleep(PAUSE)
        return reading


def _steps(change: Change, reading: Reading) -> Iterator[tuple[str, str, bool]]:
    """Each node that differs with its cluster ID, "" for none, and whether it begins to reflect: those come first, and
    those that end last."""
    wanted = change.resource.desired.attrs if isinstance(change.resource.desired, Present) else {}
    found = []
    for node, cluster in wanted.items():
        now = reading.speakers.get(node, Speaker(node, "", {}))
        if now.half or now.cluster != cluster:
            found.append((bool(now.cluster), not cluster, node, str(cluster)))
    for reflected, ends, node, cluster in sorted(found, key=lambda each: (each[1], each[0])):
        yield node, cluster, not (reflected or ends)


def _marked(node: str, cluster: str) -> str:
    """The command that makes a node reflect, or ends it. At once: Calico makes a new configuration of each change, and
    a node with the label alone would have two sessions with each other one."""
    marks = {"labels": {LABEL: "true" if cluster else None}, "annotations": {_CLUSTER: cluster or None}}
    return f"{KUBECTL} patch node {quote(node)} --type merge -p {quote(json.dumps({'metadata': marks}))} >/dev/null"


def _reflecting(text: str) -> dict[str, Plain]:
    """A node counts with both its label and its cluster ID."""
    rows = [line.split("\t") for line in text.splitlines() if line.count("\t") == 2]
    return {node: cluster if (label == "true") == bool(cluster) else "half" for node, label, cluster in rows}
