"""The link that flannel sends by is that of the address by which nodes know each other; else a run is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_families import LAB, LINKS, facts

from provisioner.action.admission import all_faults
from provisioner.action.flannellink import check_flannel_link
from provisioner.action.load import Loaded, Request
from provisioner.errors import ProvisionError
from provisioner.playbook.facts import Facts
from provisioner.playbook.model import Playbook
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec, Flannel

HOST = replace(LINKS, default_link="mgmt0", mtus=dict.fromkeys(LINKS.addresses, 1500))
"""eth1 has the node's addresses, the default route is a link's for logging in."""
BOTH = ("10.244.0.0/16", "fd00:244::/56")


def spec(plugin: str = "flannel", pods: tuple[str, ...] = BOTH[:1], **flannel: Any) -> ClusterSpec:
    lab = load_cluster(LAB)[1]
    network = replace(lab.network, plugin=plugin, pod_cidrs=pods, flannel=Flannel(**flannel))
    return replace(lab, network=network)


def test_hosts_of_the_lab_are_fine() -> None:
    check_flannel_link(spec(), facts())


@pytest.mark.parametrize(
    ("flannel", "reason"),
    [
        ({}, ""),
        ({"interface": "eth7"}, "flannel.interface means eth7 (without an IPv4 address)"),
        ({"interface_regex": "^mgmt|^eth"}, "flannel.interface_regex means mgmt0 (192.0.2.21)"),
        ({"interface_regex": "^wlan"}, "flannel.interface_regex means no link (without an IPv4 address)"),
        ({"can_reach": "8.8.8.8"}, "flannel.can_reach: 8.8.8.8 leads to mgmt0 (192.0.2.21)"),
        (
            {"can_reach": "2001:db8::1"},
            "flannel.can_reach: 2001:db8::1 leads to no link (without an IPv4 address)",
        ),
        # The node's own address: the way to that is the loop-back link.
        ({"can_reach": "10.98.0.21"}, "flannel.can_reach: 10.98.0.21 leads to lo (127.0.0.1)"),
        ({"interface": "eth1"}, ""),
        ({"interface_regex": "^eth"}, ""),
        ({"interface_regex": r"^10\.98\."}, ""),
        ({"can_reach": "10.98.7.1"}, ""),  # by a narrower route
        ({"can_reach": "192.0.2.9"}, ""),  # nobody has asked
    ],
)
@pytest.mark.parametrize("plugin", ["flannel", "canal"])
def test_another_link_than_that_of_the_nodes_address(
    plugin: str, flannel: dict[str, Any], reason: str
) -> None:
    if not reason:
        check_flannel_link(spec(plugin, **flannel), {"worker1": HOST})
        return
    with pytest.raises(ProvisionError) as caught:
        check_flannel_link(spec(plugin, **flannel), {"worker1": HOST, "registry1": HOST})
    assert caught.value.reason == f"worker1: {reason}, the others know it by 10.98.0.21 on eth1"
    assert caught.value.hint == "set network.flannel.interface: eth1"


def named(link: str, address: str) -> Facts:
    links = {"mgmt0": ("192.0.2.21/24",), link: (f"{address}/24",)}
    return replace(HOST, addresses=links, mtus=dict.fromkeys(links, 1500))


def test_links_of_several_names_are_found_by_an_expression() -> None:
    known = {"worker1": named("eth1", "10.98.0.21"), "worker2": named("ens3.7", "10.98.0.22")}
    with pytest.raises(ProvisionError) as caught:
        check_flannel_link(spec(interface="mgmt0"), known)
    assert caught.value.hint == r"set network.flannel.interface_regex: ^(eth1|ens3\.7)$"
    check_flannel_link(spec(interface_regex=caught.value.hint.rpartition(": ")[2]), known)


def test_addresses_that_are_translated() -> None:
    check_flannel_link(spec(), {"worker1": replace(HOST, addresses={"eth0": ("172.31.0.5/20",)})})
    check_flannel_link(spec("calico"), {"worker1": HOST})


def test_the_second_family_is_on_the_same_link() -> None:
    apart = replace(
        HOST, default_link="eth1", addresses={"eth1": ("10.98.0.21/24",), "eth2": ("fd00:98::21/64",)}
    )
    both = spec(pods=BOTH)
    nodes = {**both.nodes, "worker1": replace(both.nodes["worker1"], second_address="fd00:98::21")}
    with pytest.raises(ProvisionError) as caught:
        check_flannel_link(replace(both, nodes=nodes), {"worker1": apart})
    assert "eth1 (without an IPv6 address), the others know it by fd00:98::21 on eth2" in caught.value.reason
    alone = {**both.nodes, "worker1": replace(both.nodes["worker1"], address="fd00:98::21")}
    six = replace(both, nodes=alone, network=replace(both.network, pod_cidrs=BOTH[1:]))
    check_flannel_link(six, {"worker1": replace(apart, default_link="mgmt0")})


def test_it_is_asked_before_anything_changes() -> None:
    inventory, _ = load_cluster(LAB)
    lab = spec(interface="mgmt0")
    known = {**facts(), "worker1": HOST}
    faults = all_faults(
        Loaded(Request(LAB), inventory, lab, Playbook((), (), ""), None, "run"), lab, known, lambda _: None
    )
    said = [each.reason for each in faults if "flannel.interface" in each.reason]
    assert len(said) == 1
    assert "worker1: flannel.interface means mgmt0 (192.0.2.21), the others know it by" in said[0]
