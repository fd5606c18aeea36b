"""What a migration refuses before anything is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from migrations import CALICO, CILIUM, COMMON, FLANNEL, NODES, Plane, change, node_facts, pod, row

from provisioner.action.migration.checks import check, check_given_out
from provisioner.engine.events import Event, Note
from provisioner.errors import InputError, ProvisionError


def calico(cidr: str, **more: Any) -> dict[str, Any]:
    return {**COMMON, "plugin": "calico", "calico": {"pools": [{"name": "pods", "cidr": cidr}], **more}}


def flannel(**more: Any) -> dict[str, Any]:
    return {**COMMON, "plugin": "flannel", "flannel": more}


STRANGER = {"nodes": NODES + row("node", "worker3", "10.244.3.0/24", "")}
OUTSIDE = row("node", "cp1", "10.244.0.0/24", "") + row("node", "worker1", "10.200.1.0/24", "")


@pytest.fixture(params=["dash", "busybox"])
def plane(tmp_path: Path, request: pytest.FixtureRequest) -> Plane:
    return Plane(tmp_path, request.param)


@pytest.mark.parametrize(
    ("source", "target", "how", "files"),
    [
        (FLANNEL, CALICO, {}, {}),
        (CALICO, FLANNEL, {}, {"blocks": "10.244.128.0/26 10.244.130.64/26"}),
        (CALICO, FLANNEL, {}, {}),  # it had not come so far that there were definitions
        (FLANNEL, CALICO, {"begun": True}, {}),
        # Nothing is read any more: definitions may be gone.
        (CALICO, FLANNEL, {"begun": True, "phase": "alone"}, {"nodes": "", "blocks": "10.244.1.0/26"}),
        (flannel(port=4789), CALICO, {}, {}),  # VNI 1 and 4096
        (CALICO, calico("10.244.0.0/17"), {}, {}),  # inside one plug-in others check
    ],
)
def test_what_goes(
    plane: Plane, source: dict[str, Any], target: dict[str, Any], how: dict[str, Any], files: dict[str, str]
) -> None:
    said: list[Event] = []
    check(change(source, target, **how), node_facts(), plane.answer(**files), said.append)
    assert said == []


@pytest.mark.parametrize(
    ("source", "target", "files", "reason", "hint"),
    [
        (
            FLANNEL,
            calico("10.244.0.0/16"),
            {},
            (
                "pools: 10.244.0.0/16 meets what flannel gives out: cp1 (10.244.0.0/24), "
                "worker1 (10.244.1.0/24), "
                "worker2 (10.244.2.0/24)"
            ),
            "write pools: [{name: pods, cidr: 10.244.128.0/17}]",
        ),
        (
            FLANNEL,
            calico("10.244.128.0/17"),
            {
                "nodes": row("node", "cp1", "10.244.1.0/24", "")
                + row("node", "worker1", "10.244.192.0/24", "")
            },
            "meets what flannel gives out: worker1 (10.244.192.0/24)",
            "write pools: [{name: pods, cidr: 10.244.128.0/18}]",
        ),
        (
            CALICO,
            FLANNEL,
            {"nodes": OUTSIDE},
            "worker1 has the pod CIDR 10.200.1.0/24, outside 10.244.0.0/16\nworker2 has no pod CIDR of IPv4",
            "--allocate-node-cidrs=true",
        ),
        (
            calico("10.244.0.0/16"),
            FLANNEL,
            {"blocks": "10.244.1.64/26 10.244.77.0/26"},
            (
                "what calico has given out meets the pod CIDRs of nodes, of which flannel would: "
                "10.244.1.64/26 with worker1's 10.244.1.0/24"
            ),
            "pools: [{name: before, cidr: 10.244.128.0/17}]",
        ),
        (
            FLANNEL,
            CILIUM,
            {},
            "both want UDP port 8472",
            "give cilium another port (network.cilium.tunnel_port)",
        ),
        (
            flannel(backend="wireguard"),
            {**CALICO, "calico": {**CALICO["calico"], "wireguard": True}},
            {},
            "both want UDP port 51820",
            "wireguardListeningPort",
        ),
        (
            flannel(port=4789, vni=4096),
            CALICO,
            {},
            "both want UDP port 4789",
            "vxlanPort",
        ),
        (
            FLANNEL,
            {**CILIUM, "cilium": {"tunnel_port": 8473}},
            {},
            "cilium does not move node by node",
            "--strategy all-at-once",
        ),
        (
            FLANNEL,
            {**COMMON, "plugin": "calico", "calico": {"policy_only": True}},
            {},
            "policy_only: true",
            "pools",
        ),
        (FLANNEL, calico("10.244.128.0/17", install="operator"), {}, "operator", "install: manifest"),
        (FLANNEL, CALICO, STRANGER, "nodes that the inventory does not have: worker3", "'kube_node'"),
        (CALICO, calico("10.244.0.0/17"), STRANGER, "does not have: worker3", "kubectl delete node"),
    ],
)
def test_what_is_refused(
    plane: Plane,
    source: dict[str, Any],
    target: dict[str, Any],
    files: dict[str, str],
    reason: str,
    hint: str,
) -> None:
    with pytest.raises(ProvisionError) as caught:
        check(change(source, target), node_facts(), plane.answer(**files), lambda _: None)
    assert reason in caught.value.reason
    said = caught.value
    assert hint in (said.problems[0].hint if isinstance(said, InputError) else said.hint)


def test_static_pods_keep_nobody_waiting_for_ever(plane: Plane) -> None:
    mirrored = pod("kube-system", "log-worker1", "worker1", "10.244.1.9", "Node/worker1", mirror=True)
    plane.answer(pods=mirrored + pod("kube-system", "etcd-cp1", "cp1", "10.0.0.1", host=True, mirror=True))
    with pytest.raises(ProvisionError, match="no API makes them anew: kube-system/log-worker1"):
        check(change(FLANNEL, CALICO), node_facts(), plane, lambda _: None)
    check(change(FLANNEL, CALICO, begun=True), node_facts(), plane, lambda _: None)
    check(change(FLANNEL, CALICO, reverses=True), node_facts(), plane, lambda _: None)


def test_pools_of_others_are_theirs_to_change(plane: Plane) -> None:
    plane.answer(blocks="10.244.1.64/26")
    with pytest.raises(ProvisionError) as caught:
        check_given_out(change(calico("10.244.0.0/16"), FLANNEL), plane)
    assert caught.value.reason == (
        "what calico has given out meets the pod CIDRs of nodes, of which flannel would: "
        "10.244.1.64/26 with worker1's 10.244.1.0/24"
    )
    assert "give it a second pool there (10.244.128.0/17)" in caught.value.hint
    assert "migrate" not in caught.value.hint
    check_given_out(change(CALICO, FLANNEL), plane.answer(blocks="10.244.128.0/26"))
    plane.answer(silent="")
    for source, target in ((FLANNEL, CALICO), (CALICO, calico("10.244.0.0/17"))):
        check_given_out(change(source, target), plane)  # asks nothing


def test_an_api_server_that_does_not_answer_has_not_said_that_there_are_no_blocks(plane: Plane) -> None:
    with pytest.raises(ProvisionError, match="kubectl failed"):
        check(change(CALICO, FLANNEL), node_facts(), plane.answer(silent=""), lambda _: None)


ROUTED = flannel(backend="host-gw")


@pytest.mark.parametrize(
    ("source", "links", "named"),
    [
        (FLANNEL, ("flannel.1",), "flannel.1"),
        (FLANNEL, ("vxlan.calico", "cni0"), "vxlan.calico"),
        (ROUTED, ("eth0",), "eth0"),  # the one sends packets as they are, the other in a tunnel
        (FLANNEL, ("eth0",), ""),
        (FLANNEL, ("lo", "eth0"), "a warning"),
    ],
)
def test_a_strict_filter(plane: Plane, source: dict[str, Any], links: tuple[str, ...], named: str) -> None:
    said: list[Event] = []
    facts = node_facts(worker1=links)
    check(change(source, CALICO, strategy="all-at-once"), facts, plane.answer(), said.append)
    assert said == []
    if named in ("", "a warning"):
        check(change(source, CALICO), facts, plane, said.append)
        assert [
            isinstance(each, Note) and "rp_filter is strict on worker1" in each.message for each in said
        ] == ([True] if named else [])
        return
    with pytest.raises(ProvisionError) as caught:
        check(change(source, CALICO), facts, plane, said.append)
    assert caught.value.reason.startswith(f"worker1: rp_filter is strict on {named}\n")
    assert (
        f"sysctl -w net/ipv4/conf/default/rp_filter=2 net/ipv4/conf/{named}/rp_filter=2`" in caught.value.hint
    )


def cilium(**more: Any) -> dict[str, Any]:
    return {**CILIUM, "cilium": {"tunnel_port": 8473, **more}}


HALF = {"pools": ["10.244.128.0/17"]}


@pytest.mark.parametrize(
    ("source", "target", "reason", "hint"),
    [
        (
            FLANNEL,
            cilium(),
            "pools: 10.244.0.0/16 meets what flannel gives out",
            "write pools: [10.244.128.0/17]",
        ),
        (CALICO, cilium(), "meets what calico gives out: pods-second (10.244.128.0/17)", "[10.244.0.0/17]"),
        (
            cilium(**HALF),
            CALICO,
            "10.244.128.0/17 meets what cilium gives out: 10.244.128.0/17",
            "10.244.0.0/17",
        ),
        (
            FLANNEL,
            cilium(ipam="kubernetes"),
            "flannel and cilium give pods addresses of the same parts",
            "calico first",
        ),
        (
            cilium(ipam="kubernetes"),
            FLANNEL,
            "cilium and flannel give pods addresses of the same parts",
            "calico first",
        ),
        (
            cilium(),
            FLANNEL,
            "what cilium has given out meets the pod CIDRs of nodes",
            "--to flannel afterwards",
        ),
        (FLANNEL, cilium(**HALF), "", ""),
        (cilium(**HALF), FLANNEL, "", ""),
        (CALICO, cilium(ipam="kubernetes"), "", ""),
    ],
)
def test_addresses_of_cilium_s_pods(
    plane: Plane, source: dict[str, Any], target: dict[str, Any], reason: str, hint: str
) -> None:
    said: list[Event] = []
    wanted = change(source, target, strategy="all-at-once")
    if reason:
        with pytest.raises(ProvisionError) as caught:
            check(wanted, node_facts(), plane.answer(), said.append)
        assert reason in caught.value.reason
        assert hint in str(caught.value) + caught.value.hint
    else:
        check(wanted, node_facts(), plane.answer(), said.append)
    assert [each.message for each in said if isinstance(each, Note)] == [
        "a migration to or from cilium has not been run by this project"
    ]
