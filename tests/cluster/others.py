"""Clusters that others have built, whose pod network becomes another one and theirs again: how that is looked at."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab_cluster import Done, LabCluster, provision
from migrated import TRACES, inside

SECOND_HALF = ipaddress.ip_network("10.244.128.0/17")
FLANNEL = "plugin: flannel\n"
SETTINGS = "        flannel:\n          backend: vxlan\n"
OURS = "ls -d /opt/kubernetes/bin/kubectl /etc/kubernetes/admin.kubeconfig 2>/dev/null || :"
ROLLING: dict[str, Any] = {
    "replicas": 2,
    "selector": {"matchLabels": {"app": "web"}},
    "template": {"metadata": {"labels": {"app": "web"}}},
}


@dataclass(frozen=True)
class Others:
    """`nodes` is the pattern of its nodes, `pairs` how many of them ask each other."""

    lab: LabCluster
    nodes: str
    pairs: int


def users(others: Others) -> None:
    lab = others.lab
    image = lab.on("worker1", "ctr --namespace k8s.io images list -q | grep '/agnhost[@:]' | head -n 1")[
        "worker1"
    ]
    container = {"name": "web", "image": image, "args": ["netexec", "--http-port=80"]}
    pod = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    rolling = {**ROLLING, "template": {**ROLLING["template"], "spec": pod}}
    items = [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "rolling"}, "spec": rolling},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare"}, "spec": pod},
    ]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    lab.one("cp1", f"cat <<'END' | {lab.admin} apply -f - >/dev/null\n{text}\nEND")
    lab.kubectl("wait --for=condition=Ready pod --all --timeout=90s")


def theirs(lab: LabCluster) -> dict[str, Any]:
    """What flannel's manifest makes, as far as it says so itself."""
    return {
        f"{item['kind']} {item['metadata']['name']}": item.get("data")
        or item.get("rules")
        or item.get("spec", {})
        for item in lab.objects("clusterroles,clusterrolebindings,serviceaccounts,configmaps,daemonsets -A")
        if "flannel" in item["metadata"]["name"]
    }


def migrate(others: Others, *words: str) -> Done:
    return provision("migrate", others.lab.inventory, *words, "--yes", "--json", seconds=420)


def measured(others: Others, done: Done, *, part: float) -> None:
    """It ended well, all pairs are heard of again, and no more than a part of the requests was lost."""
    assert done.status == 0, done
    told = done.only("ExchangeMeasured")
    assert len(told["pairs"]) == others.pairs, told
    assert all(pair["back"] for pair in told["pairs"]), told
    # How much is lost depends on the machine.
    assert told["failed"] < told["requests"] * part, told


def otherwise_is_refused(others: Others, folder: Path) -> None:
    """What the inventory says otherwise than it is; nothing is changed by it."""
    before = others.lab.pods()
    for old, new, said in (
        ("10.244.0.0/16", "10.240.0.0/16", "pod_cidrs: flannel has 10.244.0.0/16"),
        ("backend: vxlan", "backend: host-gw", "backend: flannel has the back end vxlan"),
        ("        worker2:\n", "        node2:\n", "call the host node2 worker2, as its node"),
        (FLANNEL, "plugin: calico\n", "no DaemonSet of calico's is in the cluster"),
    ):
        path = others.lab.edited(folder, {**({SETTINGS: ""} if old == FLANNEL else {}), old: new})
        to = "flannel" if "calico" in new else "calico"
        done = provision("migrate", path, "--to", to, "--plan", "--json")
        assert done.status in (1, 3), done
        assert said in done.stdout + done.stderr, done
    assert others.lab.pods() == before


def becomes_calico_and_comes_back(others: Others) -> None:
    """As it was made, down to its settings."""
    lab = others.lab
    before = theirs(lab)
    assert "DaemonSet kube-flannel-ds" in before, before
    found = lab.one("cp1", OURS)
    measured(others, migrate(others, "--to", "calico"), part=0.05)
    inside(lab, SECOND_HALF)
    assert theirs(lab) == {}
    assert lab.kubectl("get namespace kube-flannel --ignore-not-found -o name") == ""
    assert set(lab.on(others.nodes, TRACES["flannel"]).values()) == {""}
    assert lab.one("cp1", OURS) == found, "what this tool asks the cluster with goes with it"

    done = migrate(others, "--rollback", "--strategy", "all-at-once")
    measured(others, done, part=0.3)
    for node in lab.objects("nodes"):
        inside(lab, ipaddress.ip_network(node["spec"]["podCIDR"]), node["metadata"]["name"])
    assert theirs(lab) == before
    assert set(lab.on(others.nodes, TRACES["calico"]).values()) == {""}
    assert not [
        each for each in lab.objects("customresourcedefinitions") if "calico" in each["metadata"]["name"]
    ]
    names = {each["metadata"]["name"] for each in lab.objects("pods")}
    assert "bare" in names, names
