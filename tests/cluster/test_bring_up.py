"""From bare hosts to a verified cluster, and once more, which changes nothing."""

from __future__ import annotations

import pytest
from lab_cluster import HOSTS, NODES, Done, LabCluster, is_verified, left_of_the_check, restarted

GATES = {"registry_ready", "api_ready", "network_ready", "no_anonymous", "traffic"}
STANDING = ("coredns", "kube-flannel")


def test_bare_hosts_become_a_verified_cluster(first_run: Done) -> None:
    assert is_verified(first_run), first_run
    assert {event["gate"] for event in first_run.named("GatePassed")} >= GATES
    assert first_run.named("Failed") == []


def test_the_events_tell_the_whole_run(first_run: Done) -> None:
    events = first_run.events
    started, ended = events[0], events[-1]
    assert (started["event"], ended["event"]) == ("RunStarted", "RunEnded")
    assert started["hosts"] == list(HOSTS)
    assert started["run"] == ended["run"]
    made = first_run.named("Changed")
    per_stage = {event["stage"]: event["changed"] for event in first_run.named("StageEnded")}
    assert {stage: sum(event["stage"] == stage for event in made) for stage in per_stage} == per_stage
    assert {stage: count for stage, count in per_stage.items() if count} == ended["changed"]
    assert {event["host"] for event in made} == set(HOSTS)


def test_all_nodes_are_ready_and_have_their_roles(cluster: LabCluster) -> None:
    assert cluster.ready_nodes() == set(NODES)
    tainted = {node["metadata"]["name"] for node in cluster.objects("nodes") if node["spec"].get("taints")}
    assert tainted == {"cp1"}


def test_the_traffic_check_leaves_nothing(cluster: LabCluster) -> None:
    assert left_of_the_check(cluster) == []


def test_no_way_to_join_is_left(cluster: LabCluster) -> None:
    secrets = {each["type"] for each in cluster.objects("secrets -A")}
    assert "bootstrap.kubernetes.io/token" not in secrets
    found = cluster.on("all", "find /etc/kubernetes /run/provision* -name '*bootstrap*' 2>/dev/null || :")
    assert set(found.values()) == {""}


def test_keys_are_roots_alone(cluster: LabCluster) -> None:
    places = "/etc/kubernetes /etc/docker /var/lib/kubelet/pki /var/lib/provision"
    names = "-name '*.key' -o -name '*.kubeconfig' -o -name '*.pem' -o -name state.json"
    script = f"find {places} -type f \\( {names} \\) -printf '%m %p\\n' 2>/dev/null || :"
    for host, text in cluster.on("all", script).items():
        modes = dict(line.split(" ", 1)[::-1] for line in text.splitlines())
        assert modes, f"{host} has no key at all"
        assert {path: mode for path, mode in modes.items() if mode != "600"} == {}, host


@pytest.mark.parametrize("secret", ["admin", "ca.key", "service-account.key", "apiserver", "state.json"])
def test_workers_hold_nothing_of_the_control_plane(cluster: LabCluster, secret: str) -> None:
    script = f"find /etc/kubernetes /var/lib/provision -name '{secret}*'"
    found = cluster.on("cp1:worker1:worker2", script)
    assert found.pop("cp1")
    assert set(found.values()) == {""}


def test_secrets_are_in_no_log(cluster: LabCluster, first_run: Done) -> None:
    key = cluster.one("cp1", "sed -n 2p /etc/kubernetes/pki/service-account.key")
    assert len(key) > 20
    assert key not in first_run.stdout + first_run.stderr
    escaped = key.replace("/", ".").replace("+", ".")
    assert cluster.one("cp1", f"grep -c '{escaped}' /var/lib/provision/journal || :") == "0"


def test_a_second_apply_changes_nothing(cluster: LabCluster) -> None:
    cluster.on("all", "touch /run/before")
    units, pods = cluster.invocations(), cluster.pods()
    again = cluster.apply()
    assert is_verified(again), again
    assert again.changed == set()
    assert again.only("RunEnded")["changed"] == {}
    assert restarted(units, cluster.invocations()) == set()
    after = cluster.pods()
    assert {name: pod for name, pod in after.items() if name.split("/")[1].startswith(STANDING)} == {
        name: pod for name, pod in pods.items() if name.split("/")[1].startswith(STANDING)
    }
    written = cluster.on("all", "find /etc /opt /var/lib/provision -newercc /run/before")
    assert written == dict.fromkeys(HOSTS, "")


def test_nothing_is_planned(cluster: LabCluster) -> None:
    done = cluster.plan()
    assert (done.status, done.only("Plan")["changes"]) == (0, [])
