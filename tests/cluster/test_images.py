"""Images come from the private registry alone: what is not there fails at once, and nobody else is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lab_cluster import ADMIN, SUBNET, LabCluster, until

SECONDS = 20.0
ABSENT = {"upstream": "docker.io/library/absent:1", "private": "registry.lab.internal:5000/absent:1"}


def test_an_absent_image_fails_fast_and_nobody_else_is_asked(cluster: LabCluster) -> None:
    with watched(cluster, "worker1"), absent_images(cluster):
        until(lambda: set(refusals(cluster)) == set(ABSENT), "pulls that fail", SECONDS)
        for name, message in refusals(cluster).items():
            assert "not found" in message, f"{name}: {message}"
        assert strangers_asked(cluster, "worker1") == 0
        cluster.one("worker1", "ping -c 1 -W 1 192.0.2.1 >/dev/null || :")
        assert strangers_asked(cluster, "worker1") > 0, "the watch sees nothing at all"


def test_what_runs_was_pulled_by_digest_from_the_registry(cluster: LabCluster) -> None:
    pods = cluster.objects("pods -n kube-system") + cluster.objects("pods -n kube-flannel")
    images = {
        each["image"]
        for pod in pods
        for kind in ("containers", "initContainers")
        for each in pod["spec"].get(kind, ())
    }
    assert len(images) >= 3
    assert {image for image in images if not image.startswith("registry.lab.internal:5000/")} == set()
    assert {image for image in images if "@sha256:" not in image} == set()


def refusals(cluster: LabCluster) -> dict[str, str]:
    """The kubelet's words on each pull that failed."""
    found = {}
    for event in cluster.objects("events -n absent-images --field-selector=reason=Failed"):
        if event["message"].startswith("Failed to pull image"):
            found[event["involvedObject"]["name"]] = event["message"]
    return found


@contextmanager
def absent_images(cluster: LabCluster) -> Iterator[None]:
    """Pods of images that no registry has, on worker1."""
    pods = [_pod(name, image) for name, image in ABSENT.items()]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": pods})
    cluster.one("cp1", f"{ADMIN} create namespace absent-images\n{ADMIN} apply -f - <<'END'\n{listed}\nEND\n")
    try:
        yield
    finally:
        cluster.kubectl("delete namespace absent-images --wait=false")


@contextmanager
def watched(cluster: LabCluster, host: str) -> Iterator[None]:
    """Counts what the host itself sends to strangers, and its questions to name servers."""
    known = f"{SUBNET}, 10.244.0.0/16, 10.96.0.0/16, 127.0.0.0/8, 224.0.0.0/4"
    table = f"""
    table inet watch {{
      chain out {{
        type filter hook output priority 0;
        ip daddr != {{ {known} }} counter
        udp dport 53 counter
      }}
    }}"""
    cluster.one(host, f"nft -f - <<'END'\n{table}\nEND\n")
    try:
        yield
    finally:
        cluster.one(host, "nft delete table inet watch")


def strangers_asked(cluster: LabCluster, host: str) -> int:
    """Packets counted by `watched`."""
    found = json.loads(cluster.one(host, "nft -j list table inet watch"))["nftables"]
    rules = [item["rule"] for item in found if "rule" in item]
    return sum(part["counter"]["packets"] for rule in rules for part in rule["expr"] if "counter" in part)


def _pod(name: str, image: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "absent-images"},
        "spec": {
            "nodeName": "worker1",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": image}],
        },
    }
