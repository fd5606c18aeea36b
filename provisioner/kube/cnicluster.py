"""What the API server knows of nodes' networks: their pod CIDRs, their condition, and the pods on them."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.kube.kubectl import KUBECTL, rows
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote
from provisioner.shell.script import Script

_COLUMNS = (
    ".metadata.namespace", ".metadata.name", ".metadata.uid", ".spec.nodeName", ".spec.hostNetwork",
    ".status.podIPs[*].ip", ".status.phase", ".metadata.deletionTimestamp",
    '.status.conditions[?(@.type=="Ready")].status', ".metadata.ownerReferences[*].kind", ".metadata.labels.app",
    ".metadata.labels.k8s-app",
)  # fmt: skip
CONFIG = "/etc/kubernetes/admin.kubeconfig"
_NO_CLUSTER = 9
_LOOK = f"""
[ -x {KUBECTL.split()[0]} ] && [ -e {CONFIG} ] || exit {_NO_CLUSTER}
{KUBECTL} get nodes -o json >"$W/nodes" || exit 1
{KUBECTL} get pods -A -o jsonpath={quote(rows(_COLUMNS))} >"$W/pods" || exit 1
cat "$W/nodes"
printf '\\n==\\n'
cat "$W/pods"
"""


@dataclass(frozen=True)
class Pod:
    """`owner` is the kind of what made it, `labels` the values of app and k8s-app."""

    namespace: str
    name: str
    uid: str
    node: str
    host_network: bool
    addresses: tuple[str, ...]
    phase: str
    leaving: bool
    ready: bool
    owner: str
    labels: tuple[str, ...]

    @property
    def is_made_anew(self) -> bool:
        """Whether something does that once it is deleted. A static pod's owner is its node, and deletes only the API
        server's picture of it."""
        return self.owner not in ("", "Node")

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class ClusterNode:
    """`unavailable` is what its condition NetworkUnavailable says while that is True, "" otherwise."""

    name: str
    addresses: tuple[str, ...] = ()
    pod_cidrs: tuple[str, ...] = ()
    unavailable: str = ""
    pods: tuple[Pod, ...] = ()


def look_script() -> Script:
    """Asks for all nodes and pods."""
    return Script(_LOOK)


def read_cluster(runner: Runner) -> list[ClusterNode]:
    """All nodes, as the API server knows them. Raises ProvisionError when it does not say."""
    answer = runner.run(look_script(), deadline=90)
    if answer.status != 0:
        if answer.status == _NO_CLUSTER:
            raise ProvisionError(
                f"{runner.host}: there is no cluster, or none that this tool knows: {CONFIG} is not there",
                "`provision apply` makes one, and takes over one that others have built",
            )
        said = answer.stderr.decode(errors="replace").strip()[-400:]
        raise ProvisionError(
            f"{runner.host}: the cluster cannot be asked for its nodes: {said}",
            "does its API server answer (`provision status`)?",
        )
    return parse_cluster(answer.stdout)


def parse_cluster(output: bytes) -> list[ClusterNode]:
    """Raises ProvisionError for what is no list of nodes."""
    nodes, _, rows = output.decode(errors="replace").partition("\n==\n")
    pods: dict[str, list[Pod]] = {}
    for row in rows.splitlines():
        fields = row.split("\t")
        if len(fields) == len(_COLUMNS):
            pods.setdefault(fields[3], []).append(_pod(fields))
    try:
        items = json.loads(nodes)["items"]
        return [_node(item, pods) for item in items]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise ProvisionError(f"the API server's list of nodes cannot be read: {fault!r}") from None


def node_of(nodes: Sequence[ClusterNode], host: str, address: str) -> ClusterNode | None:
    """The one that a host is: by its address, else by its name."""
    by_name: Mapping[str, ClusterNode] = {each.name: each for each in nodes}
    return next((each for each in nodes if _same(address, each.addresses)), by_name.get(host))


def _same(address: str, addresses: Sequence[str]) -> bool:
    try:
        wanted = ipaddress.ip_address(address)
        return any(ipaddress.ip_address(each) == wanted for each in addresses)
    except ValueError:
        return False


def _pod(fields: Sequence[str]) -> Pod:
    space, name, uid, node, host_network, addresses, phase, leaving, ready, owners, app, k8s_app = fields
    return Pod(
        space, name, uid, node, host_network == "true", tuple(addresses.split()), phase, bool(leaving),
        ready == "True", owners.split(" ")[0], tuple(each for each in (app, k8s_app) if each),
    )  # fmt: skip


def _node(item: Mapping[str, Any], pods: Mapping[str, Sequence[Pod]]) -> ClusterNode:
    name, spec, status = item["metadata"]["name"], item.get("spec") or {}, item.get("status") or {}
    condition: Mapping[str, Any] = next(
        (each for each in status.get("conditions") or () if each["type"] == "NetworkUnavailable"), {}
    )
    said = ": ".join(str(condition[key]) for key in ("reason", "message") if condition.get(key))
    return ClusterNode(
        name=str(name),
        addresses=tuple(
            str(each["address"]) for each in status.get("addresses") or () if each["type"] == "InternalIP"
        ),
        pod_cidrs=tuple(spec.get("podCIDRs") or filter(None, [spec.get("podCIDR")])),
        unavailable=(said or "it does not say why") if condition.get("status") == "True" else "",
        pods=tuple(pods.get(str(name), ())),
    )
