"""What a right spec means: defaults, nodes, the lab's example. Wrong ones: test_broken_input, test_any_input."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from provisioner.bundle import catalogue
from provisioner.errors import InputError
from provisioner.inventory.model import load_inventory
from provisioner.spec import load as spec_load
from provisioner.spec import versions
from provisioner.spec.calico import Calico, IPPool
from provisioner.spec.cilium import Cilium
from provisioner.spec.dns import Dns, Forward
from provisioner.spec.load import load_cluster
from provisioner.spec.model import (
    CONTROL_PLANE_TAINT,
    EVICTION_HARD,
    ClusterSpec,
    Endpoint,
    Flannel,
    Network,
    NodeSpec,
    Proxy,
    Registry,
    Taint,
    load_spec,
)
from provisioner.spec.schema import HOST

ROOT = Path(__file__).parents[2]
BASE = (ROOT / "tests" / "data" / "spec" / "base.yaml").read_text()
ACCEPTED: list[dict[str, Any]] = yaml.safe_load((ROOT / "tests/data/inventory/accepted.yaml").read_text())
LAB = ROOT / "inventories" / "lab.yaml"


def spec_of(tmp_path: Path, *slips: tuple[str, str]) -> ClusterSpec:
    text = BASE
    for old, new in slips:
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "i.yaml").write_text(text)
    return load_cluster(tmp_path / "i.yaml")[1]


def test_defaults(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, ("        pod_cidrs: [10.244.0.0/16]\n", ""))
    assert spec.network == Network(
        pod_cidrs=("10.244.0.0/16",),
        service_cidrs=("10.96.0.0/16",),
        flannel=Flannel(),
        calico=Calico(pools=(IPPool("pods", "10.244.0.0/16"),)),
        cilium=Cilium(pools=("10.244.0.0/16",), native_routing_cidrs=("10.244.0.0/16",)),
    )
    assert spec.proxy == Proxy("iptables")
    assert spec.dns == Dns("10.96.0.10", "cluster.local", ("/etc/resolv.conf",))
    assert spec.endpoint == Endpoint("10.98.0.11", 6443)
    assert spec.registry == Registry("registry.lab.internal", 5000, "10.98.0.10", "")
    assert spec.bundle is None
    assert spec.kubernetes.minor == 33


@pytest.mark.parametrize("case", ACCEPTED, ids=[case["name"] for case in ACCEPTED])
def test_what_people_bring_is_accepted(case: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "i.yaml").write_bytes(case["text"].encode())
    spec = load_cluster(tmp_path / "i.yaml")[1]
    assert {name: node.address for name, node in spec.nodes.items() if node.node} == case["nodes"]


def test_the_lab_is_a_valid_example() -> None:
    inventory = load_inventory(LAB)
    spec = load_spec(inventory)
    assert {host.name: host.connection.address for host in inventory.hosts.values()} == {
        "registry1": "10.98.0.10",
        "cp1": "10.98.0.11",
        "worker1": "10.98.0.21",
        "worker2": "10.98.0.22",
    }
    assert inventory.variables["lab"] == {"name": "lab", "subnet": "10.98.0.0/24"}
    assert {host.connection.user for host in inventory.hosts.values()} == {"root"}
    assert spec.registry == Registry("registry.lab.internal", 5000, "10.98.0.10")
    assert [name for name, node in spec.nodes.items() if node.node] == ["cp1", "worker1", "worker2"]


def test_nodes(tmp_path: Path) -> None:
    spec = spec_of(
        tmp_path,
        ("      registry:", "      nodes: {labels: {a: x, b: x}, taints: ['d:NoExecute']}\n      registry:"),
        (
            "worker1: {",
            "worker1: {node_labels: {b: y}, node_taints: [{key: k, value: v, effect: NoSchedule}], ",
        ),
        ("worker2: {ansible_host: 10.98.0.22}", "worker2: {ansible_host: w2.lan, node_address: 10.98.0.22}"),
    )
    default = Taint("d", "", "NoExecute")
    assert spec.nodes == {
        "registry1": NodeSpec("10.98.0.10", False),
        "cp1": NodeSpec(
            "10.98.0.11",
            True,
            {CONTROL_PLANE_TAINT.key: "", "a": "x", "b": "x"},
            (CONTROL_PLANE_TAINT, default),
        ),
        "worker1": NodeSpec("10.98.0.21", True, {"a": "x", "b": "y"}, (Taint("k", "v", "NoSchedule"),)),
        "worker2": NodeSpec("10.98.0.22", True, {"a": "x", "b": "x"}, (default,)),
    }
    assert [str(taint) for taint in spec.nodes["worker1"].taints] == ["k=v:NoSchedule"]
    assert str(CONTROL_PLANE_TAINT) == "node-role.kubernetes.io/control-plane:NoSchedule"


def test_what_nodes_keep_back(tmp_path: Path) -> None:
    """A host's own amounts lie over those of all nodes, one by one."""
    nodes = (
        "nodes: {max_pods: 50, kube_reserved: {cpu: 100m, memory: 1Gi}, eviction_hard: {pid.available: 5%}}"
    )
    own = "node_kube_reserved: {cpu: 1.5Gi, pid: '9'}, node_eviction_hard: {memory.available: 5%}"
    worker = f"worker1: {{node_max_pods: 60, node_pod_pids_limit: -1, {own}, "
    spec = spec_of(tmp_path, ("      registry:", f"      {nodes}\n      registry:"), ("worker1: {", worker))
    one, two = spec.nodes["worker1"], spec.nodes["worker2"]
    assert (one.max_pods, two.max_pods) == (60, 50)
    assert (one.pod_pids_limit, two.pod_pids_limit) == (-1, 4096)
    assert one.kube_reserved == {"cpu": "1.5Gi", "memory": "1Gi", "pid": "9"}
    assert two.kube_reserved == {"cpu": "100m", "memory": "1Gi"}
    assert one.eviction_hard == {**EVICTION_HARD, "pid.available": "5%", "memory.available": "5%"}
    assert two.eviction_hard == {**EVICTION_HARD, "pid.available": "5%"}


def test_booleans_of_selinux(tmp_path: Path) -> None:
    """A host's own list is the whole of it."""
    spec = spec_of(
        tmp_path,
        ("      registry:", "      nodes: {selinux_booleans: [b, a, b]}\n      registry:"),
        ("worker1: {", "worker1: {node_selinux_booleans: [c], "),
        ("worker2: {", "worker2: {node_selinux_booleans: [], "),
    )
    found = {name: node.selinux_booleans for name, node in spec.nodes.items()}
    assert found == {"registry1": ("b", "a"), "cp1": ("b", "a"), "worker1": ("c",), "worker2": ()}


@pytest.mark.parametrize(("mask", "pods"), [(24, 110), (25, 110), (26, 61), (28, 13)])
def test_no_more_pods_than_addresses(tmp_path: Path, mask: int, pods: int) -> None:
    spec = spec_of(tmp_path, ("        pod_cidrs:", f"        node_cidr_mask: {mask}\n        pod_cidrs:"))
    assert spec.nodes["worker1"].max_pods == pods


def test_calico_gives_a_node_further_blocks(tmp_path: Path) -> None:
    many = ("        pod_cidrs:", "        plugin: calico\n        node_cidr_mask: 28\n        pod_cidrs:")
    wanted = ("      registry:", "      nodes: {max_pods: 400}\n      registry:")
    assert spec_of(tmp_path, many).nodes["worker1"].max_pods == NodeSpec.max_pods
    assert spec_of(tmp_path, many, wanted).nodes["worker1"].max_pods == 400


def test_a_control_plane_is_free_for_pods_when_it_is_a_node_as_well(tmp_path: Path) -> None:
    assert spec_of(tmp_path, ("worker1: {ansible_host: 10.98.0.21}", "cp1:")).nodes["cp1"].taints == ()
    assert spec_of(tmp_path, ("cp1: {", "cp1: {node: off, ")).nodes["cp1"] == NodeSpec("10.98.0.11", False)


def test_a_control_plane_s_own_taint_may_have_a_value(tmp_path: Path) -> None:
    """The one without a value would be a second one of its key and effect."""
    written = f"{CONTROL_PLANE_TAINT.key}=true:NoSchedule"
    spec = spec_of(tmp_path, ("cp1: {", f"cp1: {{node_taints: ['{written}', '{written}'], "))
    assert [str(each) for each in spec.nodes["cp1"].taints] == [written]


def test_a_load_balancer_is_the_endpoint(tmp_path: Path) -> None:
    group = "    load_balancer: {hosts: {lb1: {ansible_host: 10.98.0.5}}}\n    etcd:"
    assert spec_of(tmp_path, ("    etcd:", group)).endpoint == Endpoint("10.98.0.5", 6443)


def test_a_load_balancer_beside_a_control_plane_has_its_own_port(tmp_path: Path) -> None:
    spec = spec_of(
        tmp_path,
        ("    etcd:", "    load_balancer: {hosts: {cp1: }}\n    etcd:"),
        ("      registry:", "      endpoint: {host: 10.98.0.11, port: 8443}\n      registry:"),
    )
    assert str(spec.endpoint) == "10.98.0.11:8443"


def test_dual_stack(tmp_path: Path) -> None:
    spec = spec_of(
        tmp_path,
        ("[10.244.0.0/16]", "[10.244.0.0/16, 'FD00:244::/56']"),
        ("[10.96.0.0/16]", "[10.96.0.0/16, 'fd00:96:0::/112']"),
    )
    assert spec.network.pod_cidrs == ("10.244.0.0/16", "fd00:244::/56")
    assert spec.network.service_cidrs == ("10.96.0.0/16", "fd00:96::/112")
    assert spec.dns.address == "10.96.0.10"


def test_dns(tmp_path: Path) -> None:
    """Servers in one spelling; a service of the cluster may answer for a domain."""
    written = (
        "dns: {upstreams: ['10.1.1.1:53', '[FD00::0053]:5353', /etc/resolv.conf], replicas: 3, forward: {max_fails: 0},"
        " stub_domains: {consul: [10.96.0.53], 1.10.in-addr.arpa: ['FD00::53']}}"
    )
    dns = spec_of(tmp_path, ("      registry:", f"      {written}\n      registry:")).dns
    assert dns.upstreams == ("10.1.1.1", "[fd00::53]:5353", "/etc/resolv.conf")
    assert dns.stub_domains == {"consul": ("10.96.0.53",), "1.10.in-addr.arpa": ("fd00::53",)}
    assert (dns.replicas, dns.forward) == (3, Forward(max_fails=0))
    assert (
        spec_of(tmp_path, ("      registry:", "      dns: {upstreams: []}\n      registry:")).dns.upstreams
        == ()
    )


def test_dns_pods_are_no_obstacle_to_a_host_that_leaves(tmp_path: Path) -> None:
    text = BASE.replace("      registry:", "      dns: {replicas: 4}\n      registry:", 1)
    (tmp_path / "i.yaml").write_text(text)
    inventory = load_inventory(tmp_path / "i.yaml")
    with pytest.raises(InputError, match="4 DNS pods on 3 nodes"):
        spec_load.load_spec(inventory)
    assert spec_load.load_spec(inventory, transition=True).dns.replicas == 4


@pytest.mark.parametrize(("workers", "replicas"), [(0, 1), (1, 2), (31, 2), (32, 3)])
def test_dns_pods_by_the_number_of_nodes(tmp_path: Path, workers: int, replicas: int) -> None:
    hosts = "".join(f"        w{number}: {{ansible_host: 10.98.1.{number}}}\n" for number in range(workers))
    given = "        worker1: {ansible_host: 10.98.0.21}\n        worker2: {ansible_host: 10.98.0.22}\n"
    alone = ("    kube_node:\n      hosts:\n" + given, "") if not workers else (given, hosts)
    assert spec_of(tmp_path, alone).dns.replicas == replicas


def test_a_registry_outside_the_inventory(tmp_path: Path) -> None:
    spec = spec_of(
        tmp_path,
        ("registry1: {ansible_host: 10.98.0.10}", ""),
        ("lab.internal, port: 5000", "example.com, port: 443, project: k8s/base"),
    )
    assert spec.registry == Registry("registry.example.com", 443, None, "k8s/base")


@pytest.mark.parametrize("requires", [">=0.1", ">=0.1.0, <99", "!=0.0.9"])
def test_requirements_that_hold(requires: str, tmp_path: Path) -> None:
    assert (
        spec_of(tmp_path, ("      name: lab", f"      name: lab\n      requires: '{requires}'")).name == "lab"
    )


def test_the_bundle_counts_from_the_inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    for written, meant in (("b/x", f"{tmp_path}/b/x"), ("~/b", "/home/someone/b"), ("/b", "/b")):
        assert (
            spec_of(tmp_path, ("      name: lab", f"      name: lab\n      bundle: {written}")).bundle
            == meant
        )


def test_hints_name_the_release_that_is_built() -> None:
    built = {each.version for each in catalogue.load() if each.name == "kube-apiserver"}
    assert built == {f"v{versions.CATALOGUED}"}


def test_what_templates_may_be_told_is_known() -> None:
    """Names with a default in a template are the inventory's to set: of them a slip is found, and a wrong type."""
    texts = [path.read_text() for path in (ROOT / "templates").rglob("*.j2")]
    optional = {name for text in texts for name in re.findall(r"\b(\w+) \| default\(", text)}
    assert optional
    assert optional <= HOST.keys()
