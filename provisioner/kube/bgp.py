"""The modules `calico_reflectors` and `calico_mesh`, for what Calico reads beside its manifests.

Route reflectors come in an order in which no node is ever without its routes: first everybody's sessions with them,
then that they reflect, and only when all sessions are established the mesh goes (docs, networking/configuring/bgp).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence

from provisioner.errors import ProvisionError
from provisioner.kube.kubectl import KUBECTL, KUBECTL_EXEC, PROBING
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
_MESH = "bgpconfigurations.crd.projectcalico.org default"
SESSION_SECONDS = 60

_PODS = r'{range .items[*]}{.metadata.name} {.status.hostIP}{"\n"}{end}'
_NODES = (
    r'{range .items[*]}{.metadata.name}{"\t"}{.metadata.labels.route-reflector}{"\t"}'
    r'{.metadata.annotations.projectcalico\.org/RouteReflectorClusterID}{"\n"}{end}'
)


class CalicoReflectorsKind:
    """Present, by node, with its cluster ID, or "" for one that reflects nothing."""

    name = "calico_reflectors"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"nodes": list, "reflectors": list, "cluster_id": str}, {})
        chosen, cluster = set(map(str, task.args["reflectors"])), str(task.args["cluster_id"])
        nodes: dict[str, Plain] = {
            str(each): cluster if each in chosen else "" for each in task.args["nodes"]
        }
        return [Resource("calico_reflectors", "nodes", Present(nodes))]

    def probe(self, resources: Sequence[Resource]) -> Script:
        del resources
        return Script(f"{PROBING}probing get nodes -o jsonpath={quote(_NODES)}\n")

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        found = Present(_reflecting(output.decode(errors="replace")))
        return {each.id: found for each in resources}

    def change(self, change: Change) -> Script:
        wanted = change.resource.desired.attrs if isinstance(change.resource.desired, Present) else {}
        lines = []
        for node, cluster in wanted.items():
            if change.keys and node not in change.keys:
                continue
            # Its sessions come by the label, before it leaves the mesh by its cluster ID.
            for verb, key, value in (("label", LABEL, "true"), ("annotate", _CLUSTER, cluster)):
                mark = f"{key}={value}" if cluster else f"{key}-"
                lines.append(f"{KUBECTL} {verb} node {quote(node)} --overwrite {quote(mark)} >/dev/null")
        return Script("\n".join(lines) + "\n")


class CalicoMeshKind:
    """Present with {"mesh": whether every node has a session with every other}. It goes only while all other sessions
    are established, and has come back when they are again."""

    name = "calico_mesh"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"mesh": bool, "reflectors": list, "nodes": list}, {"namespace": str})
        spec = {
            "reflectors": tuple(map(str, task.args["reflectors"])),
            "nodes": len(task.args["nodes"]),
            "namespace": str(task.args.get("namespace", "kube-system")),
        }
        return [Resource("calico_mesh", "default", Present({"mesh": bool(task.args["mesh"])}), spec)]

    def probe(self, resources: Sequence[Resource]) -> Script:
        del resources
        said = "{.items[*].spec.nodeToNodeMeshEnabled}"
        return Script(f"{PROBING}probing get {_MESH.partition(' ')[0]} -o jsonpath='{said}'\n")

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        found = Present({"mesh": output.strip() != b"false"})
        return {each.id: found for each in resources}

    def conduct(self, changes: Sequence[Change], runner: Runner) -> None:
        """Raises ProvisionError when sessions are not established in time; the mesh is as it was then."""
        for change in changes:
            wanted, spec = change.resource.desired, change.resource.spec
            mesh = isinstance(wanted, Present) and bool(wanted.attrs["mesh"])
            if not mesh:
                _await_sessions(runner, spec["reflectors"], spec["nodes"], spec["namespace"])
            patch = quote(json.dumps({"spec": {"nodeToNodeMeshEnabled": mesh}}))
            ask(runner, locked(f"{KUBECTL} patch {_MESH} --type merge -p {patch} >/dev/null") + "\n")
            if mesh:
                _await_sessions(runner, (), spec["nodes"], spec["namespace"])


def _reflecting(text: str) -> dict[str, Plain]:
    """A node counts with both its label and its cluster ID."""
    rows = [line.split("\t") for line in text.splitlines() if line.count("\t") == 2]
    return {node: cluster if (label == "true") == bool(cluster) else "half" for node, label, cluster in rows}


# birdcl prints a line for each session: name, protocol, table, state, since, and what it is at.
_SESSIONS = f"""
{KUBECTL} -n NAMESPACE get pods -l k8s-app=calico-node -o jsonpath={quote(_PODS)} >"$P/pods"
while read -r pod address; do
  echo "=$pod $address"
  {KUBECTL_EXEC} -n NAMESPACE exec "$pod" -c calico-node -- \
    birdcl -s /var/run/calico/bird.ctl show protocols </dev/null 2>&1 || :
done <"$P/pods"
"""


def _await_sessions(runner: Runner, reflectors: Sequence[str], nodes: int, namespace: str) -> None:
    """Until every node's sessions are established, with each of the `reflectors` (addresses) among them, for
    SESSION_SECONDS at most. Raises ProvisionError with what the last ones are at."""
    end = time.monotonic() + SESSION_SECONDS
    script = _SESSIONS.replace("NAMESPACE", quote(namespace))
    while left := _missing(ask(runner, script).decode(errors="replace"), reflectors, nodes):
        if time.monotonic() > end:
            raise ProvisionError(
                "not all BGP sessions are established:\n" + "\n".join(left[:12]),
                "does TCP port 179 pass between the nodes? see `kubectl -n "
                + namespace
                + " logs ds/calico-node`",
            )
        time.sleep(0.5)


def _missing(text: str, reflectors: Sequence[str], nodes: int) -> list[str]:
    """What is not as it shall be, in words."""
    found = []
    blocks = [block.partition("\n") for block in ("\n" + text).split("\n=")[1:]]
    if len(blocks) < nodes:
        found.append(f"{len(blocks)} of {nodes} calico-node pods are there")
    for head, _, lines in blocks:
        pod, _, own = head.partition(" ")
        sessions = [line.split() for line in lines.splitlines() if " BGP " in line]
        found += [f"{pod}: {' '.join(each)}" for each in sessions if each[-1] != "Established"]
        if not sessions and nodes > 1:
            found.append(f"{pod}: has no session")
        names = {each[0] for each in sessions}
        for address in sorted(set(reflectors) - {own}):
            # A session is named after its peer, and its port where BGPConfiguration names one (confd, bird.cfg).
            named = re.compile(rf"[A-Z][a-z]+_{address.replace('.', '_')}(?:_port_[0-9]+)?")
            if not any(map(named.fullmatch, names)):
                found.append(f"{pod}: has no session with {address}")
    return found
