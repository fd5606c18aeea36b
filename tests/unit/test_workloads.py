"""Which pods are to be made anew, by whom."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from migrations import NODES, Plane, pod, row, workload

from provisioner.kube.workloads import Pod, parse_workloads, read_workloads

POOL = [ipaddress.ip_network("10.244.128.0/17"), ipaddress.ip_network("fd00:244:8000::/33")]


def test_pods_of_their_own_network_that_live() -> None:
    text = (
        pod("a", "plain", "worker1", "10.244.1.2", "ReplicaSet/x")
        + pod("a", "host", "worker1", "10.98.0.21", host=True)
        + pod("a", "static", "worker1", "10.244.1.3", mirror=True)
        + pod("a", "done", "worker1", "10.244.1.4").replace("Running", "Succeeded")
        + pod("a", "failed", "worker1", "10.244.1.5").replace("Running", "Failed")
        + pod("a", "waiting", "", "").replace("Running", "Pending")
        + row("pod", "too", "few")
        + "a line of something else\n"
    )
    assert parse_workloads(text).pods == (
        Pod("a", "plain", "worker1", ("10.244.1.2",), ("ReplicaSet", "x"), uid="uid-plain"),
        Pod("a", "waiting", "", (), None, uid="uid-waiting"),
    )


@pytest.mark.parametrize(
    ("line", "rolls"),
    [
        (workload("Deployment", "w"), True),
        (workload("Deployment", "w", "Recreate"), False),
        (workload("Deployment", "w", paused="true"), False),
        (workload("StatefulSet", "w"), True),
        (workload("StatefulSet", "w", partition="0"), True),
        (workload("StatefulSet", "w", partition="2"), False),
        (workload("StatefulSet", "w", "OnDelete"), False),
        (workload("DaemonSet", "w"), True),
        (workload("DaemonSet", "w", "OnDelete"), False),
    ],
)
def test_what_rolls_by_itself(line: str, rolls: bool) -> None:
    assert [each.rolls for each in parse_workloads(line).workloads.values()] == [rolls]


@pytest.mark.parametrize(
    ("owner", "place"),
    [
        ("ReplicaSet/web-5f", "deployment default/web"),
        ("StatefulSet/db", "statefulset default/db"),
        ("ReplicaSet/bare", ""),
        ("Job/once", ""),
        ("", ""),
    ],
)
def test_the_maker_is_the_deployment_and_not_its_set(owner: str, place: str) -> None:
    text = (
        pod("default", "p", "worker1", "10.244.1.2", owner)
        + row("set", "default", "web-5f", "Deployment", "web")
        + row("set", "default", "bare", "", "")
        + workload("Deployment", "web")
        + workload("StatefulSet", "db")
    )
    reading = parse_workloads(text)
    maker = reading.maker(reading.pods[0])
    assert (maker.place if maker else "") == place


@pytest.mark.parametrize(
    ("addresses", "by_node", "of_all"),
    [
        ("10.244.1.2", False, True),
        ("10.244.2.2", True, True),  # another node's part
        ("10.244.130.2", True, False),
        ("10.244.130.2 fd00:244:9000::2", True, False),
        ("10.244.130.2 fd00:244::2", True, True),  # one of both is enough
        ("", False, False),  # it has not got any yet
    ],
)
def test_pods_outside_of_where_they_are_to_be(addresses: str, by_node: bool, of_all: bool) -> None:
    reading = parse_workloads(NODES + pod("default", "p", "worker1", addresses))
    assert (bool(reading.outside(reading.homes)), bool(reading.outside(POOL))) == (by_node, of_all)


@pytest.mark.parametrize("shell", ["dash", "busybox"])
def test_what_is_asked_is_understood(tmp_path: Path, shell: str) -> None:
    plane = Plane(tmp_path, shell).answer(
        pods=pod("default", "p", "worker1", "10.244.1.2", "StatefulSet/db"),
        workloads=workload("StatefulSet", "db"),
    )
    reading = read_workloads(plane)
    assert [each.name for each in reading.pods] == ["p"]
    assert list(reading.workloads) == [("StatefulSet", "default", "db")]
    assert sorted(reading.homes) == ["cp1", "worker1", "worker2"]
