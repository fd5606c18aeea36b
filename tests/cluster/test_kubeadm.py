"""A cluster that the real kubeadm made, on hosts that know nothing of `provision`: what tests of changes to others'
clusters begin with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from kubeadm import kubeadm_lab
from lab_cluster import NODES, LabCluster

ANSWER = "printf 'GET /hostname HTTP/1.0\\r\\n\\r\\n' | timeout 5 nc {} | tail -n 1"


@pytest.fixture(scope="module")
def lab() -> Iterator[LabCluster]:
    with kubeadm_lab() as made:
        yield made


@pytest.fixture(scope="module")
def pods(lab: LabCluster) -> dict[str, str]:
    """Addresses of pods that tell their names at port 8080, by name; service `all` stands for them at port 80."""
    objects = [_pod(name) for name in ("worker1", "worker2")]
    kubectl(
        lab, f"apply -f - <<'END'\n{json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': objects})}\nEND"
    )
    kubectl(lab, "wait --for=condition=Ready pod -l run=answers --timeout=60s")
    kubectl(lab, "create service clusterip all --tcp=80:8080 && kubectl set selector service all run=answers")
    found = json.loads(kubectl(lab, "get pods -l run=answers -o json"))["items"]
    return {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in found}


def _pod(node: str) -> dict[str, Any]:
    image, args = "registry.k8s.io/e2e-test-images/agnhost:2.53", ["netexec", "--http-port=8080"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": node, "labels": {"run": "answers"}},
        "spec": {"nodeName": node, "containers": [{"name": "agnhost", "image": image, "args": args}]},
    }


def kubectl(lab: LabCluster, words: str) -> str:
    return lab.one("cp1", f"kubectl {words}")


def test_it_is_kubeadms(lab: LabCluster) -> None:
    nodes = json.loads(kubectl(lab, "get nodes -o json"))["items"]
    ready = {
        node["metadata"]["name"]
        for node in nodes
        for each in node["status"]["conditions"]
        if (each["type"], each["status"]) == ("Ready", "True")
    }
    assert ready == set(NODES)
    config = kubectl(
        lab, "-n kube-system get configmap kubeadm-config -o jsonpath='{.data.ClusterConfiguration}'"
    )
    assert "podSubnet: 10.244.0.0/16" in config
    assert set(lab.on("all", "ls -d /var/lib/provision /opt/kubernetes 2>/dev/null || :").values()) == {""}


def test_pods_reach_each_other_and_a_service_by_name(lab: LabCluster, pods: dict[str, str]) -> None:
    for asking, asked in (("worker1", "worker2"), ("worker2", "worker1")):
        command = ANSWER.format(f"{pods[asked]} 8080")
        assert kubectl(lab, f'exec {asking} -- sh -c "{command}"') == asked
    for asking in pods:
        kubectl(lab, f"exec {asking} -- /agnhost connect all.default.svc.cluster.local:80 --timeout=5s")
