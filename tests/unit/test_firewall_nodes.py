"""Ports that only nodes send to, and BGP's external peers, are open to those alone: a tunnel knows no sender."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_families import LAB
from test_families import facts as named_hosts
from test_firewall import DENY, OURS, PUBLIC, STRICT, facts

from provisioner.action.families import senders_of
from provisioner.action.firewall import Ports, check_firewalls, is_open, ports_of
from provisioner.errors import ProvisionError
from provisioner.inventory.model import Inventory
from provisioner.playbook.facts import Facts
from provisioner.spec.calico import BGP, BGPPeer, Calico, IPPool
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec, Flannel, Network

PODS = ("10.244.0.0/16", "fd00:244::/56")
OTHERS = ("10.98.0.11", "10.98.0.22")


def ports(network: Network, known: dict[str, Facts] | None = None) -> dict[str, Ports]:
    inventory, spec = load_cluster(LAB)
    return ports_of(inventory, replace(spec, network=network), known or {})


def calico(encapsulation: str, pods: tuple[str, ...] = PODS[:1], **more: Any) -> Network:
    pools = tuple(IPPool(f"p{n}", cidr, encapsulation=encapsulation) for n, cidr in enumerate(pods))
    return Network(plugin="calico", pod_cidrs=pods, calico=Calico(pools=pools, **more))


MODES: list[tuple[Network, tuple[str, ...], tuple[str, ...]]] = [
    (Network(), (), ("8472",)),
    (Network(flannel=Flannel("wireguard")), (), ("51820",)),
    (Network(flannel=Flannel("host-gw")), (), ()),
    (calico("VXLAN", typha=True, wireguard=True), ("5473",), ("4789", "51820")),
    (calico("IPIP"), ("179",), ()),
    (Network(plugin="cilium"), ("4240",), ("8472",)),
]


@pytest.mark.parametrize(("network", "tcp", "udp"), MODES, ids=range(len(MODES)))
def test_each_mode_is_open_to_nodes_alone(
    network: Network, tcp: tuple[str, ...], udp: tuple[str, ...]
) -> None:
    found = ports(network)
    mine = found["worker1"]
    assert set(tcp) <= set(mine.node_tcp)
    assert mine.node_udp == udp
    assert not {*mine.node_tcp, *udp} & {*mine.tcp, *mine.udp}, "nor to everybody"
    assert mine.nodes == (OTHERS if tcp or udp else ())
    assert {"10250", "30000-32767"} <= set(mine.tcp), "which others reach, too"
    assert found["registry1"] == Ports(("5000",))
    assert mine.routers == ()


def test_external_peers_reach_bgp_and_nothing_else() -> None:
    bgp = BGP(
        listen_port=1179,
        peers=(BGPPeer("a", address="192.0.2.1", as_number=1), BGPPeer("b", peers="rack == 'a'")),
    )
    mine = ports(calico("IPIP", bgp=bgp))["worker1"]
    assert (mine.router_tcp, mine.routers) == (("1179",), ("192.0.2.1",))
    assert mine.node_tcp == ("1179",)
    assert list(mine.narrow()) == [("tcp", "1179", OTHERS), ("tcp", "1179", ("192.0.2.1",))]


def test_both_families_and_translated_addresses_are_let_in() -> None:
    network = replace(Network(), pod_cidrs=PODS)
    known = named_hosts("fd00:98::%d/64")
    nodes = ports(network, known)["worker1"].nodes
    assert set(nodes) == {*OTHERS, "fd00:98::11", "fd00:98::22"}
    translated = named_hosts()
    translated["cp1"] = replace(translated["cp1"], addresses={"eth0": ("172.16.0.5/24", "fe80::1/64")})
    assert ports(Network(), translated)["worker1"].nodes == ("10.98.0.11", "172.16.0.5", "10.98.0.22")


def test_where_an_address_is_not_known_everybody_is_let_in_as_ever() -> None:
    """Of hosts beyond --limit there are no facts."""
    mine = ports(replace(Network(), pod_cidrs=PODS))["worker1"]
    assert mine == Ports(("10250", "30000-32767"), ("30000-32767", "8472"))


def test_the_shared_address_belongs_to_no_node() -> None:
    _, spec = load_cluster(LAB)
    shared = replace(spec, load_balancer=replace(spec.load_balancer, vip="10.98.0.9"))
    (one, *_) = named_hosts().values()
    known = {"worker1": replace(one, addresses={"eth0": ("10.98.0.21/24", "10.98.0.9/32", "10.98.0.8/32")})}
    found = senders_of(shared, known)
    assert found is not None
    assert found["worker1"] == ("10.98.0.21", "10.98.0.8")


NARROW = 'rule family="ipv4" source address="%s" service name="provision-nodes" accept'
CASES: list[tuple[str, str, bool]] = [
    ("nftables", STRICT % "ip saddr 10.98.0.11 udp dport 8472 accept", True),
    ("nftables", STRICT % "ip saddr 10.98.0.12 udp dport 8472 accept", False),
    (
        "firewalld",
        PUBLIC % ("", "")
        + f"  rich rules: \n\t{NARROW % '10.98.0.11'}\n"
        + OURS
        + "\nprovision-nodes\n  ports: 8472/udp\n",
        True,
    ),
    (
        "firewalld",
        PUBLIC % ("", "") + f"  rich rules: \n\t{NARROW % '10.98.0.11'}\n\nprovision-nodes\n  ports: 9/udp\n",
        False,
    ),
    ("firewalld", PUBLIC % ("", "") + "\nprovision-nodes\n  ports: 8472/udp\n", False),
    ("ufw", DENY + "8472/udp                   ALLOW IN    10.98.0.11             # provision\n", True),
    ("ufw", DENY + "8472/udp                   ALLOW IN    10.98.0.12\n", False),
]


@pytest.mark.parametrize(("kind", "text", "expected"), CASES, ids=range(len(CASES)))
def test_what_is_open_to_one_node(kind: str, text: str, expected: bool) -> None:
    assert is_open(facts(firewall=kind, filters=text), "udp", "8472", ["10.98.0.11"]) is expected


OWN = ("10.98.0.21", "fd00:98::21")
TO_PODS = "ip daddr 10.244.0.0/16 accept\n\t\tip6 daddr fd00:244::/56 accept"


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("nftables", STRICT % TO_PODS, False),
        ("nftables", STRICT % "ip daddr 10.98.0.0/24 accept", True),
        ("nftables", STRICT % "ip daddr != 10.98.0.21 accept", False),
        ("nftables", STRICT % "ip daddr { 10.98.0.9, 10.98.0.21 } udp dport 8472 accept", True),
        ("ufw", DENY + "10.244.0.0/16              ALLOW IN    Anywhere\n", False),
        ("ufw", DENY + "10.98.0.21                 ALLOW IN    Anywhere\n", True),
    ],
)
def test_what_is_let_through_to_pods_is_not_let_in(kind: str, text: str, expected: bool) -> None:
    """As our own script lets pods through: that says nothing of what is sent to the host."""
    known = facts(firewall=kind, filters=text)
    assert is_open(known, "udp", "8472", ["10.98.0.11"], OWN) is expected
    if "!=" not in text:
        assert is_open(known, "udp", "8472", ["10.98.0.11"]), "where it is sent is not known"


@pytest.fixture(scope="module")
def lab() -> tuple[Inventory, ClusterSpec]:
    return load_cluster(LAB)


@pytest.mark.parametrize(
    ("kind", "text", "command"),
    [
        (
            "nftables",
            STRICT.replace("forward priority filter; policy drop", "forward priority filter; policy accept")
            % "meta l4proto tcp accept\n\t\tudp dport 30000-32767 accept",
            "nft insert rule inet filter input ip saddr { 10.98.0.11, 10.98.0.22 } udp dport 8472 accept",
        ),
        (
            "firewalld",
            PUBLIC % ("", "1-65535/tcp 30000-32767/udp"),
            'rule family="ipv4" source address="10.98.0.22" port port="8472" protocol="udp" accept',
        ),
        (
            "ufw",
            DENY + "1:65535/tcp ALLOW IN Anywhere\n30000:32767/udp ALLOW IN Anywhere\n",
            "ufw allow from 10.98.0.22 to any port 8472 proto udp",
        ),
    ],
)
def test_the_hint_opens_no_more(
    lab: tuple[Inventory, ClusterSpec], kind: str, text: str, command: str
) -> None:
    inventory, spec = lab
    with pytest.raises(ProvisionError) as caught:
        check_firewalls({"worker1": facts(firewall=kind, filters=text)}, ports_of(inventory, spec), spec)
    assert caught.value.reason == f"worker1: its firewall ({kind}) would drop 8472/udp"
    assert command in caught.value.hint
