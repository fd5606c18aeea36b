"""Migrations between sections of one inventory, and a kubectl's answers, as tests want them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from localhost import LocalSession

from provisioner.action.load import Loaded, Request
from provisioner.action.migration.change import Change
from provisioner.action.migration.sections import loaded_for
from provisioner.inventory.model import load_inventory
from provisioner.network.record import Migration, NetworkRecord
from provisioner.playbook.facts import Facts
from provisioner.playbook.model import Playbook
from provisioner.spec.load import load_spec

BASE = Path(__file__).parents[1] / "data" / "spec" / "base.yaml"
COMMON: dict[str, Any] = {"pod_cidrs": ["10.244.0.0/16"], "service_cidrs": ["10.96.0.0/16"]}
FLANNEL: dict[str, Any] = {**COMMON, "plugin": "flannel"}
CALICO: dict[str, Any] = {
    **COMMON,
    "plugin": "calico",
    "calico": {"pools": [{"name": "pods-second", "cidr": "10.244.128.0/17"}]},
}
CILIUM: dict[str, Any] = {**COMMON, "plugin": "cilium", "allow_untested": True}


def loaded(section: Mapping[str, Any] | None = None) -> Loaded:
    inventory = load_inventory(BASE)
    found = Loaded(Request(BASE), inventory, load_spec(inventory), Playbook((), (), ""), None, "run")
    return loaded_for(found, section) if section is not None else found


def change(
    source: Mapping[str, Any],
    target: Mapping[str, Any],
    *,
    begun: bool = False,
    reverses: bool = False,
    strategy: str = "node-by-node",
    **more: Any,
) -> Change:
    """`begun` by an earlier run; or one that `reverses` another, which has begun."""
    migration = Migration("0011aabb", source, target, strategy, **{"back": reverses, **more})
    other = Migration("2233ccdd", target, source, strategy) if reverses else None
    record = NetworkRecord(now=source, migration=migration if begun else other)
    return Change(loaded(source), loaded(target), migration, record, begun)


def row(*columns: str) -> str:
    return "\t".join(columns) + "\n"


def pod(
    namespace: str,
    name: str,
    node: str,
    address: str,
    owner: str = "",
    *,
    host: bool = False,
    mirror: bool = False,
) -> str:
    kind, _, maker = owner.partition("/")
    return row(
        *("pod", namespace, name, node, "true" if host else "", address, "Running", "", kind, maker),
        *("mirror" if mirror else "", f"uid-{name}"),
    )


def workload(
    kind: str,
    name: str,
    strategy: str = "RollingUpdate",
    paused: str = "",
    partition: str = "",
    ready: str = "2",
) -> str:
    own = (strategy, "") if kind == "Deployment" else ("", strategy)
    counts = ("", "", "2", ready) if kind == "DaemonSet" else ("2", ready, "", "")
    return row("workload", kind, "default", name, *own, paused, partition, "", *counts)


NODES = "".join(
    row("node", name, cidr, "")
    for name, cidr in (("cp1", "10.244.0.0/24"), ("worker1", "10.244.1.0/24"), ("worker2", "10.244.2.0/24"))
)


KUBECTL = """#!/bin/sh
# Stands for kubectl: the files say what it answers.
say() {{ cat "{root}/$1" 2>/dev/null || :; }}
case " $* " in
*emptyDir*) say scratch ;;
*maxSurge*) say details ;;
*" get pods -A "*) say pods ;;
*" get replicasets.apps -A "*) say sets ;;
*daemonsets.apps*) say workloads ;;
*" get nodes "*) say nodes ;;
*" get networkpolicies.networking.k8s.io -A "*) say policies ;;
*" get poddisruptionbudgets.policy -A "*) say budgets ;;
*" get configmap provision-own-"*) say noted ;;
*" get crd "*) [ ! -e "{root}/silent" ] || exit 1; say definitions ;;
*" get ipamblocks.crd.projectcalico.org "*) say blocks ;;
*" get globalnetworkpolicies.crd.projectcalico.org "*) say own ;;
*) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""


KINDS = {"blocks": "ipamblocks", "own": "globalnetworkpolicies"}


class Plane(LocalSession):
    """This machine, with a kubectl that prints those of `files` that its arguments ask for; with a file
    `silent` it fails where it is asked for definitions."""

    def answer(self, **files: str) -> Plane:
        kinds = [f"{KINDS[name]}.crd.projectcalico.org" for name in files if name in KINDS]
        there = "".join(f"customresourcedefinition.apiextensions.k8s.io/{each}\n" for each in kinds)
        for name, text in {"nodes": NODES, "definitions": there, **files}.items():
            (self.root / name).write_text(text)
        path = self.root / "kubectl"
        path.write_text(KUBECTL.format(root=self.root))
        path.chmod(0o755)
        return self

    def _text(self, text: str) -> str:
        return super()._text(text).replace("/opt/kubernetes/bin/kubectl", f"{self.root}/kubectl")


def node_facts(**strict: tuple[str, ...]) -> dict[str, Facts]:
    """Of the three nodes, with strict links of each."""
    bare = Facts("amd64", "6.1", "h", "debian", "12", 0.0, False, 1, {"eth0": ("10.98.0.21/24",)}, "eth0")
    return {name: replace(bare, strict_links=strict.get(name, ())) for name in ("cp1", "worker1", "worker2")}
