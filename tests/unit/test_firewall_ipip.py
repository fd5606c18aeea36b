"""IP in IP between nodes (IP protocol 4), before a host's own firewall."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_firewall import ACCEPTING, DENY, OURS, PUBLIC, STRICT, facts

from provisioner.action.firewall import check_firewalls, is_open, ports_of
from provisioner.errors import ProvisionError
from provisioner.inventory.model import load_inventory
from provisioner.spec.calico import Calico, IPPool
from provisioner.spec.model import Flannel, Network, load_spec

LAB = Path(__file__).resolve().parents[2] / "inventories/lab.yaml"
NODE = "10.98.0.21"
RICH = '  rich rules: \n\trule family="ipv4" source address="%s" %s accept\n'
# As nftables 1.0.6, firewalld 1.3.3 and ufw 0.36.2 print them; "ipip" is protocol 94 in /etc/protocols.
CASES: list[tuple[str, str, bool]] = [
    ("nftables", STRICT % "", False),
    ("nftables", STRICT % "meta l4proto { tcp, udp } accept", False),
    ("nftables", STRICT % "udp dport 4789 accept", False),
    ("nftables", STRICT % "meta l4proto ipencap accept", True),
    ("nftables", STRICT % "ip protocol 4 accept", True),
    ("nftables", STRICT % "meta l4proto ipip accept", False),
    ("nftables", STRICT % f"ip saddr {{ {NODE}, 10.98.0.22 }} meta l4proto ipencap accept", True),
    ("nftables", STRICT % f"meta l4proto ipencap ip saddr {NODE} counter packets 0 bytes 0 accept", True),
    ("nftables", STRICT % "ip saddr 192.0.2.1 meta l4proto ipencap accept", False),
    ("nftables", ACCEPTING % "", True),
    ("nftables", ACCEPTING % "meta l4proto != { tcp, udp, icmp } drop", False),
    ("firewalld", PUBLIC % ("", "1-65535/udp"), False),
    ("firewalld", PUBLIC % ("", "") + "  protocols: 4 ipencap\n", True),
    ("firewalld", PUBLIC % ("", "") + "  protocols: ipip vrrp\n", False),
    ("firewalld", PUBLIC % (" provision", "") + OURS, False),
    ("firewalld", PUBLIC % ("", "") + RICH % (NODE, 'protocol value="4"'), True),
    ("firewalld", PUBLIC % ("", "") + RICH % (NODE, 'service name="provision-ipip"'), True),
    ("firewalld", PUBLIC % ("", "") + RICH % (NODE, 'service name="provision-vrrp"'), False),
    ("firewalld", PUBLIC % ("", "") + RICH % ("192.0.2.1", 'service name="provision-ipip"'), False),
    ("ufw", DENY + "4789/udp                   ALLOW IN    Anywhere\n", False),
    ("ufw", DENY + "4789                       ALLOW IN    Anywhere\n", False),
    ("ufw", DENY + f"Anywhere                   ALLOW IN    {NODE}/vrrp\n", False),
    ("ufw", DENY + f"Anywhere                   ALLOW IN    {NODE}                 # provision\n", True),
]
CALICO = Network(plugin="calico", calico=Calico(pools=(IPPool("p", "10.244.0.0/16", encapsulation="IPIP"),)))
CROSSING = Network(
    plugin="calico", calico=Calico(pools=(IPPool("p", "10.244.0.0/16", encapsulation="IPIPCrossSubnet"),))
)


@pytest.mark.parametrize(("kind", "text", "expected"), CASES, ids=range(len(CASES)))
def test_a_protocol_without_ports(kind: str, text: str, expected: bool) -> None:
    assert is_open(facts(firewall=kind, filters=text), "ipip", "", [NODE]) is expected


@pytest.mark.parametrize(
    ("network", "senders"),
    [
        (CALICO, {"cp1": 2, "worker1": 2, "worker2": 2}),
        (CROSSING, {"cp1": 2, "worker1": 2, "worker2": 2}),
        (Network(flannel=Flannel("ipip")), {"cp1": 2, "worker1": 2, "worker2": 2}),
        (Network(), {}),
        (Network(plugin="calico"), {}),
    ],
    ids=["Calico", "Calico between subnets", "flannel", "flannel's vxlan", "Calico's VXLAN"],
)
def test_nodes_hear_each_other_where_the_mode_has_it(network: Network, senders: dict[str, int]) -> None:
    inventory = load_inventory(LAB)
    spec = replace(load_spec(inventory), network=network)
    ports = ports_of(inventory, spec)
    assert {host: len(each.ipip) for host, each in ports.items() if each.ipip} == senders
    assert not any(spec.nodes[host].address in each.ipip for host, each in ports.items())


def test_hosts_that_are_no_nodes_and_ipv6_have_no_part_in_it() -> None:
    inventory = load_inventory(LAB)
    spec = replace(load_spec(inventory), network=CALICO)
    nodes = dict(spec.nodes)
    nodes["worker1"] = replace(nodes["worker1"], address="fd00::21")
    nodes["worker2"] = replace(nodes["worker2"], node=False)
    ports = ports_of(inventory, replace(spec, nodes=nodes))
    assert {host: each.ipip for host, each in ports.items() if each.ipip} == {
        "worker1": (nodes["cp1"].address,)
    }


@pytest.mark.parametrize(
    ("kind", "text", "command"),
    [
        (
            "nftables",
            STRICT % "meta l4proto { tcp, udp } accept",
            f"nft insert rule inet filter input ip saddr {NODE} meta l4proto 4 accept",
        ),
        (
            "firewalld",
            PUBLIC % ("", "1-65535/tcp 1-65535/udp"),
            f'family="ipv4" source address="{NODE}" protocol value="4" accept\' && firewall-cmd --reload',
        ),
        ("ufw", DENY + "1:65535 ALLOW IN Anywhere\n", f"ufw allow from {NODE};"),
    ],
)
def test_a_node_that_does_not_hear_the_others_is_refused(kind: str, text: str, command: str) -> None:
    inventory = load_inventory(LAB)
    spec = replace(load_spec(inventory), network=CALICO)
    if kind == "nftables":  # what pods send passes through
        text = text.replace(
            "hook forward priority filter; policy drop", "hook forward priority filter; policy accept"
        )
    with pytest.raises(ProvisionError) as caught:
        check_firewalls({"cp1": facts(firewall=kind, filters=text)}, ports_of(inventory, spec), spec)
    said = f"cp1: its firewall ({kind}) would drop IP in IP (IP protocol 4) from {NODE}, 10.98.0.22"
    assert caught.value.reason == said
    assert command in caught.value.hint.replace("\n", ";\n")
