"""A pod network becomes another one under pods that exchange requests, and back: by the command, and after kills."""

from __future__ import annotations

import ipaddress
import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lab_cluster import BESIDE, NODES, Done, LabCluster, is_verified, own_lab, provision
from migrated import TRACES, Moment, inside, killed_at

_SECONDS = 420.0
_RANDOM = random.Random(20261129)  # noqa: S311  moments, not secrets
MOMENTS: list[Moment] = [
    ("Step", "exchange", 1),
    ("StageStarted", "network", 1),
    ("GateStarted", "network_ready", 1),
    ("Step", "beside", 1),
    ("Step", "turned", 1),
    ("Step", "pods", 1),
    ("Step", "agents end", 1),
    ("Step", "cleaned", 1),
    ("StageStarted", "leftovers", 1),
    ("GateStarted", "traffic", 2),
]
"""Spread over a run."""
KILLS = [
    pytest.param(
        way, moment, round(_RANDOM.uniform(0, 2), 2), strategy, id=f"{way}-{moment[1].replace(' ', '-')}"
    )
    for moment, way, strategy in zip(
        _RANDOM.sample(MOMENTS, len(MOMENTS)),
        ["there", "back"] * 5,
        ["node-by-node", "node-by-node", "all-at-once", "all-at-once"] * 3,
        strict=False,
    )
]
"""A place, and seconds after it."""
SECOND_HALF = ipaddress.ip_network("10.244.128.0/17")
FLANNEL = "        plugin: flannel\n"
BACKEND = re.compile(r" {8}flannel:\n {10}backend: vxlan.*\n")
CALICO = "        plugin: calico\n        calico: {pools: [{name: pods-second, cidr: 10.244.128.0/17}]}\n"

AT_ONCE = ("--strategy", "all-at-once")

NOTES = {"flannel": "flannel.alpha.coreos.com/", "calico": "projectcalico.org/"}
"""How annotations of nodes begin that a plug-in writes."""
LINKS = """
ls /sys/class/net
ip route show proto 196
ip route show proto 80 | sed 's/^/of felix: /'
ip route show proto bird | sed 's/^/of bird: /'
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


def test_it_is_planned_before_it_is_done(moved: tuple[LabCluster, Path], tmp_path: Path) -> None:
    lab, calico = moved
    before = lab.pods()
    planned = provision("migrate", lab.inventory, "--to", "calico", "--plan")
    assert planned.status == 2, planned
    unknown = tmp_path / "ipip.yaml"
    unknown.write_text(calico.read_text().replace("calico: {pools", "calico: {encapsulation: IPIP, pools"))
    refused = provision("migrate", unknown, "--to", "calico", "--plan")
    assert refused.status in (1, 3), refused
    assert "ipip" in refused.stderr.lower(), refused
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
    killed_at(lab, ("Step", "turned", 1), 0.5, "--rollback", *AT_ONCE)
    begun = provision("apply", calico, "--json")
    assert begun.status == 1, begun
    assert "--rollback" in begun.stdout + begun.stderr, begun
    done = migrate(lab.inventory, "--rollback", *AT_ONCE)
    assert done.status == 0, done
    has_network(lab, "flannel", without="calico")
    assert lab.plan().only("Plan")["changes"] == []


@pytest.mark.soak
@pytest.mark.parametrize(("way", "moment", "seconds", "strategy"), KILLS)
def test_after_a_kill_the_same_command_goes_on(
    moved: tuple[LabCluster, Path], way: str, moment: Moment, seconds: float, strategy: str
) -> None:
    lab, _ = moved
    plugin = "calico" if way == "there" else "flannel"
    words = ["--to", "calico"] if way == "there" else ["--rollback"]
    words += ["--strategy", strategy]
    killed_at(lab, moment, seconds, *words)
    done = migrate(lab.inventory, *words)
    assert done.status == 0, done
    has_network(lab, plugin, without="flannel" if way == "there" else "calico")


@pytest.mark.soak
@pytest.mark.parametrize("moment", [("Step", "beside", 1), ("Step", "cleaned", 1)], ids=["both", "alone"])
def test_what_was_killed_is_taken_back(moved: tuple[LabCluster, Path], moment: Moment) -> None:
    lab, _ = moved
    killed_at(lab, moment, 1.0, "--to", "calico")
    done = migrate(lab.inventory, "--rollback")
    assert done.status == 0, done
    has_network(lab, "flannel", without="calico")
    assert lab.plan().only("Plan")["changes"] == []


@pytest.fixture
def deaf(moved: tuple[LabCluster, Path]) -> Iterator[None]:
    """worker2 hears nothing of what comes by Calico's tunnel, and no firewall says so, as where something between the
    hosts drops it."""
    lab, _ = moved
    hook = "type filter hook ingress device $dev priority 0;"
    lab.one(
        "worker2",
        f"dev=$(ip -o route get {lab.address('cp1')} | sed 's/.* dev \\([^ ]*\\) .*/\\1/')\n"
        f'nft add table netdev deaf; nft "add chain netdev deaf in {{ {hook} }}"\n'
        "nft add rule netdev deaf in udp dport 4789 drop",
    )
    yield
    lab.one("worker2", "nft delete table netdev deaf")


@pytest.mark.soak
def test_a_network_that_does_not_carry_is_left_again(moved: tuple[LabCluster, Path], deaf: None) -> None:
    lab, _ = moved
    failed = migrate(lab.inventory, "--to", "calico")
    assert failed.status == 1, failed
    assert "worker2" in failed.only("Failed")["reason"], failed
    assert {"flannel", "calico"} <= {
        name for each in lab.pods() for name in ("flannel", "calico") if name in each
    }
    back = migrate(lab.inventory, "--rollback")
    assert back.status == 0, back
    assert any("losses are not measured" in each["message"] for each in back.named("Note")), back
    has_network(lab, "flannel", without="calico")
    assert lab.plan().only("Plan")["changes"] == []


@pytest.mark.soak
def test_what_users_have_made_for_calico_comes_back_with_it(moved: tuple[LabCluster, Path]) -> None:
    lab, _ = moved
    there, back = (("--to", "calico"), ("--rollback",))
    assert migrate(lab.inventory, *there, *AT_ONCE).status == 0
    policy = {"selector": "app == 'shop'", "order": 7, "types": ["Ingress"], "ingress": [{"action": "Allow"}]}
    rule = thing("crd.projectcalico.org/v1", "GlobalNetworkPolicy", "mine", policy)
    lab.one("cp1", f"cat <<'END' | {lab.admin} create -f - >/dev/null\n{json.dumps(rule)}\nEND")
    gone = migrate(lab.inventory, *back, *AT_ONCE)
    assert gone.status == 0, gone
    told = " ".join(each["message"] for each in gone.named("Note"))
    assert "creates them again: GlobalNetworkPolicy mine" in told, told
    has_network(lab, "flannel", without="calico")
    again = migrate(lab.inventory, *there, *AT_ONCE)
    assert again.status == 0, again
    found = json.loads(lab.kubectl("get globalnetworkpolicies.crd.projectcalico.org mine -o json"))
    assert found["spec"] == policy
    lab.kubectl("delete globalnetworkpolicies.crd.projectcalico.org mine")
    assert migrate(lab.inventory, *back, *AT_ONCE).status == 0


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
        assert all(("of bird" in each) is not tunnel for each in links.values()), links
    killed_at(replace(lab, inventory=bgp), ("Step", "agents", 1), 1.0, "--to", "calico")
    for words in (("--to", "calico"), ("--rollback",)):
        measured(migrate(bgp, *words))
    assert migrate(lab.inventory, "--to", "flannel").status == 0
    has_network(lab, "flannel", without="calico")


@pytest.mark.soak
def test_pods_go_to_smaller_blocks_and_back(moved: tuple[LabCluster, Path], tmp_path: Path) -> None:
    lab, calico = moved
    assert migrate(lab.inventory, "--to", "calico").status == 0
    small = tmp_path / "small.yaml"
    pools = "[{name: small, cidr: 10.244.64.0/18, block_size: 28}]"
    small.write_text(re.sub(r"pools: \[.*?\]", f"pools: {pools}", calico.read_text()))
    killed_at(replace(lab, inventory=small), ("Step", "pods", 1), 0.5, "--to", "calico")
    measured(migrate(small, "--rollback"))
    inside(lab, SECOND_HALF)
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
    for each in lab.objects("nodes"):
        conditions = {one["type"]: one["status"] for one in each["status"]["conditions"]}
        assert conditions.get("NetworkUnavailable", "False") == "False", each
        assert not [name for name in each["metadata"]["annotations"] if name.startswith(NOTES[without])], each
    left = lab.on("kube_control_plane:kube_node", TRACES[without])
    assert set(left.values()) == {""}, left
    kinds = "daemonsets,deployments,configmaps,serviceaccounts -A"
    names = {each["metadata"]["name"] for each in lab.objects(kinds)}
    assert {each for each in names if without in each} <= {f"provision-own-{without}"}
    crds = [each["metadata"]["name"] for each in lab.objects("customresourcedefinitions")]
    assert any("projectcalico" in each for each in crds) is (plugin == "calico"), crds
    names = {each["metadata"]["name"] for each in lab.objects("pods")}
    assert {"bare", "kept-0", "of-the-host"} <= names, names
