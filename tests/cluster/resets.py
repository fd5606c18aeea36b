"""How a cluster goes that is stopped in the middle, or of which something is kept."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from lab_cluster import DEFAULT_LAB, HOSTS, LabCluster, Running, edited, is_verified, provision, until


def changed(folder: Path, changes: Mapping[str, str]) -> Path:
    """The default lab with other texts."""
    place = folder / "changed"
    place.mkdir()
    return edited(DEFAULT_LAB, place, changes)


def is_asked_for(lab: LabCluster) -> None:
    """What will be lost is told, and nothing is done unasked."""
    nodes = lab.ready_nodes()
    asked = provision("reset", lab.inventory, "--json")
    assert asked.status == 1, asked
    assert f"{len(nodes)} nodes" in asked.stdout + asked.stderr, asked
    assert lab.ready_nodes() == nodes, "nothing is done unasked"


def stopped(lab: LabCluster, folder: Path) -> None:
    """It does not begin while a host does not answer. One that ends half-way, with the cluster's keys gone, goes on."""
    away = f"{lab.subnet.rpartition('.')[0]}.99"
    elsewhere = {f"ansible_host: {lab.address('worker2')}": f"ansible_host: {away}"}
    unreached = provision("reset", lab.edited(folder, elsewhere), "--yes")
    assert unreached.status == 4, unreached
    assert "\nerror: worker2: " in unreached.stderr, unreached
    assert "--dead" in unreached.stderr
    assert unreached.stderr.endswith("nothing was changed\n")
    assert lab.ready_nodes() == set(HOSTS)
    held = "/etc/kubernetes/kubelet.yaml"
    lab.one("worker1", f"mount --bind {held} {held}")
    lives = "/opt/kubernetes/bin/held"
    lab.one("worker2", f"cp /bin/sleep {lives}; setsid {lives} 900 </dev/null >/dev/null 2>&1 &")
    killed(lab)
    failed = provision("reset", lab.inventory, "--yes", "--json")
    assert failed.status == 1, failed
    reasons = {each["host"]: each["reason"] for each in failed.named("Failed") if each["stage"] == "reset"}
    assert reasons.keys() == {"worker1", "worker2"}
    assert f"file:{held}" in reasons["worker1"]
    assert reasons["worker2"] == f"worker2: was cleared, but looked at again it has a process of {lives}"
    assert failed.only("RunEnded")["resume"] == f"provision reset {lab.inventory}"
    assert lab.one("cp1", "ls /var/lib/provision 2>/dev/null || echo none") == "none"
    lab.one("worker1", f"umount {held}")
    lab.one("worker2", f"kill $(pidof held); rm {lives}")


def killed(lab: LabCluster) -> None:
    """A run dies when etcd's data have gone and the host still knows of etcd: nothing but a reset goes on then."""
    running = Running(("reset", str(lab.inventory), "--yes", "--json"))
    try:
        until(lambda: not lab.one("cp1", "ls /var/lib/etcd 2>/dev/null || :"), "etcd's data go")
        running.kill()
    finally:
        running.abandon()
    assert "etcd.service" in lab.one("cp1", "cat /var/lib/provision/owned")
    refused = lab.apply()
    assert refused.status == 1, refused
    assert f"`provision reset {lab.inventory}` goes on" in refused.stdout + refused.stderr, refused


BESIDE_OTHERS = {
    "        worker1:\n          ansible_host: 10.98.0.21\n": (
        "        worker1:\n          ansible_host: 10.98.0.21\n        registry1:\n"
    )
}
"""The registry's host is a node, too."""
HELD = """
systemctl is-active docker-registry.service || :
ls -A /opt/kubernetes/bin /opt/cni/bin 2>/dev/null | grep -c . || :
ctr --namespace k8s.io images list -q | grep -c . || :
ls /etc/kubernetes /etc/systemd/system/kubelet.service /var/lib/provision/cluster.json 2>/dev/null || :
ls /var/lib/docker-registry/docker/registry/v2/repositories 2>/dev/null || :
"""
"""What a host has of what may be kept, and a line for each thing that may not."""


HEAVY = re.compile("(artifact|unarchive|package|pulled_image|preloaded_image):")


def kept_for_the_next(lab: LabCluster, at_rest: Collection[str]) -> None:
    """What is kept is there for the next cluster. On hosts `at_rest` no runtime ran before the first one, and none that
    could tell of images runs when the next one is planned."""
    hosts = sorted(lab.on("all", ":"))
    gone = provision("reset", lab.inventory, "--keep", "registry,bundle", "--yes", "--json")
    assert gone.status == 0, gone
    told = {note["message"].partition(":")[0]: note["message"] for note in gone.named("Note")}
    assert "the registry with its images (kept)" in told["registry1"]
    held = {host: text.split() for host, text in lab.on("all", HELD).items()}
    assert held["registry1"][0] == "active"
    assert len(held["registry1"]) > 4, "its images"
    for host in hosts:
        assert int(held[host][1]) > 5, held[host]
        # Where its runtime was stopped before the cluster came it is again, and tells nothing.
        assert int(held[host][2]) > 5 or host in at_rest, held[host]
    assert all(len(held[host]) == 3 for host in set(hosts) - {"registry1"}), held
    second = lab.apply()
    assert is_verified(second), second
    sent = {(host, name) for host, name, _ in second.changed if HEAVY.match(name) and host not in at_rest}
    assert not sent, "it was there"
    # The registry is asked anew, since the next cluster's authority is another.
    pushed = [each for each in second.named("Changed") if each["resource"].startswith("image:")]
    assert all(each["detail"].startswith("0 blobs sent") for each in pushed), pushed
