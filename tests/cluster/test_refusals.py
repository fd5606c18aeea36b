"""What is wrong with the way to a host, and what is said of it."""

from __future__ import annotations

from pathlib import Path

from lab_cluster import HOSTS, LabCluster, provision

TIMEOUT = 100
"""Seconds in which a connection has to come about: nobody who is refused waits for them."""
PATIENT = f"\n          ansible_timeout: {TIMEOUT}"


def test_an_unreachable_host_is_named(cluster: LabCluster, tmp_path: Path) -> None:
    gone = cluster.address("worker2").rpartition(".")[0] + ".99"
    path = cluster.edited(
        tmp_path, {f"ansible_host: {cluster.address('worker2')}": f"ansible_host: {gone}{PATIENT}"}
    )
    done = provision("apply", path, "--json")
    assert done.status == 4, done
    told = done.only("Error")
    assert "worker2" in told["reason"]
    assert gone in told["reason"]
    assert told["hint"]
    assert done.changed == set()
    assert done.seconds < TIMEOUT


def test_a_closed_door_is_told_at_once(cluster: LabCluster, tmp_path: Path) -> None:
    old = f"ansible_host: {cluster.address('worker1')}"
    path = cluster.edited(tmp_path, {old: f"{old}\n          ansible_port: 23{PATIENT}"})
    done = provision("plan", path)
    assert done.status == 4, done
    assert "worker1" in done.stderr
    assert "refused" in done.stderr
    assert "hint: " in done.stderr
    assert done.seconds < TIMEOUT


def test_exec_says_who_said_what(cluster: LabCluster) -> None:
    assert cluster.on("all", "hostname") == {host: host for host in HOSTS}
    done = provision("exec", cluster.inventory, "kube_node", "--", "echo out; echo err >&2; exit 3")
    assert done.status == 1
    for host in ("worker1", "worker2"):
        assert f"{host}: exit status 3" in done.stdout
    assert "cp1" not in done.stdout
