"""A cluster without any registry: every image comes to each node over SSH, by its digest."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab_cluster import ADMIN, BESIDE, DEFAULT_LAB, LabCluster, is_verified, own_lab

LISTED = "ctr --namespace k8s.io images list --quiet"
PINNED = f"""{LISTED} 'labels."io.cri-containerd.pinned"==pinned' | sort"""
PULLS = "journalctl -q -u containerd --no-pager | grep -c 'PullImage' || :"
NODES = ("cp1", "worker1")


def lab_without_registry(folder: Path) -> Path:
    text = DEFAULT_LAB.read_text()
    registry = text[text.index("    registry:\n      hosts:") : text.index("    etcd:\n")]
    named = text[text.index("        host: registry.lab.internal") : text.index("\n  children:")]
    text = text.replace(registry, "").replace(named, "        preload: true\n")
    path = folder / "preload.yaml"
    path.write_text(text[: text.index("        worker2:")])
    return path


@pytest.mark.soak
def test_a_cluster_comes_up_without_a_registry(tmp_path: Path) -> None:
    source = lab_without_registry(tmp_path)
    name = f"preload-{BESIDE.partition('/')[0].replace('.', '-')}"
    with own_lab(name, source, BESIDE) as lab:
        done = lab.apply()
        assert is_verified(done), done
        nothing_was_pulled(lab)
        assert lab.apply().changed == set()
        lost = lab.one("worker1", f"{LISTED} | grep /pause@").strip()
        lab.one("worker1", f"ctr --namespace k8s.io images label {lost} io.cri-containerd.pinned= >/dev/null")
        assert {each[:2] for each in lab.apply().changed} == {("worker1", f"preloaded_image:{lost}")}


def nothing_was_pulled(lab: LabCluster) -> None:
    images = lab.one(
        "cp1", f"{ADMIN} get pods -A -o jsonpath='{{.items[*].spec.containers[*].image}}'"
    ).split()
    assert images
    for node in NODES:
        assert lab.one(node, PULLS).strip() == "0"
        pinned = lab.one(node, PINNED).split()
        assert set(images) <= set(pinned)
        assert not [each for each in pinned if "@sha256:" not in each]
