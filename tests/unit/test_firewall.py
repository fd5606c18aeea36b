"""Whether a host's firewall lets the cluster's ports through, and the script that opens them."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_preflight import GOOD

from provisioner.action.firewall import Ports, check_firewalls, is_open, ports_of
from provisioner.errors import ProvisionError
from provisioner.inventory.model import load_inventory
from provisioner.playbook.facts import Facts
from provisioner.playbook.render import render_file
from provisioner.spec.model import load_spec

ROOT = Path(__file__).parents[2]
BASE = ROOT / "tests/data/spec/base.yaml"
PODS = ("10.244.0.0/16", "fd00:1::/56")
OTHERS = ["10.98.0.11", "10.98.0.21"]
SCRIPT = ROOT / "templates/firewall/provision-firewall.j2"

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
    (ACCEPTING % "ip daddr 10.0.0.1 drop", True, True),
    (ACCEPTING % "tcp dport 2379 drop", True, True),
    (ACCEPTING % 'iifname "eth1" goto refusal\n\t}\n\tchain refusal {\n\t\tdrop', True, True),
    (ACCEPTING % "jump refusal\n\t}\n\tchain refusal {\n\t\tip saddr @ours return\n\t\tdrop", True, True),
    (
        ACCEPTING % "jump refusal\n\t}\n\tchain refusal {\n\t\tip saddr 192.0.2.1 return\n\t\tdrop",
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
    assert ports["cp1"] == Ports(("2379-2380", "6443", "10250", "30000-32767"), ("30000-32767", "8472"))
    assert ports["worker1"] == Ports(("10250", "30000-32767"), ("30000-32767", "8472"))


def test_a_firewall_in_the_way_is_named_with_what_opens_it() -> None:
    inventory = load_inventory(BASE)
    spec = load_spec(inventory)
    ports = ports_of(inventory, spec)
    strict = facts(firewall="nftables", filters=STRICT % "")
    ufw = facts(firewall="ufw", filters="Default: deny (incoming)\n")
    free = {"registry1": facts(), "worker1": facts(firewall="nftables", filters=STRICT % "accept")}
    check_firewalls(free, ports, spec)
    with pytest.raises(ProvisionError) as caught:
        check_firewalls({**free, "cp1": strict, "worker2": ufw}, ports, spec)
    reason, hint = caught.value.reason, caught.value.hint
    assert reason.startswith("nothing was changed:")
    assert "cp1: its firewall (nftables) would drop 2379-2380/tcp, 6443/tcp" in reason
    assert "worker2: its firewall (ufw) would drop 10250/tcp" in reason
    assert "registry1" not in reason
    assert "worker1" not in reason
    assert "nft insert rule inet filter input tcp dport 6443 accept" in hint
    assert "ufw allow 30000:32767/udp" in hint
    assert "firewall: manage" in hint


def script(kind: str) -> str:
    inventory = load_inventory(BASE)
    spec = load_spec(inventory)
    dual = replace(spec, network=replace(spec.network, pod_cidrs=PODS))
    ports = ports_of(inventory, spec)["cp1"]
    return render_file(SCRIPT, {"facts": facts(firewall=kind), "firewall": ports, "cluster": dual})


# They record what they are told, and know of what $THERE has only.
STAND_INS = {
    "firewall-cmd": """#!/bin/sh
echo "firewall-cmd $*" >>"$LOG"
case "$*" in
  *--get-ports*) cat "$THERE.ports" ;;
  *--get-target*) echo ACCEPT ;;
  *--list-sources*) cat "$THERE.sources" ;;
  *--list-all-zones*) cat "$THERE" ;;
  *--info-* | *--query-*) [ -s "$THERE.ports" ] ;;
  *--get-zone-of-source=10.*) [ -s "$THERE" ] ;;
  *--get-zone-of-source=*) [ -s "$THERE.sources" ] ;;
esac
""",
    "ufw": """#!/bin/sh
[ "$*" = 'show added' ] || echo "ufw $*" >>"$LOG"
[ "$*" != 'show added' ] || cat "$THERE"
""",
    "systemctl": """#!/bin/sh
[ "$1" != list-jobs ] || cat "$THERE.jobs"
""",
}
ZONES = (
    "internal (active)\n  services: a provision\n\npublic\n  services: a ssh\n\ntrusted\n  target: ACCEPT\n"
)
PORTS = "2379-2380/tcp 6443/tcp 10250/tcp 30000-32767/tcp 30000-32767/udp 8472/udp"
UFW_ALL = (
    "allow 2379:2380/tcp",
    "allow 6443/tcp",
    "allow 10250/tcp",
    "allow 30000:32767/tcp",
    "allow 30000:32767/udp",
    "allow 8472/udp",
    *(f"{each} {pods}" for pods in PODS for each in ("allow from", "route allow from", "route allow to")),
)
UFW_OURS = "".join(f"ufw {each} comment 'provision'\n" for each in UFW_ALL)
BY_HAND = "ufw allow 6443/tcp comment 'by hand'\nufw allow from 10.244.0.0/16\n"
OWN = "firewall-cmd -q --permanent"


def told(kind: str, shell: list[str], folder: Path, action: str, **there: str) -> list[str]:
    """What a stand-in for the firewall was told, where `there` (text, ports, sources, jobs) was."""
    for name, text in STAND_INS.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "script").write_text(script(kind))
    for name in ("", ".ports", ".sources", ".jobs"):
        (folder / f"there{name}").write_text(there.get(name.lstrip(".") or "text", ""))
    (folder / "log").write_text("")
    environment = {"LOG": str(folder / "log"), "THERE": str(folder / "there")}
    subprocess.run(
        [*shell, folder / "script", action],
        env={"PATH": f"{folder}:/usr/bin:/bin", **environment},
        check=True,
    )
    said = (folder / "log").read_text().splitlines()
    return [each for each in said if not re.search(r"--(info|query|get|list|state)\b", each)]


shells = pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"]], ids=["dash", "busybox"])


@shells
def test_firewalld_gets_a_service_and_a_zone_of_our_own(shell: list[str], tmp_path: Path) -> None:
    said = told("firewalld", shell, tmp_path, "open")
    assert f"{OWN} --new-service=provision" in said
    assert f"{OWN} --service=provision --add-port=2379-2380/tcp" in said
    assert f"{OWN} --service=provision --add-port=8472/udp" in said
    assert f"{OWN} --add-service=provision" in said
    assert f"{OWN} --zone=provision --add-source=10.244.0.0/16" in said
    assert said.count("firewall-cmd -q --reload") == 1
    assert said[-1] == "firewall-cmd -q --reload"
    assert not any("trusted" in each or "remove" in each for each in said)


@shells
def test_firewalld_is_changed_and_reloaded_only_where_it_differs(shell: list[str], tmp_path: Path) -> None:
    assert told("firewalld", shell, tmp_path, "open", text=ZONES, ports=PORTS, sources="fd00:1::/56\n") == []
    said = told(
        "firewalld", shell, tmp_path, "open", text=ZONES, ports=f"{PORTS} 9/tcp", sources="192.0.2.0/24\n"
    )
    assert said == [
        f"{OWN} --service=provision --remove-port=9/tcp",
        f"{OWN} --zone=provision --remove-source=192.0.2.0/24",
        "firewall-cmd -q --reload",
    ]


@shells
def test_firewalld_loses_what_is_ours(shell: list[str], tmp_path: Path) -> None:
    assert told("firewalld", shell, tmp_path, "close", text=ZONES) == [
        f"{OWN} --zone=internal --remove-service=provision",
        f"{OWN} --delete-service=provision",
        f"{OWN} --delete-zone=provision",
        "firewall-cmd -q --reload",
    ]


@shells
def test_ufw_keeps_what_was_there(shell: list[str], tmp_path: Path) -> None:
    assert told("ufw", shell, tmp_path, "open") == [f"ufw {each} comment provision" for each in UFW_ALL]
    kept = {"allow 6443/tcp", "allow from 10.244.0.0/16"}
    assert told("ufw", shell, tmp_path, "open", text=BY_HAND) == [
        f"ufw {each} comment provision" for each in UFW_ALL if each not in kept
    ]
    old = "ufw allow 9/tcp comment 'provision'\n"
    assert told("ufw", shell, tmp_path, "open", text=UFW_OURS + old) == ["ufw delete allow 9/tcp"]
    assert told("ufw", shell, tmp_path, "close", text=BY_HAND) == []
    assert told("ufw", shell, tmp_path, "close", text=BY_HAND + UFW_OURS) == [
        f"ufw route delete {each.removeprefix('route ')}"
        if each.startswith("route ")
        else f"ufw delete {each}"
        for each in UFW_ALL
    ]


@shells
def test_a_restart_takes_nothing_back(shell: list[str], tmp_path: Path) -> None:
    here = "7 provision-firewall.service %s running\n"
    there = "8 other.service restart waiting\n"
    assert told("ufw", shell, tmp_path, "stop", text=UFW_OURS, jobs=there + here % "restart") == []
    assert len(told("ufw", shell, tmp_path, "stop", text=UFW_OURS, jobs=there + here % "stop")) == len(
        UFW_ALL
    )


@pytest.mark.parametrize("kind", ["firewalld", "ufw", "nftables"])
def test_the_script_passes_shellcheck(kind: str, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(script(kind))
    argv: list[str | Path] = ["shellcheck", "-s", "sh", tmp_path / "script"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
