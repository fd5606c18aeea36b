"""Faults of pod networks: what is judged by what a node and the API server say, and what people are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from cnioutput import NOW, cluster_output, identity, node_output

from provisioner.action.repair import chosen, doubts
from provisioner.engine.events import FaultFound
from provisioner.errors import InputError, ProvisionError
from provisioner.kube.cnicluster import node_of, parse_cluster
from provisioner.kube.cnifaults import FAULTS, Fault, Seen, faults_of
from provisioner.kube.cniread import Lease, NodeNetwork, parse_node
from provisioner.report.wording import lines_of

CASES = yaml.safe_load((Path(__file__).parents[1] / "data" / "cnifaults.yaml").read_text(encoding="utf-8"))


def judged(case: Mapping[str, Any]) -> list[Fault]:
    node = node_of(parse_cluster(cluster_output(case)), "worker1", "10.0.0.1")
    seen = Seen(
        "worker1", parse_node(node_output(case)), node, case.get("own", True), frozenset({"default.storage"})
    )
    return faults_of(seen)


def short(things: Sequence[str]) -> list[str]:
    """Without the beginnings of ids."""
    return [each.replace(identity("c1")[:13], "c1") for each in things]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_what_is_a_fault(case: Mapping[str, Any]) -> None:
    found = judged(case)
    assert {each.kind: short(each.things) for each in found} == case["faults"]
    assert all(bool(each.mend) != case.get("unmendable", False) for each in found)
    assert all(each.cost for each in found)
    said = " ".join(f"{each.why} {each.mend} {each.cost}" for each in found)
    for words in case.get("told", ()):
        assert words.replace("for gone", f"for {identity('gone')[:13]}") in said


def test_what_mending_needs() -> None:
    left = {
        "leases": {"10.244.1.9": {"container": "gone", "age": 300}},
        "left": ["dead 10.244.1.9 cni-1", "dead 10.1.1.1 x"],
    }
    (fault,) = judged(left)
    assert fault.leases == (Lease("cbr0", "10.244.1.9", identity("gone"), NOW - 300),)
    assert fault.dead == ("cni-1",)
    (fault,) = judged({"complaints": ["100 c1 failed", "90 c1 failed"]})
    (complaint,) = fault.complaints
    assert (complaint.uid, complaint.namespace, complaint.pod) == ("u", "/var/run/netns/cni-1", "ns/pod")


def test_only_pods_that_something_makes_anew_are_deleted() -> None:
    owners = {"bare": "", "static": "Node", "one": "ReplicaSet", "two": "StatefulSet"}
    pods = [{"name": name, "owner": owner, "address": "10.244.7.5"} for name, owner in owners.items()]
    (fault,) = judged({"bridges": ["4: cni0    inet 10.244.7.1/24 scope global cni0\\"], "pods": pods})
    assert [each.name for each in fault.pods] == ["one", "two"]
    assert "deleted: ns/one, ns/two" in fault.mend
    assert fault.cost.endswith("ns/bare, ns/static")


def test_they_are_told_in_the_order_in_which_they_are_mended() -> None:
    case = {
        "binaries": ["bridge is not there"],
        "bridges": ["4: cni0    inet 10.244.7.1/24 scope global cni0\\"],
        "complaints": ["100 c1 failed", "90 c1 failed"],
        "leases": {"10.244.1.9": {"container": "gone", "age": 300}},
        "unavailable": True,
    }
    assert tuple(each.kind for each in judged(case)) == FAULTS


def test_a_node_is_found_by_its_address_or_its_name() -> None:
    nodes = parse_cluster(cluster_output({}))
    assert node_of(nodes, "other", "10.0.0.1") is nodes[0]
    assert node_of(nodes, "node1", "10.0.0.9") is nodes[0]
    assert node_of(nodes, "other", "10.0.0.9") is None


@pytest.mark.parametrize("text", [b"", b"[]", b"{}\n==\n", b'{"items": [1]}\n==\n'])
def test_an_answer_that_is_none(text: bytes) -> None:
    with pytest.raises(ProvisionError, match="cannot be read"):
        parse_cluster(text)


def test_a_node_that_says_nothing_has_no_fault() -> None:
    assert parse_node(b"") == NodeNetwork()
    assert faults_of(Seen("worker1", NodeNetwork(), None)) == []


@pytest.mark.parametrize(
    ("case", "known", "said"),
    [
        ({}, True, []),
        ({"known": None}, True, ["its runtime does not answer"]),
        ({}, False, ["the cluster has no such node"]),
        ({"configuration": "{"}, True, ["10-flannel.conflist is no CNI configuration"]),
        ({"configuration": "[]"}, True, ["10-flannel.conflist is no CNI configuration"]),
        ({"subnet": "10.244.9.1/24"}, True, ["subnet.env is not there, or not of the node's pod CIDR"]),
    ],
)
def test_what_could_not_be_judged_is_said(case: Mapping[str, Any], known: bool, said: Sequence[str]) -> None:
    node = parse_cluster(cluster_output(case))[0] if known else None
    told = list(doubts(Seen("worker1", parse_node(node_output(case)), node)))
    assert len(told) == len(said)
    assert all(words in each for words, each in zip(said, told, strict=True))


def test_what_people_are_told() -> None:
    things = tuple(f"10.0.0.{number}" for number in range(9))
    fault = FaultFound(fault="leases", host="a", things=things, why="w", mend="m", cost="c")
    first, *rest = [line.text.strip() for line in lines_of(fault)]
    assert first == "a  leases: 10.0.0.0, 10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5 and 3 more"
    assert rest == ["why: w", "to mend it: m", "cost: c"]
    fault = FaultFound(fault="leases", host="a", things=("x",), why="w", mend="", cost="c")
    assert [line.text.strip() for line in lines_of(fault)][2:] == ["cannot be mended from here: c"]


def test_only_some_faults() -> None:
    assert chosen(None) == FAULTS
    with pytest.raises(InputError, match="it names no fault"):
        chosen(" ,")
    assert chosen("leases, cni0") == ("cni0", "leases")
    with pytest.raises(InputError, match=r"there is no fault 'lease'.*did you mean 'leases'"):
        chosen("lease")
