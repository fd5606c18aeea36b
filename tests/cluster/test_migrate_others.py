"""The pod network of clusters that others have built becomes another one, and theirs again: of kubeadm's, and of one
that was built by hand."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from handbuilt import HandBuilt
from kubeadm import kubeadm_lab
from lab_cluster import BESIDE, Done, LabCluster, Running, own_lab, provision
from migrated import TRACES, inside

NET = BESIDE.rpartition(".")[0]
HERE = Path(__file__).parent
SECOND_HALF = ipaddress.ip_network("10.244.128.0/17")
OURS = "ls -d /opt/kubernetes/bin/kubectl /etc/kubernetes/admin.kubeconfig 2>/dev/null || :"
ROLLING: dict[str, Any] = {
    "replicas": 2,
    "selector": {"matchLabels": {"app": "web"}},
    "template": {"metadata": {"labels": {"app": "web"}}},
}


@dataclass(frozen=True)
class Others:
    """A cluster of others': `nodes` is the pattern of its nodes, `lacks` a program that only ours has."""

    lab: LabCluster
    nodes: str
    pairs: int


@contextmanager
def of_kubeadm() -> Iterator[Others]:
    with kubeadm_lab() as lab:
        yield Others(lab, "kube_control_plane:kube_node", 6)


@contextmanager
def by_hand() -> Iterator[Others]:
    source = HERE / "handbuilt_flannel.yaml"
    with own_lab(f"handbuilt-{NET.replace('.', '-')}", source, BESIDE) as lab:
        if not lab.one("cp1", "ls -d /opt/kubernetes 2>/dev/null || :"):
            workers = {"worker1": f"{NET}.21", "worker2": f"{NET}.22"}
            HandBuilt(lab.folder, f"{NET}.11", workers, "flannel").build()
        yield Others(replace(lab, admin="kubectl"), "kube_node", 2)


BUILDERS = {"kubeadm": of_kubeadm, "opt-kubernetes": by_hand}


@pytest.fixture(scope="module", params=[*BUILDERS])
def others(request: pytest.FixtureRequest) -> Iterator[Others]:
    with BUILDERS[request.param]() as made:
        users(made)
        yield made


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


def test_what_the_inventory_says_otherwise_is_refused(others: Others, tmp_path: Path) -> None:
    before = others.lab.pods()
    for old, new, said in (
        ("10.244.0.0/16", "10.240.0.0/16", "pod_cidrs: flannel has 10.244.0.0/16"),
        ("backend: vxlan", "backend: host-gw", "backend: flannel has the back end vxlan"),
        ("        worker2:\n", "        node2:\n", "call the host node2 worker2, as its node"),
        ("plugin: flannel", "plugin: calico", "no DaemonSet of calico's is in the cluster"),
    ):
        path = others.lab.edited(tmp_path, {old: new})
        to = "flannel" if "calico" in new else "calico"
        done = provision("migrate", path, "--to", to, "--plan", "--json")
        assert done.status in (1, 3), done
        assert said in done.stdout + done.stderr, done
    assert others.lab.pods() == before


def test_their_flannel_becomes_calico_and_comes_back_as_it_was(others: Others) -> None:
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


@pytest.mark.soak
@pytest.mark.parametrize("seconds", [24, 41, 63])
def test_after_a_kill_it_goes_on_or_is_taken_back(others: Others, seconds: int) -> None:
    lab = others.lab
    for words in (("--to", "calico"), ("--rollback",)):
        running = Running(("migrate", str(lab.inventory), *words, "--yes", "--json"))
        try:
            time.sleep(seconds)
            running.kill()
        finally:
            running.abandon()
        if words == ("--to", "calico"):
            done = migrate(others, *words)
            assert done.status == 0, done
            inside(lab, SECOND_HALF)
            assert set(lab.on(others.nodes, TRACES["flannel"]).values()) == {""}
    done = migrate(others, "--rollback")
    assert done.status == 0, done
    assert "DaemonSet kube-flannel-ds" in theirs(lab)
    assert set(lab.on(others.nodes, TRACES["calico"]).values()) == {""}
