"""A cluster that the real kubeadm made, on hosts that know nothing of `provision`; its pod network becomes another one,
and flannel again as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from kubeadm import kubeadm_lab
from lab_cluster import NODES, LabCluster, until
from others import Others, becomes_calico_and_comes_back, otherwise_is_refused, users

ASK = "printf 'GET /hostname HTTP/1.0\\r\\n\\r\\n' | timeout 5 nc {} 8080 | tail -n 1"
BY_NAME = "/agnhost connect {}.default.svc.cluster.local:80 --timeout=5s 2>&1 || :"
WORKERS = {"worker1", "worker2"}
pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def lab() -> Iterator[LabCluster]:
    with kubeadm_lab() as made:
        yield made


@pytest.fixture(scope="module")
def pods(lab: LabCluster) -> Mapping[str, str]:
    """Addresses of a pod on each worker, named like it, which tells its name at port 8080. A service of the same name
    stands for it at port 80."""
    image = lab.agnhost()
    items = [each for node in WORKERS for each in (_pod(node, image), _service(node))]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    lab.kubectl(f"apply -f - <<'END'\n{text}\nEND")
    lab.kubectl("wait --for=condition=Ready pod -l answers --timeout=60s")
    found = lab.objects("pods -l answers")
    assert {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in found} == {
        each: each for each in WORKERS
    }
    return {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in found}


def _pod(node: str, image: str) -> dict[str, Any]:
    container = {"name": "agnhost", "image": image, "args": ["netexec", "--http-port=8080"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": node, "labels": {"answers": node}},
        "spec": {"nodeName": node, "containers": [container]},
    }


def _service(node: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": node},
        "spec": {"selector": {"answers": node}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


def test_its_nodes_are_ready_and_are_kubeadms(lab: LabCluster) -> None:
    assert lab.ready_nodes() == set(NODES)
    kept = {each["metadata"]["name"]: each["data"] for each in lab.objects("configmaps -n kube-system")}
    assert "podSubnet: 10.244.0.0/16" in kept["kubeadm-config"]["ClusterConfiguration"]
    assert "clusterCIDR: 10.244.0.0/16" in kept["kube-proxy"]["config.conf"]
    planes = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
    assert {f"kube-system/{each}-cp1" for each in planes} <= set(lab.pods())
    assert set(lab.on("all", "ls -d /var/lib/provision /opt/kubernetes 2>/dev/null || :").values()) == {""}


@pytest.mark.parametrize(("asking", "asked"), [("worker1", "worker2"), ("worker2", "worker1")])
def test_pods_reach_each_other_and_services_by_name(
    lab: LabCluster, pods: Mapping[str, str], asking: str, asked: str
) -> None:
    assert lab.kubectl(f'exec {asking} -- sh -c "{ASK.format(pods[asked])}"') == asked
    by_name = f'exec {asking} -- sh -c "{BY_NAME.format(asked)}"'
    until(lambda: lab.kubectl(by_name) == "", f"{asked} by its service's name")


def test_its_network_becomes_calico_and_comes_back_as_it_was(
    lab: LabCluster, pods: Mapping[str, str], tmp_path: Path
) -> None:
    others = Others(lab, "kube_control_plane:kube_node", 6)
    users(others)
    otherwise_is_refused(others, tmp_path)
    becomes_calico_and_comes_back(others)
    assert {"kube-system/kube-proxy"} <= {name.rpartition("-")[0] for name in lab.pods()}
