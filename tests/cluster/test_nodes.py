"""Nodes as the spec has them: what they keep back, how they are named, and which hosts are none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_cluster import ADMIN, NODES, LabCluster, is_verified, provision, until

from provisioner.inventory.model import load_inventory
from provisioner.kube.reserved import kube_reserved, system_reserved
from provisioner.lab.declared import plan_of
from provisioner.lab.power import power_off, power_on
from provisioner.spec.model import EVICTION_HARD, NodeSpec

PLAIN = NodeSpec("192.0.2.1", True)


def worker(cluster: LabCluster) -> str:
    """The line of the inventory after which worker1's variables stand."""
    return f"ansible_host: {cluster.address('worker1')}\n"


def sizes(cluster: LabCluster) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """(capacity, allocatable) by node."""
    found = {node["metadata"]["name"]: node["status"] for node in cluster.objects("nodes")}
    return {name: (status["capacity"], status["allocatable"]) for name, status in found.items()}


def kept_back(size: tuple[dict[str, str], dict[str, str]]) -> tuple[int, int]:
    """(thousandths of a CPU, MiB of memory) that pods do not get."""
    cpu = [int(each["cpu"].removesuffix("m")) * (1 if each["cpu"].endswith("m") else 1000) for each in size]
    memory = [int(each["memory"].removesuffix("Ki")) for each in size]
    return cpu[0] - cpu[1], (memory[0] - memory[1]) // 1024


def test_nodes_keep_back_what_fits_their_size(cluster: LabCluster) -> None:
    for name, size in sizes(cluster).items():
        memory = int(size[0]["memory"].removesuffix("Ki"))
        kube, system = kube_reserved(PLAIN, memory), system_reserved(PLAIN, memory, servers=name == "cp1")
        wanted = [kube["memory"], system.get("memory", "0Mi"), EVICTION_HARD["memory.available"]]
        mebibytes = sum(int(each.removesuffix("Mi")) for each in wanted)
        assert kept_back(size) == (300 if name == "cp1" else 100, mebibytes), name
        assert size[1]["pods"] == "110"


def test_a_node_has_what_its_own_variables_say(cluster: LabCluster, tmp_path: Path) -> None:
    own = """\
          node_max_pods: 42
          node_pod_pids_limit: 500
          node_kube_reserved: {cpu: 250m, memory: 1Gi}
          node_system_reserved: {memory: 256Mi}
          node_eviction_hard: {memory.available: 200Mi}
"""
    inventory = cluster.edited(tmp_path, {worker(cluster): worker(cluster) + own})
    kubelet = ("--limit", "worker1", "--stage", "kubelet")
    done = cluster.apply(*kubelet, inventory=inventory)
    assert {(host, resource) for host, resource, _ in done.changed} == {
        ("worker1", "file:/etc/kubernetes/kubelet.yaml"),
        ("worker1", "systemd:kubelet.service"),
    }
    try:
        until(lambda: sizes(cluster)["worker1"][1]["pods"] == "42", "the node says how many pods it takes")
        assert kept_back(sizes(cluster)["worker1"]) == (250, 1024 + 256 + 200)
        config = cluster.kubectl("get --raw /api/v1/nodes/worker1/proxy/configz")
        assert '"podPidsLimit":500' in config
        assert '"nodefs.available":"10%"' in config, "what is not named stays"
    finally:
        assert cluster.apply(*kubelet).status == 0
    until(lambda: sizes(cluster)["worker1"][1]["pods"] == "110", "the node is as it was")


def test_a_node_that_would_keep_back_all_that_it_has_is_refused(cluster: LabCluster, tmp_path: Path) -> None:
    has = sizes(cluster)["worker1"][0]
    own = f"          node_kube_reserved: {{cpu: '{has['cpu']}', memory: {has['memory']}}}\n"
    inventory = cluster.edited(tmp_path, {worker(cluster): worker(cluster) + own})
    done = provision("apply", inventory, "--json")
    assert done.status == 3, done
    cpu, memory = (problem["reason"] for problem in done.only("Error")["problems"])
    assert cpu.startswith(f"worker1 has {has['cpu']} of CPU, and {has['cpu']} are kept back"), (
        "as the kubelet counts"
    )
    assert cpu.endswith("nothing would be left to pods")
    assert memory.endswith("the kubelet would not start")


@pytest.fixture
def renamed(cluster: LabCluster) -> Iterator[LabCluster]:
    """worker2 calls itself otherwise than the inventory does, as hosts of a cloud do."""
    restart = "systemctl restart kubelet kube-proxy"
    cluster.one("worker2", f"hostname ip-192-0-2-22.example.internal; {restart}")
    yield cluster
    cluster.one("worker2", f"hostname worker2; {restart}")


def test_a_host_may_have_another_name_than_its_node(renamed: LabCluster) -> None:
    started = renamed.one("worker2", "systemctl show --property=ActiveEnterTimestamp --value kubelet")
    moment = renamed.one("worker2", f"date -u -d '{started}' +%Y-%m-%dT%H:%M:%SZ")

    def heard() -> bool:
        lease = renamed.kubectl("-n kube-node-lease get lease worker2 -o jsonpath='{.spec.renewTime}'")
        return lease[:19] > moment[:19]

    until(heard, "the kubelet renews the lease of worker2")
    done = provision("verify", renamed.inventory, "--json")
    assert (done.named("Plan"), done.named("Failed")) == ([], [])
    assert is_verified(done), done
    assert renamed.ready_nodes() == set(NODES)


def test_a_node_that_shall_be_none_is_refused_with_the_way(cluster: LabCluster, tmp_path: Path) -> None:
    for command in ("plan", "apply"):
        done = provision(command, without_cp1(cluster, tmp_path), "--json")
        assert done.status == 1, done
        told = done.only("Error")
        assert "cp1: is a node of the cluster, and the inventory says that it is none" in told["reason"]
        assert "kubectl drain NAME --ignore-daemonsets" in told["hint"]


@pytest.mark.soak
def test_that_way_leads_to_a_control_plane_without_a_node_and_back(
    cluster: LabCluster, tmp_path: Path
) -> None:
    leave = f"""
    {ADMIN} drain cp1 --ignore-daemonsets --delete-emptydir-data --timeout=60s
    systemctl disable --now kubelet
    rm -r /var/lib/kubelet/pki
    {ADMIN} delete node cp1"""
    plan = plan_of(load_inventory(cluster.inventory))
    cluster.one("cp1", leave)
    power_off(plan, "cp1")
    power_on(plan, "cp1")
    try:
        done = provision("apply", without_cp1(cluster, tmp_path), "--json", "--yes")
        assert is_verified(done), done
        assert cluster.ready_nodes() == {"worker1", "worker2"}
        script = "for u in kubelet kube-proxy kube-apiserver; do systemctl is-active $u || :; done"
        assert cluster.one("cp1", script).split() == ["inactive", "inactive", "active"]
        again: Any = provision("plan", without_cp1(cluster, tmp_path), "--json")
        assert (again.status, again.only("Plan")["changes"]) == (0, [])
    finally:
        back = cluster.apply()
    assert is_verified(back), back
    assert cluster.ready_nodes() == set(NODES)
    assert cluster.plan().status == 0


def without_cp1(cluster: LabCluster, folder: Path) -> Path:
    """The inventory with `node: false` at the control plane."""
    line = f"ansible_host: {cluster.address('cp1')}\n"
    return cluster.edited(folder, {line: f"{line}          node: false\n"})
