"""`--limit` to one worker: nobody else is touched, and of nobody else but the control plane anything is asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab_cluster import HOSTS, LabCluster, is_verified, restarted

UNIT = "/etc/systemd/system/kube-proxy.service"
PODS = "journalctl --quiet --no-pager -o cat -u containerd | grep -c 'RunPodSandbox.*provision-check.*returns' || :"
LOGINS = "journalctl --quiet --no-pager -o cat -t sshd -t sshd-session | grep -c '^Accepted publickey' || :"


@pytest.fixture
def drifted(cluster: LabCluster) -> Iterator[LabCluster]:
    """The same is wrong on all nodes."""
    cluster.on("kube_control_plane:kube_node", f"sed -i 's/^RestartSec=.*/RestartSec=7/' {UNIT}")
    yield cluster
    done = cluster.apply()
    assert is_verified(done), done
    assert {host for host, _, _ in done.changed} == {"cp1", "worker2"}


def test_only_the_limit_is_changed_and_the_others_are_not_even_reached(drifted: LabCluster) -> None:
    drifted.on("all", "touch /run/before")
    units = drifted.invocations()
    pods = drifted.on("kube_control_plane:kube_node", PODS)
    before = {host: int(count) for host, count in drifted.on("all", LOGINS).items()}
    done = drifted.apply("--limit", "worker1")
    after = {host: int(count) for host, count in drifted.on("all", LOGINS).items()}
    assert is_verified(done), done
    assert {(host, resource) for host, resource, _ in done.changed} == {
        ("worker1", f"file:{UNIT}"),
        ("worker1", "systemd:kube-proxy.service"),
    }
    (proved,) = [each["detail"] for each in done.named("GatePassed") if each["gate"] == "traffic"]
    assert "between 2 nodes" in proved, "the limit, and the control plane to talk with"
    assert done.only("RunStarted")["hosts"] == ["cp1", "worker1"]
    logins = {host: after[host] - before[host] - 1 for host in HOSTS}  # one is the question's own
    assert logins["registry1"] == logins["worker2"] == 0
    assert 0 < logins["worker1"] < 5
    assert 0 < logins["cp1"] < 5
    seen = drifted.on("kube_control_plane:kube_node", PODS)
    assert {host for host in seen if seen[host] != pods[host]} == {"cp1", "worker1"}
    written = drifted.on("all", "find /etc /opt /var/lib/provision -newercc /run/before")
    assert {host for host, paths in written.items() if paths} == {"worker1"}
    assert {unit.partition("/")[0] for unit in restarted(units, drifted.invocations())} <= {"worker1"}
