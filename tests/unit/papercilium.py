"""Cilium's manifest on paper: what is changed of it, and some of what is not."""

from __future__ import annotations

from typing import Any

import yaml

KEYS = (
    "enable-ipv4", "enable-ipv6", "routing-mode", "tunnel-protocol", "auto-direct-node-routes", "ipam",
    "cluster-pool-ipv4-cidr", "cluster-pool-ipv4-mask-size", "k8s-require-ipv4-pod-cidr",
    "k8s-require-ipv6-pod-cidr", "kube-proxy-replacement", "enable-node-port", "enable-host-port",
    "enable-external-ips", "cni-exclusive",
)  # fmt: skip
"""Those of cilium-config that the chart always writes, as far as the spec has a say in them."""


def _workload(kind: str, name: str, containers: list[str], first: list[str]) -> dict[str, Any]:
    """As the chart renders them: annotations that nobody has given are there, and empty."""
    spec = {
        group: [
            {"name": each, "image": f"quay.io/cilium/{name}:v1", "env": [{"name": "A", "value": "b"}]}
            for each in names
        ]
        for group, names in (("containers", containers), ("initContainers", first))
    }
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {
            "replicas": 2,
            "strategy": {"rollingUpdate": {"maxUnavailable": "50%"}},
            "template": {"metadata": {"annotations": None}, "spec": spec},
        },
    }


def _config(name: str, data: dict[str, str]) -> dict[str, Any]:
    meta = {"name": name, "namespace": "kube-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def paper_cilium() -> list[dict[str, Any]]:
    operator = _workload("Deployment", "cilium-operator", ["cilium-operator"], [])
    operator["spec"]["template"]["metadata"]["annotations"] = {"prometheus.io/port": "9963"}
    relay = {"peer-service": "hubble-peer.kube-system.svc.cluster.local.:443", "dial-timeout": None}
    return [
        _config("cilium-config", {**dict.fromkeys(KEYS, "default"), "enable-policy": "default"}),
        _config("hubble-relay-config", {"config.yaml": yaml.safe_dump(relay)}),
        _workload("DaemonSet", "cilium", ["cilium-agent"], ["config", "mount-cgroup", "clean-cilium-state"]),
        _workload("DaemonSet", "cilium-envoy", ["cilium-envoy"], []),
        operator,
        _workload("Deployment", "hubble-relay", ["hubble-relay"], []),
    ]


IMAGES = tuple(
    f"quay.io/cilium/{name}" for name in ("cilium", "cilium-envoy", "cilium-operator", "hubble-relay")
)
