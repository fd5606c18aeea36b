"""What leaves the spec leaves the cluster: labels, taints, objects. What others put there stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lab_cluster import ADMIN, LabCluster, is_verified, provision

WORKER = "        worker1:\n          ansible_host: 10.98.34.21\n"
MARKED = WORKER + (
    "          node_labels: {example.org/zone: a, disk: fast}\n"
    "          node_taints: ['example.org/dedicated=db:NoSchedule']\n"
)
OLD_ADDON = """
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Namespace
    metadata: {name: old-addon, labels: {provision.dev/component: old}}
  - apiVersion: v1
    kind: Namespace
    metadata: {name: shared, labels: {provision.dev/component: old}}
  - apiVersion: v1
    kind: ConfigMap
    metadata: {name: ours, namespace: old-addon, labels: {provision.dev/component: old}}
  - apiVersion: v1
    kind: ConfigMap
    metadata: {name: theirs, namespace: shared}
  - apiVersion: rbac.authorization.k8s.io/v1
    kind: ClusterRole
    metadata: {name: old-addon, labels: {provision.dev/component: old}}
    rules: []
"""
LEFT = {
    "ClusterRole.rbac.authorization.k8s.io old-addon",
    "ConfigMap old-addon/ours",
    "Namespace old-addon",
    "Namespace shared",
}


@pytest.fixture
def marked(cluster: LabCluster, tmp_path: Path) -> LabCluster:
    """worker1 with two labels and a taint of ours, and two of somebody else."""
    subnet = cluster.subnet.rpartition(".")[0]
    words = {WORKER.replace("10.98.34", subnet): MARKED.replace("10.98.34", subnet)}
    stages = ("--stage", "kubelet", "--stage", "join")
    done = cluster.apply(*stages, inventory=cluster.edited(tmp_path, words))
    assert done.status == 0, done
    cluster.kubectl("label node worker1 theirs=x")
    cluster.kubectl("taint node worker1 theirs=x:PreferNoSchedule")
    return cluster


def test_labels_and_taints_that_left_the_spec(marked: LabCluster) -> None:
    node = json.loads(marked.kubectl("get node worker1 -o json"))
    assert node["metadata"]["labels"]["disk"] == "fast"
    planned = marked.plan().only("Plan")["changes"]
    # A kubelet registers with the taints in its configuration, so that nothing is scheduled before they are set.
    assert [(each["host"], each["resource"], each["keys"]) for each in planned] == [
        ("worker1", "file:/etc/kubernetes/kubelet.yaml", ["sha256"]),
        ("worker1", "systemd:kubelet.service", ["inputs"]),
        ("cp1", "node_marks:worker1", []),
    ]
    assert planned[-1]["action"] == "delete"
    assert planned[-1]["before"] == {
        "left": ["label:disk", "label:example.org/zone", "taint:example.org/dedicated:NoSchedule"]
    }
    done = marked.apply()
    assert is_verified(done), done
    node = json.loads(marked.kubectl("get node worker1 -o json"))
    assert {"disk", "example.org/zone", "theirs"} & node["metadata"]["labels"].keys() == {"theirs"}
    assert [each["key"] for each in node["spec"]["taints"]] == ["theirs"]
    marked.kubectl("label node worker1 theirs-")
    marked.kubectl("taint node worker1 theirs:PreferNoSchedule-")


def test_objects_of_a_component_that_left(cluster: LabCluster) -> None:
    cluster.one(
        "cp1", f"{ADMIN} apply --server-side --field-manager=provision -f - <<'END'\n{OLD_ADDON}\nEND"
    )
    copy = f"{ADMIN} get clusterrole old-addon -o yaml | sed 's/name: old-addon/name: copied/' | {ADMIN} create -f -"
    cluster.one("cp1", copy)
    (planned,) = cluster.plan().only("Plan")["changes"]
    assert (planned["resource"], planned["action"]) == ("components:all", "delete")
    assert set(planned["before"]["old"]) == LEFT
    refused = cluster.apply()
    assert refused.status == 1
    told = refused.only("Error")
    assert "ConfigMap old-addon/ours" in told["reason"]
    assert told["unchanged"]
    assert "resume" not in told, "the same command would ask again"
    assert provision("history", cluster.inventory, "-n", "1", "--json").only("Run")["result"] == "refused"
    done = cluster.apply("--yes")
    assert is_verified(done), done
    names = cluster.kubectl("get namespaces,clusterroles -o name").split()
    assert not {"namespace/old-addon", "clusterrole.rbac.authorization.k8s.io/old-addon"} & set(names)
    assert cluster.kubectl("-n shared get configmap theirs -o name") == "configmap/theirs"
    assert cluster.plan().status == 0
    assert "clusterrole.rbac.authorization.k8s.io/copied" in names, "somebody's copy, label and all"
    cluster.kubectl("delete namespace shared --wait=false")
    cluster.kubectl("delete clusterrole copied")


def test_a_foreign_network_configuration_is_moved_aside(cluster: LabCluster) -> None:
    """The runtime would take it instead of flannel's, by its name."""
    folder = "/etc/cni/net.d"
    cluster.one(
        "worker1", f"echo '{{}}' >{folder}/05-other.conflist; echo '{{}}' >{folder}/87-podman.conflist"
    )
    done = cluster.apply()
    assert is_verified(done), done
    assert done.changed == {("worker1", f"displaced_paths:{folder}", "delete")}
    assert cluster.one("worker1", f"ls {folder}") == "10-flannel.conflist\n87-podman.conflist"
    kept = f"/var/lib/provision/displaced{folder}/05-other.conflist"
    assert cluster.one("worker1", f"cat {kept}; rm {folder}/87-podman.conflist {kept}") == "{}"


def test_mirrors_of_another_configuration_are_carried_over(cluster: LabCluster) -> None:
    """And the runtime, which runs with ours still, is not started anew."""
    config, made = "/etc/containerd/config.toml", "/etc/containerd/certs.d/docker.io"
    old = '[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\nendpoint = ["https://m.example"]\n'
    before = cluster.one("worker1", f"cat {config}; printf '%s' '{old}' >{config}")
    done = cluster.apply()
    assert is_verified(done), done
    assert done.changed == {
        ("worker1", f"migrated_mirrors:{config}", "delete"),
        ("worker1", f"file:{config}", "update"),
    }
    assert cluster.one("worker1", f"cat {config}") == before
    assert 'host."https://m.example"' in cluster.one("worker1", f"cat {made}/hosts.toml")
    assert cluster.plan().status == 0
    cluster.one("worker1", f"rm -r {made} /var/lib/provision/displaced{config}*")


def test_a_host_remembers_what_was_put_there(cluster: LabCluster) -> None:
    lines = cluster.one(
        "worker1", "stat -c %a /var/lib/provision/owned; cat /var/lib/provision/owned"
    ).splitlines()
    assert lines[0] == "600"
    names = {f"{each['kind']}:{each['name']}" for each in map(json.loads, filter(None, lines[1:]))}
    assert {
        "file:/etc/systemd/system/kubelet.service",
        "systemd:kubelet.service",
        "certificate:/etc/kubernetes/pki/kubelet",
        "artifact:/opt/kubernetes/bin/kubelet",
        "unarchive:/opt/cni/bin/cni-plugins",
    } <= names
    assert provision("verify", cluster.inventory, "--json").status == 0
