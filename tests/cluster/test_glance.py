"""`provision status` and `history` on a real cluster, whole and broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab_cluster import ADMIN, HOSTS, NODES, Done, LabCluster, provision, until

from provisioner.inventory.model import load_inventory
from provisioner.kube.healthscript import UNITS
from provisioner.lab.declared import plan_of
from provisioner.lab.power import power_off, power_on
from provisioner.pki.cluster import FORMAT

KEYS = """find /etc -name '*.key' -path '*pki*' | while read -r f; do
  [ ! -e "${f%.key}.crt" ] || echo "${f%.key}.crt"
done"""
"""Certificates that have a key beside them."""
STARTED = r"""
for u in $(sed -n 's/.*"id":"systemd:\([^"]*\)".*/\1/p' /var/lib/provision/journal | sort -u); do
  ! systemctl cat "$u" >/dev/null 2>&1 || echo "$u"
done
"""
"""Every unit that was ever started by us and is still there."""


def status(cluster: LabCluster) -> tuple[Done, dict[str, Any]]:
    # A glance, whatever is broken: bench/ measures it, this only catches one that waits for something that is dead.
    done = provision("status", cluster.inventory, "--json", seconds=20)
    return done, done.only("Status")


def test_a_healthy_cluster(cluster: LabCluster) -> None:
    done, told = status(cluster)
    assert (done.status, told["healthy"], told["troubles"], told["drift"]) == (0, True, [], 0), told
    assert told["versions"]["kubernetes"] == told["wanted"]
    assert told["versions"]["etcd"].startswith("3.")
    assert [(node["name"], node["ready"]) for node in told["nodes"]] == [(name, True) for name in NODES]
    assert {each["name"] for each in told["components"]} == {*UNITS["kube_control_plane"], "etcd"}
    mark = cluster.one("cp1", "cat /var/lib/provision/cluster.json")
    assert told["uuid"] in mark
    assert told["state_format"] == FORMAT
    assert told["last_run"]["result"] == "ok"


def test_every_service_and_certificate_of_the_playbooks_is_looked_at(cluster: LabCluster) -> None:
    """What the playbooks come to make has to be named in healthscript.UNITS and pki.expiry.FILES."""
    _, told = status(cluster)
    hosts = {host["name"]: host for host in told["hosts"]}
    assert set(hosts) == set(HOSTS)
    for name, host in hosts.items():
        units = {f"{unit}.service" for unit, _ in host["units"]}
        assert set(cluster.one(name, STARTED).split()) == units, name
        keys = cluster.one(name, KEYS)
        assert set(keys.split()) <= {each["path"] for each in host["certificates"]}, name


def test_what_is_broken_is_named(cluster: LabCluster) -> None:
    cluster.one("cp1", f"systemctl stop kube-scheduler; {ADMIN} cordon worker1")
    cluster.one("worker2", "sysctl -w net.ipv4.ip_forward=0")
    done, told = status(cluster)
    cluster.kubectl("uncordon worker1")
    assert done.status == 1
    assert told["troubles"] == ["kube-scheduler on cp1 is inactive"]
    assert {host["name"]: host["drift"] for host in told["hosts"]} == {
        "registry1": 0, "cp1": 1, "worker1": 0, "worker2": 1
    }  # fmt: skip
    assert {node["name"]: node["schedulable"] for node in told["nodes"]}["worker1"] is False
    mended = cluster.apply("--stage", "node settings", "--stage", "controllers")
    assert mended.status == 0, mended
    assert {host for host, _, _ in mended.changed} == {"cp1", "worker2"}


def test_a_dead_etcd_does_not_hold_it_up(cluster: LabCluster) -> None:
    cluster.one("cp1", "systemctl stop etcd")
    try:
        done, told = status(cluster)
    finally:
        cluster.one("cp1", "systemctl start etcd")
        until(lambda: "ok" in cluster.one("cp1", f"{ADMIN} get --raw /readyz || echo no"), "ready again")
    assert done.status == 1
    assert "etcd on cp1 is inactive" in told["troubles"]
    # Controllers that lost their lease meanwhile end, and are started again.
    until(lambda: cluster.plan().status == 0, "all is as wanted again")


def test_a_host_that_is_off(cluster: LabCluster) -> None:
    plan = plan_of(load_inventory(cluster.inventory))
    power_off(plan, "worker1")
    try:
        done, told = status(cluster)
    finally:
        power_on(plan, "worker1")
    assert done.status == 4
    (trouble, *_) = told["troubles"]
    assert trouble.startswith("worker1 is not reached: ")
    assert {host["name"]: host["drift"] for host in told["hosts"]}["cp1"] == 0
    until(lambda: cluster.ready_nodes() == set(NODES), "all nodes are ready", 90)


def test_history_has_the_runs(cluster: LabCluster, first_run: Done, tmp_path: Path) -> None:
    done = provision("history", cluster.inventory, "--json", "-n", "1000")
    runs = {run["run"]: run for run in done.named("Run")}
    ended = first_run.only("RunEnded")
    told = runs[ended["run"]]
    assert (told["result"], told["command"]) == ("ok", "apply")
    assert told["changes"] == len(first_run.named("Changed"))
    one = provision("history", cluster.inventory, "--run", ended["run"], "--json").only("Run")
    assert {(each["host"], each["resource"]) for each in one["changed"]} >= {
        (host, resource) for host, resource, _ in first_run.changed
    }
    other = tmp_path / "inventory.yaml"
    other.write_text(cluster.inventory.read_text())
    assert provision("history", other, "--json").stdout == ""
