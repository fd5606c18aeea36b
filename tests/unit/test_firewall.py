"""Whether a host's firewall lets the cluster's ports through, and the script that opens them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_preflight import GOOD

from provisioner.action.firewall import Ports, check_firewalls, doubts, is_open, kept_in, ports_of
from provisioner.errors import ProvisionError
from provisioner.inventory.model import load_inventory
from provisioner.playbook.facts import Facts
from provisioner.spec.model import load_spec

ROOT = Path(__file__).parents[2]
BASE = ROOT / "tests/data/spec/base.yaml"
OTHERS = ["10.98.0.11", "10.98.0.21"]

STRICT = """\
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		iifname "lo" accept
		tcp dport 22 counter packets 3 bytes 9 accept comment "by hand"
		%s
	}
	chain cluster {
		tcp dport { 6443, 10250 } accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
	}
}
"""
ACCEPTING = STRICT.replace("policy drop", "policy accept")
# text, by what 6443/tcp and 2379-2380/tcp are
NFTABLES: list[tuple[str, bool, bool]] = [
    (STRICT % "", False, False),
    (STRICT % "tcp dport { 6443, 2379-2380 } accept", True, True),
    (STRICT % "tcp dport 2379 accept", False, False),
    (STRICT % "udp dport 6443 accept", False, False),
    (STRICT % "jump cluster", True, False),
    (STRICT % "meta l4proto udp accept", False, False),
    (STRICT % "ip saddr 10.98.0.0/24 accept", True, True),
    (STRICT % "ip saddr { 10.98.0.0/24, 10.0.0.1 } tcp dport 6443 accept", True, False),
    (STRICT % "ip saddr 192.0.2.0/24 accept", False, False),
    (STRICT % "ip saddr @cluster accept", True, True),
    (STRICT % "icmp type echo-request accept", False, False),
    (ACCEPTING % "", True, True),
    (ACCEPTING % "drop", False, False),
    (ACCEPTING % "reject with icmpx admin-prohibited", False, False),
    (ACCEPTING % "tcp dport 6443 drop", False, True),
    (ACCEPTING % "ip saddr 10.98.0.21 tcp dport 6443 reject with tcp reset", True, True),
    (ACCEPTING % "ip saddr 10.98.0.0/24 tcp dport 6443 reject with tcp reset", False, True),
    (ACCEPTING % 'log prefix "accept: " drop', False, False),
    (STRICT % "accept" + ACCEPTING.replace("inet", "ip") % "drop", False, False),
    # What is refused on a condition that is not understood, or not met, is not refused.
    (ACCEPTING % "ip saddr @blocked drop", True, True),
    (ACCEPTING % "ip saddr != 192.0.2.0/24 tcp dport 6443 drop", False, True),
    (ACCEPTING % "ip saddr != 10.98.0.0/24 drop", True, True),
    (ACCEPTING % "ip saddr != { 10.98.0.11, 192.0.2.1 } drop", True, True),
    (ACCEPTING % "tcp flags & (fin | syn) == fin | syn drop", True, True),
    (ACCEPTING % "tcp flags & (fin|syn) == (fin|syn) drop", True, True),
    (ACCEPTING % "tcp flags syn / fin,syn,rst,ack tcp dport 22 drop", True, True),
    (ACCEPTING % "limit rate over 100/second drop", True, True),
    (ACCEPTING % "tcp dport 6443 limit rate over 100/second burst 5 packets drop", True, True),
    (ACCEPTING % 'iifname "eth1" drop', True, True),
    (ACCEPTING % 'iifname != "lo" tcp dport 6443 drop', False, True),
    (ACCEPTING % "ct state invalid drop", True, True),
    (ACCEPTING % "ct state vmap { established : accept, related : accept, invalid : drop }", True, True),
    (ACCEPTING % "tcp dport vmap { 22 : accept, 6443 : drop }", False, True),
    (ACCEPTING % "tcp dport vmap @ports", True, True),
    (ACCEPTING % "tcp dport != { 22, 6443 } drop", True, False),
    (ACCEPTING % "ip saddr . tcp dport { 10.0.0.1 . 22, 10.0.0.2 . 22 } drop", True, True),
    (ACCEPTING % "update @seen { ip saddr limit rate over 9/minute } drop", True, True),
    (ACCEPTING % "ip6 saddr ::/0 drop", True, True),
    (ACCEPTING % "meta nfproto ipv6 drop", True, True),
    (ACCEPTING % "ip6 saddr != fd00::/8 drop", True, True),
    (ACCEPTING % "udp dport != 53 drop", True, True),
    (ACCEPTING % "icmp type != echo-request drop", True, True),
    (ACCEPTING % "meta pkttype != host drop", True, True),
    (ACCEPTING % "meta l4proto != @protocols drop", True, True),
    (ACCEPTING % 'tcp dport 6443 log prefix "no: " level info drop', False, True),
    (ACCEPTING % "meta mark 0x1 drop", True, True),
    (ACCEPTING % "xt match recent counter packets 0 bytes 0 drop", True, True),
    (ACCEPTING % 'meta l4proto tcp xt match "multiport" counter packets 0 bytes 0 drop', True, True),
    (
        ACCEPTING % 'tcp dport 6443 xt match "comment" counter packets 0 bytes 0 xt target "REJECT"',
        False,
        True,
    ),
    (ACCEPTING % "tcp dport 6443 counter packets 0 bytes 0 xt target LOG", True, True),
    (ACCEPTING % "ip daddr 10.0.0.1 drop", True, True),
    (ACCEPTING % "tcp dport 2379 drop", True, True),
    (ACCEPTING % 'iifname "eth1" goto refusal\n\t}\n\tchain refusal {\n\t\tdrop', True, True),
    (ACCEPTING % "jump refusal\n\t}\n\tchain refusal {\n\t\tip saddr @ours return\n\t\tdrop", True, True),
    (
        ACCEPTING % "jump refusal\n\t}\n\tchain refusal {\n\t\tip saddr 192.0.2.1 return\n\t\tdrop",
        False,
        False,
    ),
    # Chains that lead to each other, also in a circle, which the kernel would not take.
    (
        ACCEPTING % "jump a\n\t}\n\tchain a {\n\t\tgoto b\n\t}\n\tchain b {\n\t\ttcp dport 6443 drop",
        False,
        True,
    ),
    (
        ACCEPTING % "goto a\n\t\taccept\n\t}\n\tchain a {\n\t\tjump b\n\t}\n\tchain b {\n\t\tdrop",
        False,
        False,
    ),
    (ACCEPTING % "jump a\n\t\tdrop\n\t}\n\tchain a {\n\t\tgoto b\n\t}\n\tchain b {\n\t\taccept", True, True),
    (ACCEPTING % "tcp dport vmap { 6443 : goto a }\n\t}\n\tchain a {\n\t\treject", False, True),
    (
        ACCEPTING % "jump a\n\t}\n\tchain a {\n\t\tjump b\n\t\tdrop\n\t}\n\tchain b {\n\t\tjump a",
        False,
        False,
    ),
    (
        ACCEPTING
        % (
            "jump c1\n"
            + "".join(f"\t}}\n\tchain c{n} {{\n\t\tjump c{n + 1}\n" for n in range(1, 15))
            + "\t}\n\tchain c15 {\n\t\tdrop"
        ),
        False,
        False,
    ),
    ((STRICT % "").replace("inet", "ip6"), True, True),
    # What lets through may do so port by port.
    (STRICT % "tcp dport { 2379, 2380 } accept", False, True),
    (STRICT % "tcp dport 2379 accept\n\t\ttcp dport { 2380, 6443 } accept", True, True),
    (STRICT % "tcp dport vmap { 22 : accept, 6443 : jump cluster }", True, False),
    (STRICT % "meta l4proto { tcp, udp } th dport 6443 accept", True, False),
    (STRICT % "tcp sport 53 accept", False, False),
    (STRICT % "ip daddr 224.0.0.251 accept", False, False),
    (STRICT % "ct state vmap { established : accept, related : accept, invalid : drop }", False, False),
]


def facts(**changed: Any) -> Facts:
    return Facts(**{**GOOD, **changed})


@pytest.mark.parametrize(("text", "api", "etcd"), NFTABLES, ids=range(len(NFTABLES)))
def test_rules_of_nftables(text: str, api: bool, etcd: bool) -> None:
    host = facts(firewall="nftables", filters=text)
    assert is_open(host, "tcp", "6443", OTHERS) is api
    assert is_open(host, "tcp", "2379-2380", OTHERS) is etcd


PUBLIC = "public (active)\n  target: default\n  interfaces: eth0\n  services: ssh%s\n  ports: %s\n"
DENY = "Default: deny (incoming), allow (outgoing)\n\nTo                         Action      From\n"
OURS = "\nprovision\n  ports: 6443/tcp\n"
OTHER_KINDS: list[tuple[str, str, bool]] = [
    ("firewalld", PUBLIC % ("", "22/tcp"), False),
    ("firewalld", PUBLIC % ("", "6000-7000/tcp 53/udp"), True),
    ("firewalld", PUBLIC % ("", "6443/udp"), False),
    (
        "firewalld",
        "You're performing an operation over default zone ('public'),\nbut your connections/interfaces are in zone 'x'"
        "\nYou most likely need to use --zone=x option.\n\n" + PUBLIC % ("", "6443/tcp"),
        True,
    ),
    ("firewalld", PUBLIC % ("", "6000-6442/tcp 6443-6500/tcp"), True),
    ("firewalld", PUBLIC % ("", "") + "  source-ports: 6443/tcp\n", False),
    (
        "firewalld",
        PUBLIC % ("", "") + "  forward-ports: \n\tport=6443:proto=tcp:toport=6443:toaddr=\n",
        False,
    ),
    ("firewalld", PUBLIC % ("", "") + "  forward-ports: port=6443-6443/tcp\n", False),
    ("firewalld", PUBLIC % (" kube-apiserver", ""), True),
    ("firewalld", PUBLIC % ("", "") + "  protocols: tcp\n", True),
    ("firewalld", "trusted (active)\n  target: ACCEPT\n", True),
    ("firewalld", PUBLIC % (" provision", "") + OURS, True),
    ("firewalld", PUBLIC % ("", "") + OURS, False),
    (
        "firewalld",
        PUBLIC % ("", "") + "\ntrusted (active)\n  target: ACCEPT\n  sources: 10.98.0.0/24\n",
        True,
    ),
    (
        "firewalld",
        PUBLIC % ("", "") + "\ntrusted (active)\n  target: ACCEPT\n  sources: 192.0.2.0/24\n",
        False,
    ),
    ("firewalld", PUBLIC % ("", "") + "\ntrusted\n  target: ACCEPT\n", False),
    ("firewalld", PUBLIC % ("", "") + "\ninternal (active)\n  interfaces: eth1\n  ports: 6443/tcp\n", True),
    (
        "firewalld",
        PUBLIC % ("", "") + '  rich rules: \n\trule family="ipv4" source address="10.98.0.0/24" accept\n',
        True,
    ),
    (
        "firewalld",
        PUBLIC % ("", "6443/tcp") + '  rich rules: \n\trule port port="6443" protocol="tcp" reject\n',
        False,
    ),
    (
        "firewalld",
        PUBLIC % ("", "") + '  rich rules: \n\trule port port="22" protocol="tcp" accept\n',
        False,
    ),
    ("ufw", DENY + "22/tcp ALLOW IN Anywhere\n", False),
    ("ufw", DENY + "6443/tcp                   ALLOW IN    Anywhere\n", True),
    ("ufw", DENY + "6443/tcp                   ALLOW IN    Anywhere                   # the API\n", True),
    ("ufw", DENY + "6443                       ALLOW IN    10.98.0.0/24\n", True),
    ("ufw", DENY + "6443                       ALLOW IN    192.0.2.0/24\n", False),
    ("ufw", DENY + "6000:7000/tcp              ALLOW IN    Anywhere\n", True),
    ("ufw", DENY + "22,6443,30000:32767/tcp    ALLOW IN    Anywhere\n", True),
    ("ufw", DENY + "6443/tcp                   DENY IN     Anywhere\n6443/tcp ALLOW IN    Anywhere\n", False),
    ("ufw", DENY + "6443/tcp                   DENY IN     192.0.2.1\n6443/tcp ALLOW IN    Anywhere\n", True),
    ("ufw", DENY + "6443/tcp                   ALLOW OUT   Anywhere\n", False),
    ("ufw", DENY + "Anywhere                   ALLOW FWD   10.98.0.0/24\n", False),
    ("ufw", DENY + "10.98.0.11 6443/tcp        ALLOW IN    Anywhere\n", True),
    ("ufw", DENY + "6443/tcp on eth0           ALLOW IN    Anywhere\n", True),
    ("ufw", DENY + "6443/tcp (v6)              ALLOW IN    Anywhere (v6)\n", False),
    ("ufw", DENY + "6443/tcp                   LIMIT IN    Anywhere\n", True),
    ("ufw", DENY + "Anywhere                   ALLOW IN    10.98.0.0/24 53/udp\n", False),
    ("ufw", DENY + "Anywhere                   ALLOW IN    10.98.0.0/24               (log)\n", True),
    ("ufw", DENY + "Anywhere on eth1           DENY IN     Anywhere\n6443 ALLOW IN    Anywhere\n", True),
    ("ufw", DENY + "ALLOW IN Anywhere\nALLOW\n", False),
    ("ufw", "Default: allow (incoming)\n", True),
    ("ufw", "Default: allow (incoming)\n6443/tcp                   REJECT IN   Anywhere\n", False),
    ("", "", True),
]


@pytest.mark.parametrize(("kind", "text", "expected"), OTHER_KINDS, ids=range(len(OTHER_KINDS)))
def test_what_others_say(kind: str, text: str, expected: bool) -> None:
    assert is_open(facts(firewall=kind, filters=text), "tcp", "6443", OTHERS) is expected


def test_ranges_of_firewalld_are_one_where_they_touch() -> None:
    host = facts(firewall="firewalld", filters=PUBLIC % ("", "30000-30100/tcp 30101-32767/tcp"))
    assert is_open(host, "tcp", "30000-32767", OTHERS)
    assert not is_open(host, "udp", "30000-32767", OTHERS)
    assert not is_open(host, "tcp", "29999-32767", OTHERS)


def test_each_role_has_its_ports() -> None:
    inventory = load_inventory(BASE)
    ports = ports_of(inventory, load_spec(inventory))
    assert ports["registry1"] == Ports(("5000",))
    assert ports["cp1"] == Ports(
        ("2379-2380", "6443", "10250", "30000-32767"),
        ("30000-32767",),
        node_udp=("8472",),
        nodes=("10.98.0.21", "10.98.0.22"),
    )
    assert ports["worker1"] == Ports(
        ("10250", "30000-32767"), ("30000-32767",), node_udp=("8472",), nodes=("10.98.0.11", "10.98.0.22")
    )


def test_a_firewall_in_the_way_is_named_with_what_opens_it() -> None:
    inventory = load_inventory(BASE)
    spec = load_spec(inventory)
    ports = ports_of(inventory, spec)
    strict = facts(firewall="nftables", filters=STRICT % "")
    ufw = facts(firewall="ufw", filters="Default: deny (incoming)\n")
    free = {"registry1": facts(), "worker1": facts(firewall="nftables", filters=ACCEPTING % "accept")}
    check_firewalls(free, ports, spec)
    with pytest.raises(ProvisionError) as caught:
        check_firewalls({**free, "cp1": strict, "worker2": ufw}, ports, spec)
    reason, hint = caught.value.reason, caught.value.hint
    assert "cp1: its firewall (nftables) would drop 2379-2380/tcp, 6443/tcp" in reason
    assert "worker2: its firewall (ufw) would drop 10250/tcp" in reason
    assert "registry1" not in reason
    assert "worker1" not in reason
    assert "nft insert rule inet filter input tcp dport 6443 accept" in hint
    assert "ufw allow 30000:32767/udp" in hint
    assert "firewall: manage" in hint


DOCKER = """\
table ip filter {
	chain DOCKER-USER {
		counter packets 0 bytes 0 return
	}
	chain DOCKER-FORWARD {
		ct state established,related counter packets 0 bytes 0 accept
		iifname "docker0" counter packets 0 bytes 0 accept
		iifname != "docker0" oifname "docker0" counter packets 0 bytes 0 drop
	}
	chain INPUT {
		type filter hook input priority filter; policy accept;
	}
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
		counter packets 0 bytes 0 jump DOCKER-USER
		counter packets 0 bytes 0 jump DOCKER-FORWARD
		%s
	}
}
"""
PASSES = """\
table inet own {
	chain forward {
		type filter hook forward priority filter; policy %s;
		%s
	}
}
"""
FORWARD: list[tuple[str, list[str], list[str]]] = [
    (DOCKER % "", [], []),
    (DOCKER.replace("table ip ", "table ip6 ") % "", [], []),
    (DOCKER.replace('iifname "docker0"', "ip saddr 172.17.0.0/16") % "reject", [], ["ip filter FORWARD"]),
    (DOCKER.replace('iifname "docker0"', "ip saddr 172.17.0.0/16") % "jump FLANNEL-FWD", [], []),
    (DOCKER % "" + PASSES % ("drop", "ct state established,related accept"), ["inet own forward"], []),
    (PASSES % ("drop", ""), ["inet own forward"], []),
    (PASSES % ("accept", "drop"), ["inet own forward"], []),
    (PASSES % ("accept", "ct state invalid drop"), [], []),
    (PASSES % ("accept", "ip saddr 192.0.2.0/24 drop"), [], []),
    (PASSES % ("drop", "ip saddr 10.244.0.0/16 accept"), [], []),
    (PASSES % ("drop", "ip saddr 10.244.3.0/24 accept"), [], []),
    (PASSES % ("drop", "ip daddr 10.244.0.0/16 accept"), [], []),
    (PASSES % ("drop", 'iifname "cni0" accept'), [], []),
    (PASSES % ("drop", "tcp dport 80 accept"), [], []),
    (PASSES % ("drop", "ip saddr 172.17.0.0/16 accept"), ["inet own forward"], []),
    (PASSES.replace("inet", "ip6") % ("drop", ""), [], []),
]


@pytest.mark.parametrize(("text", "own", "iptables"), FORWARD, ids=range(len(FORWARD)))
def test_what_pods_send_may_be_dropped_on_the_way(text: str, own: list[str], iptables: list[str]) -> None:
    host = facts(firewall="nftables", filters=text)
    assert kept_in(host, ["10.244.0.0/16"], iptables=False) == own
    assert kept_in(host, ["10.244.0.0/16"], iptables=True) == iptables


def test_pods_are_refused_or_doubted_on_nodes_only() -> None:
    inventory = load_inventory(BASE)
    spec = load_spec(inventory)
    strict = facts(firewall="nftables", filters=PASSES % ("drop", ""))
    rejecting = facts(firewall="nftables", filters=DOCKER.replace("jump DOCKER-FORWARD", "reject") % "")
    check_firewalls({"registry1": strict, "worker1": rejecting}, {}, spec)
    with pytest.raises(ProvisionError) as caught:
        check_firewalls({"worker1": strict}, {}, spec)
    assert (
        "worker1: its firewall (nftables) would drop what pods send (chain inet own forward)"
        in caught.value.reason
    )
    assert (
        f"nft insert rule inet own forward ip saddr {spec.network.pod_cidrs[0]} accept" in caught.value.hint
    )
    assert doubts({"registry1": rejecting, "worker1": rejecting, "worker2": strict}, spec) == {
        "worker1": "ip filter FORWARD"
    }
