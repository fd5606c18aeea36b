"""Versions that go together: the table is whole, and what it says is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.network.combinations import _rules, misfits, releases_of, version_of
from provisioner.network.needs import needs_of, network_needs
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec, Flannel, Kubernetes, Proxy

LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"
KERNELS = {"cp1": "6.1.0-18-amd64"}


@pytest.fixture(scope="module")
def lab() -> ClusterSpec:
    return load_cluster(LAB)[1]


def calico(spec: ClusterSpec, kubernetes: str = "1.30.1", proxy: str = "iptables") -> ClusterSpec:
    network = replace(spec.network, plugin="calico")
    return replace(spec, network=network, kubernetes=Kubernetes(kubernetes), proxy=Proxy(proxy))


def told(spec: ClusterSpec, image: str, kernels: dict[str, str] | None = None) -> list[tuple[str, bool]]:
    found = misfits(spec, ["x/pause:3.10", image], kernels or KERNELS)
    return [(each.reason.partition(" (")[0], each.untested) for each in found]


def test_what_has_been_tried(lab: ClusterSpec) -> None:
    assert told(calico(lab), "docker.io/calico/node:v3.28.1") == []
    assert told(calico(lab, "1.33.13"), "registry:5000/calico/node:v3.28.5@sha256:0") == [], "our own tests"
    assert told(lab, "ghcr.io/flannel-io/flannel:v0.28.4") == []


def test_what_nobody_has_tried(lab: ClusterSpec) -> None:
    reason = "Calico 3.28 is tested with Kubernetes 1.27 to 1.30, this is 1.34"
    assert told(calico(lab, "1.34.4"), "docker.io/calico/node:v3.28.1") == [(reason, True)]
    assert told(calico(lab), "docker.io/calico/node:v3.40.0") == [
        ("Calico 3.40: nobody has said with which releases of Kubernetes it works", True)
    ]
    old = {"cp1": "4.19.0", "worker1": "6.1.0"}
    assert told(calico(lab, "1.32.1"), "quay.io/calico/node:v3.29.0", old) == [
        ("cp1: Calico 3.29 wants Linux 5.10 or newer", True)
    ]


def test_cilium(lab: ClusterSpec) -> None:
    spec = replace(lab, network=replace(lab.network, plugin="cilium"), kubernetes=Kubernetes("1.30.1"))
    assert told(spec, "quay.io/cilium/cilium:v1.16.5") == []
    reason = "Cilium 1.16 is tested with Kubernetes 1.27 to 1.30, this is 1.33"
    assert told(replace(spec, kubernetes=lab.kubernetes), "r:5000/cilium/cilium:v1.16.5@sha256:0") == [
        (reason, True)
    ]
    assert told(spec, "quay.io/cilium/cilium:v1.16.5", {"cp1": "4.19.0"}) == [
        ("cp1: Cilium 1.16 wants Linux 5.4 or newer", True)
    ]


def test_what_is_broken(lab: ClusterSpec) -> None:
    (first,) = told(calico(lab, proxy="nftables"), "docker.io/calico/node:v3.28.1")
    assert first[0].startswith("Calico 3.28 does not go with proxy.mode nftables: Felix writes")
    assert not first[1]
    assert told(calico(lab, proxy="nftables"), "quay.io/calico/node:v3.29.1") == []
    wireguard = replace(lab, network=replace(lab.network, flannel=Flannel("wireguard")))
    ((reason, untested),) = told(wireguard, "quay.io/coreos/flannel:v0.14.0")
    assert reason.startswith("flannel 0.14 does not go with the back end wireguard")
    assert not untested


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("docker.io/calico/node:v3.28.5", (3, 28)),
        ("registry.lab.internal:5000/p/calico/node:v3.9.1@sha256:0", (3, 9)),
        ("docker.io/calico/node:latest", None),
        ("docker.io/calico/cni:v3.28.5", None),
    ],
)
def test_versions_are_those_of_the_agent(image: str, version: tuple[int, int] | None) -> None:
    assert version_of("calico", [image]) == version


def test_every_line_has_its_source() -> None:
    for name, rules in _rules().items():
        listed = name not in ("operator", "features")
        for rule in (*rules["tested"], *rules["broken"]) if listed else ():
            assert rule["source"], rule
    for rule in _rules()["features"].values():
        assert rule["source"], rule


@pytest.mark.parametrize(
    ("plugin", "version", "kernel"),
    [
        ("calico", "3.28", (3, 10)),
        ("calico", "3.32", (5, 10)),
        ("cilium", "1.15", (4, 19)),
        ("cilium", "1.16", (5, 4)),
    ],
)
def test_a_release_s_kernel_is_the_same_to_the_check_and_to_advice(
    lab: ClusterSpec, plugin: str, version: str, kernel: tuple[int, int]
) -> None:
    spec = replace(lab, network=replace(lab.network, plugin=plugin))
    images = [f"x/{'calico/node' if plugin == 'calico' else 'cilium/cilium'}:v{version}.1"]
    wanted = ".".join(map(str, kernel))
    before = f"{kernel[0]}.{kernel[1] - 1}.0"
    assert network_needs(spec.network, 3, releases_of(images)).kernel == kernel
    assert needs_of(spec).kernel == (0, 0), "what goes with which release is judged by the bundle's"
    lines = [each.reason for each in misfits(spec, images, {"new": f"{wanted}.0", "old": before})]
    assert any(line.startswith("old: ") and f"wants Linux {wanted} or newer" in line for line in lines)
