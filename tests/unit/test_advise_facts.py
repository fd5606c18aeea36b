"""What hosts tell for advice: judged from facts, and gathered for real on this machine."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from localhost import SHELLS, LocalSession

from provisioner.action import advisefacts
from provisioner.action.advise import Known, advise
from provisioner.action.advisefacts import known_of
from provisioner.errors import InputError
from provisioner.network.advicetable import advice_table
from provisioner.network.site import MODULES
from provisioner.playbook.facts import Facts
from provisioner.playbook.factscript import facts_script
from provisioner.playbook.factsread import parse_facts
from provisioner.spec.calico import BGP, BGPPeer
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec
from provisioner.spec.policies import Policy

BASE = Path(__file__).parents[1] / "data" / "spec" / "base.yaml"
WISHES = {"latency": "yes", "policy": "no", "l7": "no", "encryption": "no", "bgp": "no", "team": "seasoned"}


@pytest.fixture(scope="module")
def spec() -> ClusterSpec:
    return load_cluster(BASE)[1]


def facts(spec: ClusterSpec, **changes: dict[str, Any]) -> dict[str, Facts]:
    """Of its nodes: metal, one subnet, every module; `changes` by host."""
    bare = Facts("amd64", "6.1.0-18", "h", "debian", "12", 0.0, False, 1, {}, "eno1", modules=MODULES)
    alike = replace(bare, mtus={"lo": 65536, "eno1": 1500}, virtual="none")
    return {
        name: replace(alike, **{"addresses": {"eno1": (f"{node.address}/24",)}, **changes.get(name, {})})
        for name, node in spec.nodes.items()
        if node.node
    }


@pytest.mark.parametrize("shell", SHELLS)
def test_links_of_this_machine(shell: str, tmp_path: Path) -> None:
    session = LocalSession(tmp_path, shell)

    def gathered(*, links: bool) -> Facts:
        began, said = time.time(), session.run(facts_script(MODULES, links=links)).stdout
        # Whatever has started this machine.
        return parse_facts("here", re.sub(rb"=init\n.*\n", b"=init\nsystemd\n", said), began)

    found = gathered(links=True)
    assert found.mtus["lo"] == int(Path("/sys/class/net/lo/mtu").read_text())
    assert found.mtus.keys() == {each.name for each in Path("/sys/class/net").iterdir() if each.is_dir()}

    def carries(link: str) -> bool:
        """IFF_UP and IFF_RUNNING (linux/if.h), as the kernel has them; the first is all that sysfs shows."""
        state = Path(f"/sys/class/net/{link}/operstate").read_text().strip()
        up = int(Path(f"/sys/class/net/{link}/flags").read_text(), 16) & 1
        return bool(up) and state in ("up", "unknown")

    assert {*found.idle_links} == {link for link in found.mtus if not carries(link)}
    unasked = gathered(links=False)
    assert unasked.virtual == ""


def test_all_alike(spec: ClusterSpec) -> None:
    known = known_of(spec, {}, facts(spec))
    assert known.answers == {
        "environment": "metal",
        "nodes": "3",
        "subnets": "one",
        "kernel": "6.1",
        "modules": "vxlan,wireguard,ipip,tun",
    }
    assert (known.else_["mtu"], known.else_["mtus_differ"], known.else_["odd_links"]) == (1500, False, ())
    assert known.else_["proxy"] == "iptables"
    assert known.remarks == ()


ODD: list[tuple[str, dict[str, Any], dict[str, str], str]] = [
    ("an old kernel", {"kernel": "4.19.0-26-amd64"}, {"kernel": "4.19"}, "the oldest kernel is that of worker1"),
    ("no version", {"kernel": "custom"}, {"kernel": "unknown"}, ""),
    ("a module is missing", {"modules": ("vxlan",)}, {"modules": "vxlan"}, "wireguard is missing on worker1 alone"),
    ("no module at all", {"modules": ()}, {"modules": "none"}, "vxlan is missing on worker1 alone"),
    ("another subnet", {"addresses": {"eno1": ("10.98.0.21/28",)}}, {"subnets": "several"}, ""),
    ("an address that is translated", {"addresses": {"eno1": ("10.1.0.2/24",)}}, {"subnets": "unknown"}, ""),
    ("a machine of a hypervisor", {"virtual": "kvm"}, {"environment": "vm"}, ""),
    ("a cloud's", {"virtual": "amazon"}, {"environment": "cloud"}, ""),
    ("Hyper-V, or Azure", {"virtual": "microsoft"}, {"environment": "unknown"}, ""),
    ("no root", {"root": False}, {}, "not root on worker1: whether a firewall"),
    ("a firewall", {"firewall": "ufw"}, {}, "ufw is at work on worker1; `cluster.firewall: manage` would open"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "answers", "remark"), ODD, ids=[each[0] for each in ODD])
def test_one_is_not_alike(
    spec: ClusterSpec, name: str, change: dict[str, Any], answers: dict[str, str], remark: str
) -> None:
    known = known_of(spec, {}, facts(spec, worker1=change))
    assert known.answers == {**known_of(spec, {}, facts(spec)).answers, **answers}
    assert remark in "\n".join(known.remarks)
    assert bool(remark) == bool(known.remarks)


def test_mtus_of_the_links_that_nodes_reach_each_other_by(spec: ClusterSpec) -> None:
    def of(**change: Any) -> tuple[int, bool, tuple[str, ...]]:
        found = known_of(spec, {}, facts(spec, worker1=change)).else_
        return found["mtu"], found["mtus_differ"], found["odd_links"]

    assert of(mtus={"lo": 65536, "eno1": 1400}) == (1400, True, ())
    assert of(mtus={"lo": 65536}) == (0, False, ("eno1",)), "not known of all"
    bond: dict[str, Any] = {"addresses": {"bond0": ("10.98.0.21/24",)}}
    assert of(mtus={"lo": 65536, "bond0": 1500}, **bond) == (1500, False, ("bond0",))
    assert of(mtus={"bond0": 1500, "eno1": 1500}, **bond) == (1500, False, ()), (
        "it finds the bond's own links"
    )


def test_links_are_odd_by_the_pattern_that_the_advice_keeps(spec: ClusterSpec) -> None:
    calico = replace(spec.network.calico, felix={"mtuIfacePattern": "^bond"})
    told = replace(spec, network=replace(spec.network, calico=calico))
    bond: dict[str, Any] = {"mtus": {"bond0": 1500}, "addresses": {"bond0": ("10.98.0.21/24",)}}
    assert "bond0" in known_of(spec, {}, facts(spec, worker1=bond)).else_["odd_links"]
    assert "bond0" not in known_of(told, {}, facts(spec, worker1=bond)).else_["odd_links"]


def advised(monkeypatch: pytest.MonkeyPatch, known: Known, **given: str) -> Any:
    monkeypatch.setattr(advisefacts, "read_hosts", lambda path: known)
    names = {each.name for each in advice_table().questions}
    return advise(dict.fromkeys(names) | WISHES | given, BASE, None)


def test_what_is_read_is_advised_on(spec: ClusterSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    advice = advised(monkeypatch, known_of(spec, {"flannel": {"interface": "eno1"}}, facts(spec)))
    assert advice.name == "flannel-host-gw"
    assert advice.section["flannel"] == {"backend": "host-gw", "interface": "eno1"}
    assert {each.name: each.origin for each in advice.answers} == {
        **dict.fromkeys(WISHES, "given"),
        **dict.fromkeys(("environment", "nodes", "subnets", "kernel", "modules"), "read"),
    }
    assert not any("already" in each or "a cluster runs" in each for each in advice.remarks)


def test_a_cluster_that_runs(spec: ClusterSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    running = known_of(spec, {}, facts(spec, cp1={"mark": "{}"}))
    assert any("`apply` refuses others" in each for each in advised(monkeypatch, running).remarks)
    direct = advised(monkeypatch, running, team="new")
    assert direct.name == "flannel-direct"
    assert any("while its nodes change to another mode" in each for each in direct.remarks)
    same = advised(monkeypatch, running, latency="no", team="unknown")
    assert same.name == "flannel-vxlan"
    assert any("has this plug-in in this mode already" in each for each in same.remarks)
    assert not any("a cluster runs there" in each for each in same.remarks)


def test_who_gives_an_answer_knows_better(spec: ClusterSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    advice = advised(monkeypatch, known_of(spec, {}, facts(spec)), nodes="200", kernel="6.1")
    assert {each.name: each.value for each in advice.answers}["nodes"] == "200"
    assert [each for each in advice.remarks if each.startswith("--")] == [
        "--nodes 200 was given and holds here; of the hosts is read: 3"
    ]


def test_routers_that_the_inventory_names(spec: ClusterSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = {"name": "rack", "address": "10.98.0.1", "as_number": 65001}
    own = {"encapsulation": "VXLAN", "bgp": {"as_number": 65000, "peers": [peer]}}
    bgp = BGP(as_number=65000, peers=(BGPPeer("rack", address="10.98.0.1", as_number=65001),))
    calico = replace(spec.network.calico, bgp=bgp)
    has = replace(spec, network=replace(spec.network, plugin="calico", calico=calico))
    apart = facts(spec, worker1={"addresses": {"eno1": ("10.98.0.21/28",)}})
    known = known_of(has, {"plugin": "calico", "calico": own}, apart)
    assert known.answers["bgp"] == "yes"
    advice = advised(monkeypatch, known, policy="yes", bgp="unknown")
    assert advice.name == "calico-routers"
    assert advice.section["calico"] == {"encapsulation": "None", "bgp": own["bgp"]}
    assert advice.fill_in == ()
    bare = advised(monkeypatch, known_of(spec, {}, apart), policy="yes", bgp="yes")
    assert bare.fill_in


def test_policies_that_the_inventory_has_are_wanted(
    spec: ClusterSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = (Policy("deny", ("shop",), "deny"),)
    has = replace(spec, network=replace(spec.network, plugin="calico", policies=policies))
    known = known_of(has, {"plugin": "calico"}, facts(spec))
    assert advised(monkeypatch, known, policy="unknown").plugin == "calico"
    with pytest.raises(InputError, match=r"no was given, and the inventory has network\.policies"):
        advised(monkeypatch, known, policy="no")


def test_hosts_that_cannot_do_what_is_wanted(spec: ClusterSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    old = known_of(spec, {}, facts(spec, worker1={"kernel": "4.19.0", "modules": ("vxlan",)}))
    with pytest.raises(InputError) as caught:
        advised(monkeypatch, old, encryption="yes")
    (problem,) = caught.value.problems
    assert problem.file == "--encryption yes"
    assert (
        "it needs the kernel's module wireguard, which not all nodes have; it needs Linux 5.6"
        in problem.reason
    )
    assert "the kernel's module wireguard is missing on worker1 alone" in caught.value.hint
    assert "the oldest kernel is that of worker1" in caught.value.hint


def test_what_hosts_do_not_tell_is_missed_before_they_are_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreached(path: Path) -> Known:
        raise AssertionError(path)

    monkeypatch.setattr(advisefacts, "read_hosts", unreached)
    with pytest.raises(InputError) as caught:
        advise({"policy": "no"}, BASE, None)
    assert [each.file for each in caught.value.problems] == [
        "--bgp",
        "--encryption",
        "--l7",
        "--latency",
        "--team",
    ]


def test_what_hosts_could_not_tell_is_missed(spec: ClusterSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    known = known_of(spec, {}, facts(spec, worker1={"virtual": "microsoft"}))
    with pytest.raises(InputError, match=r"^--environment: is not given"):
        advised(monkeypatch, known)
    assert advised(monkeypatch, known, environment="unknown").name
