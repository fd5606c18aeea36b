"""The pod network of a cluster that others have built: found, kept as it was made, and held against the inventory."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from localhost import LocalSession
from migrations import CALICO, FLANNEL, change

from provisioner.action.load import Request, load
from provisioner.action.migration.originals import Originals
from provisioner.action.migration.othersthere import check_there
from provisioner.errors import InputError, ProvisionError
from provisioner.kube.othersnetwork import Agents, agents_of, as_made, read_made

SERVER: dict[str, Any] = {
    "uid": "u",
    "resourceVersion": "7",
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "generation": 3,
    "managedFields": [],
}
CONF = {"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}


FLANNELD = {
    "name": "kube-flannel",
    "image": "docker.io/flannel/flannel:v0.27",
    "command": ["/opt/bin/flanneld"],
}


def daemon_set(namespace: str, name: str, *containers: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"namespace": namespace, "name": name, **SERVER},
        "spec": {"template": {"spec": {"containers": [*containers]}}},
        "status": {"n": 1},
    }


def conf(text: str) -> dict[str, Any]:
    metadata = {"name": "kube-flannel-cfg", "namespace": "kube-flannel"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"net-conf.json": text}}


class Answering(LocalSession):
    """This machine, with a kubectl that prints one file after the other."""

    def say(self, *answers: object) -> Answering:
        for number, answer in enumerate(answers):
            (self.root / f"answer{number}").write_text(json.dumps(answer) if answer else "")
        path = self.root / "kubectl"
        path.write_text(
            f'#!/bin/sh\nset -- {self.root}/answer[0-9]\n[ -e "$1" ] || exit 1\ncat "$1"\nrm "$1"\n'
        )
        path.chmod(0o755)
        return self

    def _text(self, text: str) -> str:
        text = super()._text(text).replace("curl -fsS", f"{self.root}/curl -fsS")
        return text.replace("/opt/kubernetes/bin/kubectl", f"{self.root}/kubectl")


OLD_FLANNEL = {"name": "kube-flannel", "image": "quay.io/coreos/flannel:v0.12.0-amd64"}
CALICO_NODE = {"name": "calico-node", "image": "registry:5000/calico/node@sha256:00"}
CILIUM_AGENT = {"name": "cilium-agent", "image": "x/cilium", "command": ["cilium-agent"]}
EXPORTER = {"name": "flannel", "image": "x/flannel-exporter:1", "args": ["--flannel"]}
OTHER_NODE = {"name": "node", "image": "x/node:20", "command": ["node"]}


@pytest.mark.parametrize(
    ("plugin", "places"),
    [
        ("flannel", [("kube-flannel", ["renamed"]), ("kube-system", ["amd64", "arm64"])]),
        ("calico", [("kube-system", ["calico-node"])]),
        ("cilium", [("kube-system", ["cilium"])]),
    ],
)
def test_agents_are_known_by_what_they_run(
    tmp_path: Path, plugin: str, places: list[tuple[str, list[str]]]
) -> None:
    sets = [
        daemon_set("kube-system", "amd64", OLD_FLANNEL),
        daemon_set("kube-system", "arm64", OLD_FLANNEL),
        daemon_set("kube-flannel", "renamed", OTHER_NODE, FLANNELD),
        daemon_set("kube-flannel", "flannel-exporter", EXPORTER),
        daemon_set("monitoring", "kube-flannel-ds", EXPORTER),
        daemon_set("kube-system", "calico-node", CALICO_NODE),
        daemon_set("web", "calico-node-monitor", OTHER_NODE),
        daemon_set("kube-system", "canal", CALICO_NODE, FLANNELD),
        daemon_set("kube-system", "cilium", CILIUM_AGENT),
        daemon_set("kube-system", "cilium-envoy", {"name": "cilium-envoy", "image": "x/cilium-envoy"}),
    ]
    found = agents_of(Answering(tmp_path, "dash").say({"items": sets}), plugin)
    assert [
        (each.namespace, [one["metadata"]["name"] for one in each.daemon_sets]) for each in found
    ] == places


def test_what_the_server_has_written_is_not_kept() -> None:
    labels = {"app": "flannel"}
    notes = {"deprecated.daemonset.template.generation": "1", "mine": "x"}
    item = {"kind": "DaemonSet", "metadata": {"name": "a", "labels": labels, "annotations": notes, **SERVER},
            "spec": {}, "status": {}}  # fmt: skip
    assert as_made(item) == {
        "kind": "DaemonSet",
        "metadata": {"name": "a", "labels": labels, "annotations": {"mine": "x"}},
        "spec": {},
    }
    account = {"kind": "ServiceAccount", "metadata": {"name": "a"}, "secrets": [{"name": "a-token"}]}
    assert as_made(account) == {"kind": "ServiceAccount", "metadata": {"name": "a"}}
    space = {"kind": "Namespace", "metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]}}
    assert as_made(space) == {"kind": "Namespace", "metadata": {"name": "a"}}


def test_an_old_manifest_in_another_namespace_is_kept_with_all_its_parts(tmp_path: Path) -> None:
    upstream = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-flannel"}},
        conf("{}"),
        {"apiVersion": "apps/v1", "kind": "DaemonSet", **daemon_set("kube-flannel", "kube-flannel-ds")},
    ]
    agents = Agents("kube-system", (daemon_set("kube-system", "kube-flannel-ds-amd64"),))
    asked = Answering(tmp_path, "dash").say({"kind": "List", "items": [conf(json.dumps(CONF))]})
    made = read_made(asked, agents, upstream)
    assert [(each["kind"], each["metadata"]["name"]) for each in made] == [
        ("ConfigMap", "kube-flannel-cfg"),
        ("DaemonSet", "kube-flannel-ds-amd64"),
    ]
    assert made[1]["apiVersion"] == "apps/v1"
    assert "status" not in made[1]


def test_what_users_have_made_of_its_kinds_is_not_the_networks_own(tmp_path: Path) -> None:
    group = "crd.projectcalico.org"
    kinds = {
        "BGPPeer": "bgppeers",
        "BGPConfiguration": "bgpconfigurations",
        "GlobalNetworkPolicy": "globalnetworkpolicies",
        "IPAMConfig": "ipamconfigs",
        "IPPool": "ippools",
    }
    definitions = [
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {"group": group, "names": {"kind": kind, "plural": plural}},
        }
        for kind, plural in kinds.items()
    ]

    def made(kind: str, name: str) -> dict[str, Any]:
        return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": name}}

    there = [made("BGPPeer", "rack"), made("BGPPeer", "mine"), made("GlobalNetworkPolicy", "mine"),
             made("IPPool", "pods"), made("BGPConfiguration", "default"), made("IPAMConfig", "default")]  # fmt: skip
    agents = Agents("kube-system", (daemon_set("kube-system", "calico-node"),))
    asked = Answering(tmp_path, "dash").say(
        {"kind": "List", "items": definitions}, None, {"kind": "List", "items": there}
    )
    (tmp_path / "answer1").write_text("\n".join(f"crd/{plural}.{group}" for plural in kinds.values()))
    found = read_made(asked, agents, [*definitions, made("BGPPeer", "rack")])
    own = [f"{each['kind']} {each['metadata']['name']}" for each in found if each["kind"] in kinds]
    assert own == ["BGPPeer rack", "IPPool pods", "BGPConfiguration default", "IPAMConfig default"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps(CONF), []),
        (json.dumps({**CONF, "Network": "10.240.0.0/16"}), ["pod_cidrs: flannel has 10.240.0.0/16"]),
        (json.dumps({"Network": "10.244.0.0/16"}), ["backend: flannel has the back end udp"]),
    ],
)
def test_what_is_there_is_held_against_the_inventory(text: str, said: list[str]) -> None:
    wanted = change(FLANNEL, CALICO)
    originals = Originals(FLANNEL, [conf(text)], wanted.old.network)
    if not said:
        originals.check(wanted)
        return
    with pytest.raises(InputError) as caught:
        originals.check(wanted)
    assert [each.reason for each in caught.value.problems] == said
    assert all(each.line and each.hint for each in caught.value.problems)


@pytest.mark.parametrize("cidr", ["10.244.128.0/17", "192.168.0.0/16"])
def test_pools_that_are_there_are_held_against_the_inventory(cidr: str) -> None:
    wanted = change(CALICO, FLANNEL)
    pool = {"kind": "IPPool", "metadata": {"name": "default-ipv4-ippool"}, "spec": {"cidr": cidr}}
    originals = Originals(CALICO, [pool], wanted.old.network)
    if cidr == "10.244.128.0/17":
        originals.check(wanted)
        return
    with pytest.raises(InputError) as caught:
        originals.check(wanted)
    (problem,) = caught.value.problems
    assert problem.reason == "pools: calico has pools of 192.168.0.0/16"
    assert problem.hint == "write [{name: NAME, cidr: 192.168.0.0/16}]"


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_configuration_that_is_none_is_no_traceback(text: str) -> None:
    wanted = change(FLANNEL, CALICO)
    with pytest.raises((ProvisionError, InputError)):
        Originals(FLANNEL, [conf(text)], wanted.old.network).check(wanted)


def test_without_a_configuration_it_is_not_migrated() -> None:
    wanted = change(FLANNEL, CALICO)
    with pytest.raises(ProvisionError, match="in a ConfigMap"):
        Originals(FLANNEL, [], wanted.old.network).check(wanted)


def test_only_migrate_takes_a_cluster_of_kubeadms(tmp_path: Path) -> None:
    source = Path(__file__).parents[1] / "cluster" / "kubeadm.yaml"
    path = tmp_path / "inventory.yaml"
    path.write_text(source.read_text())
    with pytest.raises(InputError, match="what kubeadm has made is kubeadm's to change") as caught:
        load(Request(path))
    assert caught.value.problems[0].line == 11
    found = load(replace(Request(path), of_others=True))
    assert {name for name, each in found.cluster.nodes.items() if each.node} == {"cp1", "worker1", "worker2"}
    assert found.cluster.existing is not None
    assert found.cluster.existing.admin_kubeconfig == "/etc/kubernetes/admin.conf"


class OnePlane:
    """Stands for a run: one host, which is the plane and all nodes."""

    def __init__(self, plane: Answering, name: str) -> None:
        self.change = change(FLANNEL, CALICO)
        self.plane = plane
        self.nodes = [name]
        self.pool = self

    def map(self, hosts: list[str], work: Any) -> dict[str, Any]:
        return {host: work(self.plane) for host in hosts}


def api_node(name: str, address: str, runtime: str = "containerd://1.6.20") -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "nodeInfo": {"containerRuntimeVersion": runtime},
        },
    }


def looked(tmp_path: Path, nodes: list[dict[str, Any]], mode: str = "") -> None:
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    plane = Answering(root, "dash").say({"items": nodes})
    (root / "curl").write_text(f"#!/bin/sh\nprintf '%s' '{mode}'\n")
    (root / "curl").chmod(0o755)
    check_there(OnePlane(plane, "worker1"))  # type: ignore[arg-type]


def test_a_node_that_the_inventory_does_not_have_is_refused(tmp_path: Path) -> None:
    known = [
        api_node(name, each.address) for name, each in change(FLANNEL, CALICO).new.nodes.items() if each.node
    ]
    looked(tmp_path, known)
    with pytest.raises(InputError) as caught:
        looked(tmp_path, [*known, api_node("worker9", "10.98.0.99")])
    (problem,) = caught.value.problems
    assert (
        problem.reason
        == "the cluster has the node worker9, which the inventory does not have among its nodes"
    )
    assert problem.hint == "name it under 'kube_node'"
    with pytest.raises(InputError) as caught:
        looked(tmp_path, [*known[:-1], api_node("else", known[-1]["status"]["addresses"][0]["address"])])
    assert "as its node" in caught.value.problems[0].hint
    with pytest.raises(InputError, match="is no node of the cluster"):
        looked(tmp_path, known[:-1])
    other = [api_node(each["metadata"]["name"], "a", "cri-o://1.33") for each in known]
    with pytest.raises(ProvisionError, match="run something else"):
        looked(tmp_path, other)


def test_kube_proxy_has_to_be_as_the_inventory_says(tmp_path: Path) -> None:
    known = [
        api_node(name, each.address) for name, each in change(FLANNEL, CALICO).new.nodes.items() if each.node
    ]
    looked(tmp_path, known, "iptables")
    with pytest.raises(InputError) as caught:
        looked(tmp_path, known, "nftables")
    assert caught.value.problems[0].hint == "write proxy: {mode: nftables}"
