"""What passes between hosts where pods have two IP families: each by its own way, and to whose address.

With hosts that are apart: tests/hosts/test_between_families.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_firewall import STRICT, facts

from provisioner.action.between import Between
from provisioner.action.betweenround import Host, parties_of
from provisioner.action.firewall import NODE_PORTS
from provisioner.action.losses import unsent
from provisioner.inventory.model import Inventory
from provisioner.spec.calico import Calico, IPPool
from provisioner.spec.cilium import Cilium
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec, Flannel, Network

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ha() -> tuple[Inventory, ClusterSpec]:
    return load_cluster(ROOT / "inventories/ha.yaml")


DUAL = ("10.244.0.0/16", "fd00:244::/56")
FOUR, SIX = " over IPv4", " over IPv6"


def two_pools(four: str, six: str, **more: Any) -> Network:
    pools = tuple(
        IPPool(f"p{number}", cidr, encapsulation=kind)
        for number, (cidr, kind) in enumerate(zip(DUAL, (four, six), strict=True))
    )
    return Network(plugin="calico", pod_cidrs=DUAL, calico=Calico(pools=pools, **more))


def flannel(*what: Any, **more: Any) -> Network:
    return Network(pod_cidrs=DUAL, flannel=Flannel(*what, **more))


def cilium(**more: Any) -> Network:
    return Network(plugin="cilium", pod_cidrs=DUAL, cilium=Cilium(**more))


PLAIN = f"UDP {NODE_PORTS[1]}"
FAMILIES: list[tuple[Network, set[str]]] = [
    (flannel(), {f"UDP 8472{FOUR}", f"UDP 8472{SIX}"}),
    (flannel("host-gw"), {PLAIN + FOUR, PLAIN + SIX}),
    (flannel("wireguard"), {f"UDP 51820{FOUR}", f"UDP 51821{SIX}"}),
    (flannel("wireguard", mode="ipv6"), {f"UDP 51820{SIX}"}),
    (flannel("wireguard", mode="auto"), {f"UDP 51820{FOUR}", f"UDP 51820{SIX}"}),
    (two_pools("VXLAN", "VXLAN"), {f"UDP 4789{FOUR}", f"UDP 4789{SIX}"}),
    (
        two_pools("IPIP", "None"),
        {"IP protocol 4", f"TCP 179{FOUR}", f"TCP 179{SIX}", PLAIN + FOUR, PLAIN + SIX},
    ),
    (
        two_pools("VXLAN", "VXLANCrossSubnet", wireguard=True, typha=True),
        {f"UDP {port}" for port in (f"4789{FOUR}", f"4789{SIX}", f"51820{FOUR}", f"51821{SIX}")}
        | {"TCP 5473"},
    ),
    (cilium(), {f"UDP 8472{FOUR}", "TCP 4240"}),
    (cilium(routing_mode="native"), {PLAIN + FOUR, PLAIN + SIX, "TCP 4240"}),
]


@pytest.mark.parametrize(("network", "whats"), FAMILIES, ids=range(len(FAMILIES)))
def test_of_two_families_each_is_tried_by_the_way_that_it_takes(
    ha: tuple[Inventory, ClusterSpec], network: Network, whats: set[str]
) -> None:
    inventory, spec = ha
    spec = replace(spec, network=network)
    nodes = [name for name, node in spec.nodes.items() if node.node]
    check = Between(inventory, spec, of_both(spec), list(inventory.hosts))
    always = {"TCP 10250", "TCP 6443", "TCP 2379", "TCP 2380", "TCP 5000", f"TCP {spec.endpoint.port}"}
    assert {each.what for each in check.packets} - always == whats
    for each in parties_of(check.packets, check._addresses, check._local, check._seconds).values():
        orders = dict(
            zip(each.sends.values(), each.orders(check._addresses, check._seconds).splitlines(), strict=False)
        )
        for packet, line in orders.items():
            own = spec.nodes[packet.receiver].address
            assert line.split()[2] == (check._seconds[packet.receiver] if packet.version == 6 else own)
    for what in whats:
        mine = [each for each in check.packets if each.what == what]
        pairs = {(each.sender, each.receiver) for each in mine if not each.size}
        assert len(pairs) == len(nodes) * (len(nodes) - 1)
        assert {each.size for each in mine if each.size} <= {1500}
    assert {each.version for each in check.packets if each.size} == {
        6 if each.endswith(SIX) else 4 for each in whats if each.startswith("UDP")
    }


def of_both(spec: ClusterSpec) -> dict[str, Any]:
    """Facts of hosts with an address of each family, of which the second is written nowhere."""
    return {
        name: facts(addresses={"eth0": (f"{node.address}/24", f"fd00::{number}/64")}, mtus={"eth0": 1500})
        for number, (name, node) in enumerate(spec.nodes.items(), 1)
    }


def test_a_firewall_is_asked_for_the_family_by_which_a_packet_comes(
    ha: tuple[Inventory, ClusterSpec],
) -> None:
    inventory, spec = ha
    spec = replace(spec, network=flannel(), firewall="manage")
    known = of_both(spec)
    rule = "ip saddr 0.0.0.0/0 udp dport 8472 accept"
    known["worker1"] = replace(known["worker1"], firewall="nftables", filters=STRICT % rule)
    check = Between(inventory, spec, known, list(inventory.hosts))
    got = {each.what for each in check.packets if each.receiver == "worker1"}
    assert f"UDP 8472{FOUR}" in got
    assert f"UDP 8472{SIX}" not in got
    assert any(f"UDP 8472{SIX}" in line for line in unsent(check._shut, check.packets, known))


@pytest.mark.parametrize(
    ("network", "versions"),
    [
        (flannel("host-gw"), (4, 6)),
        (two_pools("VXLAN", "None"), (6,)),
        (two_pools("None", "IPIP"), (4,)),
        (flannel(), ()),
    ],
)
def test_who_answers_for_an_address_is_asked_where_packets_go_plain(
    ha: tuple[Inventory, ClusterSpec], network: Network, versions: Sequence[int]
) -> None:
    inventory, spec = ha
    spec = replace(spec, network=network)
    known = {
        name: replace(each, macs={"eth0": f"02:00:00:00:00:{number:02}"})
        for number, (name, each) in enumerate(of_both(spec).items())
    }
    check = Between(inventory, spec, known, list(inventory.hosts))
    addresses = {4: spec.nodes["worker1"].address, 6: check._seconds["worker1"]}
    strange = dict.fromkeys(addresses.values(), "02:00:00:00:00:99")
    told = {"cp1": Host(spec.nodes["cp1"].address, neighbours=strange)}
    assert check._neighbours(told) == [
        f"cp1: 02:00:00:00:00:99 answers for worker1 ({addresses[version]}), which has no such link"
        for version in versions
    ]


def test_one_family_is_tried_once(ha: tuple[Inventory, ClusterSpec]) -> None:
    """Whatever other addresses hosts have."""
    inventory, spec = ha
    check = Between(inventory, spec, of_both(spec), list(inventory.hosts))
    assert check._seconds == {}
    assert not any(each.version for each in check.packets)
