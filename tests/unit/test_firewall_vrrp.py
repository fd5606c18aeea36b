"""VRRP between load balancers, before a host's own firewall."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_firewall import ACCEPTING, DENY, OURS, PUBLIC, STRICT, facts

from provisioner.action.firewall import Ports, check_firewalls, is_open, ports_of
from provisioner.errors import ProvisionError
from provisioner.inventory.model import load_inventory
from provisioner.spec.model import load_spec

HA = Path(__file__).resolve().parents[2] / "inventories/ha.yaml"
PEER = "10.98.1.6"
RICH = '  rich rules: \n\trule family="%s" source address="%s" %s accept\n'
CASES: list[tuple[str, str, bool]] = [
    ("nftables", STRICT % "", False),
    ("nftables", STRICT % "tcp dport { 6443, 2379-2380 } accept", False),
    ("nftables", STRICT % "meta l4proto { tcp, udp } th dport 6443 accept", False),
    ("nftables", STRICT % "meta l4proto vrrp accept", True),
    ("nftables", STRICT % "ip protocol 112 accept", True),
    ("nftables", STRICT % f"ip saddr {PEER} meta l4proto vrrp accept", True),
    ("nftables", STRICT % "ip saddr 192.0.2.1 meta l4proto vrrp accept", False),
    ("nftables", STRICT % "ip daddr 224.0.0.18 meta l4proto vrrp accept", False),
    ("nftables", STRICT % f"ip saddr {PEER} accept", True),
    ("nftables", ACCEPTING % "", True),
    ("nftables", ACCEPTING % "meta l4proto != { tcp, udp, icmp } drop", False),
    ("nftables", ACCEPTING % "tcp dport != 22 drop", True),
    ("firewalld", PUBLIC % ("", "1-65535/tcp"), False),
    ("firewalld", PUBLIC % ("", "") + "  protocols: vrrp\n", True),
    ("firewalld", PUBLIC % ("", "") + "  protocols: 112 gre\n", True),
    ("firewalld", PUBLIC % (" vrrp", ""), True),
    ("firewalld", PUBLIC % (" provision", "") + OURS, False),
    ("firewalld", PUBLIC % (" provision", "") + OURS + "  protocols: vrrp\n", True),
    ("firewalld", PUBLIC % ("", "") + OURS + "  protocols: vrrp\n", False),
    ("firewalld", PUBLIC % ("", "") + '  rich rules: \n\trule protocol value="vrrp" accept\n', True),
    ("firewalld", PUBLIC % ("", "") + '  rich rules: \n\trule protocol value="gre" accept\n', False),
    ("firewalld", PUBLIC % ("", "") + RICH % ("ipv4", PEER, 'protocol value="vrrp"'), True),
    ("firewalld", PUBLIC % ("", "") + RICH % ("ipv4", PEER, 'service name="provision-vrrp"'), True),
    ("firewalld", PUBLIC % ("", "") + RICH % ("ipv4", PEER, 'service name="vrrp"'), True),
    ("firewalld", PUBLIC % ("", "") + RICH % ("ipv4", PEER, 'service name="ssh"'), False),
    ("firewalld", PUBLIC % ("", "") + RICH % ("ipv4", PEER, 'protocol value="gre"'), False),
    ("firewalld", PUBLIC % ("", "") + RICH % ("ipv4", "192.0.2.1", 'protocol value="vrrp"'), False),
    ("firewalld", PUBLIC % ("", "") + RICH % ("ipv4", "192.0.2.1", 'service name="provision-vrrp"'), False),
    ("firewalld", PUBLIC % ("", "") + RICH % ("ipv6", "fd00::6", 'service name="provision-vrrp"'), False),
    ("ufw", DENY + "22/tcp                     ALLOW IN    Anywhere\n", False),
    ("ufw", DENY + "6443                       ALLOW IN    Anywhere\n", False),
    ("ufw", DENY + f"Anywhere                   ALLOW IN    {PEER}/vrrp            # provision\n", True),
    ("ufw", DENY + "Anywhere                   ALLOW IN    192.0.2.1/vrrp\n", False),
    ("ufw", DENY + f"Anywhere                   ALLOW IN    {PEER}/gre\n", False),
    ("ufw", DENY + "Anywhere                   ALLOW IN    10.98.1.0/24\n", True),
]


@pytest.mark.parametrize(("kind", "text", "expected"), CASES, ids=range(len(CASES)))
def test_a_protocol_without_ports(kind: str, text: str, expected: bool) -> None:
    assert is_open(facts(firewall=kind, filters=text), "vrrp", "", [PEER]) is expected


def test_load_balancers_hear_each_other_and_nobody_else() -> None:
    inventory = load_inventory(HA)
    ports = ports_of(inventory, load_spec(inventory))
    assert ports["lb1"] == Ports(("6443",), vrrp=(PEER,))
    assert {host for host, each in ports.items() if each.vrrp} == {"lb1", "lb2"}


@pytest.mark.parametrize(
    ("kind", "text", "command"),
    [
        (
            "nftables",
            STRICT % "tcp dport 6443 accept",
            f"nft insert rule inet filter input ip saddr {PEER} meta l4proto 112 accept",
        ),
        (
            "firewalld",
            PUBLIC % ("", "6443/tcp"),
            f'family="ipv4" source address="{PEER}" protocol value="vrrp" accept\' && firewall-cmd --reload',
        ),
        ("ufw", DENY + "6443/tcp ALLOW IN Anywhere\n", f"ufw allow from {PEER} proto vrrp"),
    ],
)
def test_a_deaf_load_balancer_is_refused(kind: str, text: str, command: str) -> None:
    inventory = load_inventory(HA)
    spec = load_spec(inventory)
    host = facts(firewall=kind, filters=text)
    with pytest.raises(ProvisionError) as caught:
        check_firewalls({"lb1": host}, ports_of(inventory, spec), spec)
    assert caught.value.reason == f"lb1: its firewall ({kind}) would drop VRRP (IP protocol 112) from {PEER}"
    assert command in caught.value.hint


def test_a_rule_for_tcp_is_not_met_by_that_for_vrrp() -> None:
    host = facts(
        firewall="firewalld", filters=PUBLIC % ("", "") + RICH % ("ipv4", PEER, 'service name="vrrp"')
    )
    assert not is_open(host, "tcp", "6443", [PEER])
