"""A pod network becomes another one under pods that exchange requests, and back: by the command, and after kills."""

from __future__ import annotations

import ipaddress
import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_cluster import BESIDE, NODES, Done, LabCluster, Running, is_verified, own_lab, provision
from migrated import TRACES, inside

_SECONDS = 420.0
_RANDOM = random.Random(20261129)  # noqa: S311  moments, not secrets
KILLS = [
    (index, way, round((index // 2 + _RANDOM.random()) / 5, 2))
    for index, way in enumerate(["there", "back"] * 5)
]
"""Ten parts of what an undisturbed migration tells, five on the way there and five on the way back."""
QUICK = 3
"""The one that every run of the tests tries."""
SECOND_HALF = ipaddress.ip_network("10.244.128.0/17")
FLANNEL = "        plugin: flannel\n"
BACKEND = re.compile(r" {8}flannel:\n {10}backend: vxlan.*\n")
CALICO = "        plugin: calico\n        calico: {pools: [{name: pods-second, cidr: 10.244.128.0/17}]}\n"

LINKS = """
ls /sys/class/net
ip route show proto 196
ip route show proto 80 | sed 's/^/of felix: /'
"""


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LabCluster, Path]]:
    """A cluster with flannel, with all sorts of pods in it, and its inventory as it is with Calico."""
    with own_lab(f"migrate-{BESIDE.partition('/')[0].replace('.', '-')}", subnet=BESIDE) as lab:
        done = lab.apply()
        assert is_verified(done), done
        users(lab)
        path = tmp_path_factory.mktemp("calico") / "inventory.yaml"
        text = lab.inventory.read_text()
        assert FLANNEL in text
        assert BACKEND.search(text)
        path.write_text(BACKEND.sub("", text).replace(FLANNEL, CALICO))
        yield lab, path


def users(lab: LabCluster) -> None:
    """What people run: of each sort of workload one, and a pod that nobody makes anew."""
    pod = {
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {"name": "web", "image": lab.agnhost(), "command": ["/agnhost", "netexec", "--http-port=80"]}
        ],
    }
    labelled = {"metadata": {"labels": {"app": "web"}}, "spec": pod}
    chosen = {"selector": {"matchLabels": {"app": "web"}}, "template": labelled}
    budget = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    objects = [
        thing("apps/v1", "Deployment", "rolling", {**chosen, "replicas": 2}),
        thing("apps/v1", "StatefulSet", "kept", {**chosen, "serviceName": "kept"}),
        thing("apps/v1", "DaemonSet", "deleted", {**chosen, "updateStrategy": {"type": "OnDelete"}}),
        thing("v1", "Pod", "bare", pod),
        thing("v1", "Pod", "of-the-host", {**pod, "hostNetwork": True}),
        thing("policy/v1", "PodDisruptionBudget", "some", budget),
    ]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    lab.one("cp1", f"cat <<'END' | {lab.admin} apply -f - >/dev/null\n{text}\nEND")
    lab.kubectl("wait --for=condition=Ready pod --all --timeout=90s")


def thing(version: str, kind: str, name: str, spec: dict[str, object]) -> dict[str, object]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def migrate(inventory: Path, *words: str) -> Done:
    return provision("migrate", inventory, *words, "--yes", "--json", seconds=_SECONDS)


def test_it_is_planned_before_it_is_done(moved: tuple[LabCluster, Path]) -> None:
    lab, _ = moved
    before = lab.pods()
    planned = provision("migrate", lab.inventory, "--to", "calico", "--plan")
    assert planned.status == 2, planned
    asked = provision("migrate", lab.inventory, "--to", "calico")
    assert asked.status == 1, asked
    assert lab.pods() == before, "nothing is done unasked"
    assert lab.plan().only("Plan")["changes"] == []


def test_flannel_becomes_calico_node_by_node(moved: tuple[LabCluster, Path]) -> None:
    lab, calico = moved
    host = lab.pods()["default/of-the-host"]
    done = migrate(lab.inventory, "--to", "calico")
    measured(done)
    has_network(lab, "calico", without="flannel")
    assert lab.pods()["default/of-the-host"] == host, "pods of the host's network are left alone"
    refused = lab.plan()
    assert refused.status == 3, refused
    assert "migrate" in refused.stdout + refused.stderr, refused
    again = provision("plan", calico, "--json")
    assert again.only("Plan")["changes"] == [], again
    nothing = migrate(lab.inventory, "--to", "calico")
    assert nothing.status == 0, nothing
    assert nothing.named("ExchangeMeasured") == [], nothing


def test_and_back_all_at_once_with_a_kill_between(moved: tuple[LabCluster, Path]) -> None:
    lab, calico = moved
    killed_at(lab, KILLS[QUICK][2], "--rollback", "--strategy", "all-at-once")
    begun = provision("apply", calico, "--json")
    assert begun.status == 1, begun
    assert "--rollback" in begun.stdout + begun.stderr, begun
    done = migrate(lab.inventory, "--rollback", "--strategy", "all-at-once")
    assert done.status == 0, done
    has_network(lab, "flannel", without="calico")
    assert lab.plan().only("Plan")["changes"] == []


@pytest.mark.soak
@pytest.mark.parametrize(("index", "way", "part"), KILLS)
def test_after_a_kill_the_same_command_goes_on(
    moved: tuple[LabCluster, Path], index: int, way: str, part: float
) -> None:
    lab, _ = moved
    words = ["--to", "calico"] if way == "there" else ["--rollback"]
    words += ["--strategy", "all-at-once" if index % 4 > 1 else "node-by-node"]
    killed_at(lab, part, *words)
    done = migrate(lab.inventory, *words)
    assert done.status == 0, done
    new, old = ("calico", "flannel") if way == "there" else ("flannel", "calico")
    has_network(lab, new, without=old)


@pytest.mark.soak
def test_what_was_killed_is_taken_back(moved: tuple[LabCluster, Path]) -> None:
    lab, _ = moved
    for part in (0.35, 0.9):
        killed_at(lab, part, "--to", "calico")
        done = migrate(lab.inventory, "--rollback")
        assert done.status == 0, done
        has_network(lab, "flannel", without="calico")
        assert lab.plan().only("Plan")["changes"] == []


@pytest.mark.soak
def test_calico_goes_from_vxlan_to_bgp_and_back(moved: tuple[LabCluster, Path], tmp_path: Path) -> None:
    lab, calico = moved
    assert migrate(lab.inventory, "--to", "calico").status == 0
    bgp = tmp_path / "bgp.yaml"
    bgp.write_text(calico.read_text().replace("calico: {pools", "calico: {encapsulation: None, pools"))
    refused = provision("apply", bgp, "--json")
    assert refused.status == 3, refused
    for words in (("--to", "calico"), ("--rollback",)):
        done = migrate(bgp, *words)
        measured(done)
        links = lab.on("kube_control_plane:kube_node", LINKS)
        tunnel = words != ("--to", "calico")
        assert all(("vxlan.calico" in each) is tunnel for each in links.values()), links
        assert all(("of felix" in each) is tunnel for each in links.values()), links
        assert not any("metric 9000" in each for each in links.values()), links
    small = tmp_path / "small.yaml"
    pools = "[{name: small, cidr: 10.244.64.0/18, block_size: 28}]"
    small.write_text(re.sub(r"pools: \[.*?\]", f"pools: {pools}", calico.read_text()))
    measured(migrate(small, "--to", "calico"))
    inside(lab, ipaddress.ip_network("10.244.64.0/18"))
    assert provision("plan", small, "--json").only("Plan")["changes"] == []
    measured(migrate(small, "--rollback"))
    assert migrate(lab.inventory, "--to", "flannel").status == 0
    has_network(lab, "flannel", without="calico")


@pytest.mark.soak
def test_flannel_gets_another_back_end(moved: tuple[LabCluster, Path], tmp_path: Path) -> None:
    lab, _ = moved
    path = tmp_path / "gateways.yaml"
    path.write_text(lab.inventory.read_text().replace("backend: vxlan", "backend: host-gw"))
    measured(migrate(path, "--to", "flannel"))
    links = lab.on("kube_control_plane:kube_node", "ls /sys/class/net; ip route")
    assert all("flannel.1" not in each and " via 10." in each for each in links.values()), links
    measured(migrate(path, "--rollback"))
    assert lab.plan().only("Plan")["changes"] == []


def measured(done: Done) -> None:
    """It ended well, every pair of nodes was heard of again, and few requests were lost."""
    assert is_verified(done), done
    told = done.only("ExchangeMeasured")
    assert len(told["pairs"]) == len(NODES) * (len(NODES) - 1), told
    assert all(pair["back"] for pair in told["pairs"]), told
    # How much is lost depends on the machine: a twentieth is more than was ever seen.
    assert told["failed"] * 20 < told["requests"], told


def has_network(lab: LabCluster, plugin: str, *, without: str) -> None:
    """All pods are of the network, and nothing of the other one is on any node."""
    if plugin == "calico":
        inside(lab, SECOND_HALF)
    else:
        homes = {
            each["metadata"]["name"]: ipaddress.ip_network(each["spec"]["podCIDR"])
            for each in lab.objects("nodes")
        }
        for node, home in homes.items():
            inside(lab, home, node)
    left = lab.on("kube_control_plane:kube_node", TRACES[without])
    assert set(left.values()) == {""}, left
    kinds = "daemonsets,deployments,configmaps,serviceaccounts -A"
    assert [
        each["metadata"]["name"] for each in lab.objects(kinds) if without in each["metadata"]["name"]
    ] == []
    crds = [each["metadata"]["name"] for each in lab.objects("customresourcedefinitions")]
    assert any("projectcalico" in each for each in crds) is (plugin == "calico"), crds
    names = {each["metadata"]["name"] for each in lab.objects("pods")}
    assert {"bare", "kept-0", "of-the-host"} <= names, names


def killed_at(lab: LabCluster, part: float, *words: str) -> None:
    """A migration that is killed after a part of the seconds that one takes. Where it was quicker, it is killed when
    it tells of its last step: then nothing is to be done again."""
    running = Running(("migrate", str(lab.inventory), *words, "--yes", "--json"))
    try:
        until = time.monotonic() + 10 + part * 75
        while time.monotonic() < until and running.process.poll() is None:
            time.sleep(0.1)
        running.kill()
    finally:
        running.abandon()
