"""The script that opens a cluster's ports in a host's firewall, told to stand-ins for firewalld and ufw.

On hosts of its own, with the real ones: tests/hosts/test_firewalls.py.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from test_preflight import GOOD

from provisioner.action.firewall import ports_of
from provisioner.inventory.model import load_inventory
from provisioner.playbook.facts import Facts
from provisioner.playbook.render import render_file
from provisioner.shell.assemble import refusing_chains
from provisioner.spec.model import load_spec

ROOT = Path(__file__).parents[2]
BASE = ROOT / "tests/data/spec/base.yaml"
SCRIPT = ROOT / "templates/firewall/provision-firewall.j2"
NODES = ("10.98.0.22", "fd00:98::22")
ROUTER = "10.98.0.1"
PODS = ("10.244.0.0/16", "fd00:1::/56")


def script(kind: str, vrrp: tuple[str, ...] = (), ipip: tuple[str, ...] = ()) -> str:
    inventory = load_inventory(BASE)
    spec = load_spec(inventory)
    dual = replace(spec, network=replace(spec.network, pod_cidrs=PODS))
    ports = replace(ports_of(inventory, spec)["cp1"], vrrp=vrrp, ipip=ipip, nodes=NODES)
    ports = replace(ports, router_tcp=("179",), routers=(ROUTER,))
    facts = Facts(**{**GOOD, "firewall": kind})
    variables = {"facts": facts, "firewall": ports, "cluster": dual, "refusing_chains": refusing_chains()}
    return render_file(SCRIPT, variables)


# They record what they are told, and know of what $THERE has only.
FIREWALLD = """#!/bin/sh
echo "${0##*/} $*" >>"$LOG"
case "$*" in
  *--state*) [ ! -s "$THERE.jobs" ] ;;
  *provision-nodes*--get-ports*) [ ! -s "$THERE.ports" ] || echo 8472/udp ;;
  *provision-routers*--get-ports*) [ ! -s "$THERE.ports" ] || echo 179/tcp ;;
  *--get-ports*) cat "$THERE.ports" ;;
  *provision-vrrp*--get-protocols*) [ ! -s "$THERE.protocols" ] || echo vrrp ;;
  *provision-ipip*--get-protocols*) ! grep -q provision-ipip "$THERE" || echo 4 ;;
  *--get-protocols*) cat "$THERE.protocols" ;;
  *--get-target*) echo ACCEPT ;;
  *--list-sources*) cat "$THERE.sources" ;;
  *--list-all-zones*) cat "$THERE" ;;
  *--query-rich-rule=*provision-nodes* | *--query-rich-rule=*provision-routers*) [ -s "$THERE.ports" ] ;;
  *--info-service=provision-nodes* | *--info-service=provision-routers*) [ -s "$THERE.ports" ] ;;
  *--query-rich-rule=*) grep -qF -- "${*##*-rich-rule=}" "$THERE" ;;
  *--info-service=provision-*) grep -q -- "${*##*=}" "$THERE" ;;
  *--info-* | *--query-*) [ -s "$THERE.ports" ] ;;
  *--get-zone-of-source=10.*) [ -s "$THERE" ] ;;
  *--get-zone-of-source=*) [ -s "$THERE.sources" ] ;;
esac
"""
STAND_INS = {
    "firewall-cmd": FIREWALLD,
    "firewall-offline-cmd": FIREWALLD,
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
PORTS = "2379-2380/tcp 6443/tcp 10250/tcp 30000-32767/tcp 30000-32767/udp"
UFW_ALL = (
    "allow 2379:2380/tcp",
    "allow 6443/tcp",
    "allow 10250/tcp",
    "allow 30000:32767/tcp",
    "allow 30000:32767/udp",
    *(f"allow from {each} to any port 8472 proto udp" for each in NODES),
    f"allow from {ROUTER} to any port 179 proto tcp",
    *(f"{each} {pods}" for pods in PODS for each in ("allow from", "route allow from", "route allow to")),
)
UFW_OURS = "".join(f"ufw {each} comment 'provision'\n" for each in UFW_ALL)
BY_HAND = "ufw allow 6443/tcp comment 'by hand'\nufw allow from 10.244.0.0/16\n"
OWN = "firewall-cmd -q --permanent"


def told(
    kind: str,
    shell: list[str],
    folder: Path,
    action: str,
    *vrrp: str,
    ipip: str = "",
    kept: str | None = None,
    **there: str,
) -> list[str]:
    """What a stand-in for the firewall was told, where `there` (text, ports, protocols, sources, jobs) was, and `kept`
    open."""
    for name, text in STAND_INS.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    text = script(kind, vrrp, tuple(ipip.split())).replace("/var/lib/provision", str(folder / "lib"))
    (folder / "script").write_text(text)
    if kept is None:
        (folder / "lib/firewall-open").unlink(missing_ok=True)
    else:
        (folder / "lib").mkdir(exist_ok=True)
        (folder / "lib/firewall-open").write_text(kept)
    for name in ("", ".ports", ".protocols", ".sources", ".jobs"):
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
    assert f"{OWN} --service=provision --add-port=8472/udp" not in said, "from everywhere"
    assert f"{OWN} --service=provision-nodes --add-port=8472/udp" in said
    narrow = [each.partition("--add-rich-rule=")[2] for each in said if "rich-rule" in each]
    assert narrow == [
        f'rule family="ipv{family}" source address="{each}" service name="provision-{who}" accept'
        for family, each, who in ((4, NODES[0], "nodes"), (6, NODES[1], "nodes"), (4, ROUTER, "routers"))
    ]
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


PEERS = ("10.98.1.6", "fd00::6")
RULES = tuple(
    f'rule family="ipv{family}" source address="{peer}" service name="provision-vrrp" accept'
    for family, peer in zip("46", PEERS, strict=True)
)
HEARING = "public (active)\n  services: provision\n  rich rules: \n\t" + "\n\t".join(RULES) + "\n\nwork\n"
BY_ADMIN = 'rule family="ipv4" source address="10.98.1.7" protocol value="vrrp" accept'


@shells
def test_firewalld_lets_vrrp_of_load_balancers_through_and_nobody_elses(
    shell: list[str], tmp_path: Path
) -> None:
    """It has no ports; what is opened for all of a zone is open to all who are in it."""
    there = {"text": ZONES, "ports": PORTS, "sources": "fd00:1::/56\n"}
    said = told("firewalld", shell, tmp_path, "open", *PEERS, **there, protocols="vrrp")
    assert said == [
        f"{OWN} --service=provision --remove-protocol=vrrp",
        f"{OWN} --new-service=provision-vrrp",
        *(f"{OWN} --add-rich-rule={rule}" for rule in RULES),
        "firewall-cmd -q --reload",
    ], "as it was opened before"
    said = told("firewalld", shell, tmp_path, "open", *PEERS, **there)
    assert f"{OWN} --service=provision-vrrp --add-protocol=vrrp" in said


@shells
def test_firewalld_goes_on_to_hear_those_that_are_there(shell: list[str], tmp_path: Path) -> None:
    there = {"ports": PORTS, "sources": "fd00:1::/56\n"}
    text = HEARING.replace("\n\nwork", f"\n\t{BY_ADMIN}\n\nwork")
    assert told("firewalld", shell, tmp_path, "open", *PEERS, text=ZONES + text, **there) == [
        f"{OWN} --service=provision-vrrp --add-protocol=vrrp",
        "firewall-cmd -q --reload",
    ]
    said = told("firewalld", shell, tmp_path, "open", PEERS[0], text=ZONES + text, **there)
    assert [each for each in said if "rule" in each] == [f"{OWN} --zone=public --remove-rich-rule={RULES[1]}"]
    said = told("firewalld", shell, tmp_path, "open", text=ZONES + text, **there)
    assert said == [
        *(f"{OWN} --zone=public --remove-rich-rule={rule}" for rule in RULES),
        f"{OWN} --delete-service=provision-vrrp",
        "firewall-cmd -q --reload",
    ]


@shells
def test_firewalld_loses_the_rules_before_the_service_that_they_name(
    shell: list[str], tmp_path: Path
) -> None:
    assert told("firewalld", shell, tmp_path, "close", *PEERS, text=HEARING) == [
        f"{OWN} --zone=public --remove-service=provision",
        *(f"{OWN} --zone=public --remove-rich-rule={rule}" for rule in RULES),
        f"{OWN} --delete-service=provision",
        f"{OWN} --delete-service=provision-vrrp",
        f"{OWN} --delete-service=provision-ipip",
        f"{OWN} --delete-service=provision-nodes",
        f"{OWN} --delete-service=provision-routers",
        f"{OWN} --delete-zone=provision",
        "firewall-cmd -q --reload",
    ]


@shells
def test_firewalld_lets_ip_in_ip_of_nodes_through(shell: list[str], tmp_path: Path) -> None:
    there = {"ports": PORTS, "sources": "fd00:1::/56\n"}
    rules = [each.replace("vrrp", "ipip") for each in RULES]
    assert told("firewalld", shell, tmp_path, "open", text=ZONES, ipip=PEERS[0], **there) == [
        f"{OWN} --new-service=provision-ipip",
        f"{OWN} --service=provision-ipip --add-protocol=4",
        f"{OWN} --add-rich-rule={rules[0]}",
        "firewall-cmd -q --reload",
    ]
    text = ZONES + HEARING.replace("vrrp", "ipip")
    said = told("firewalld", shell, tmp_path, "open", text=text, ipip=PEERS[0], **there)
    assert said == [f"{OWN} --zone=public --remove-rich-rule={rules[1]}", "firewall-cmd -q --reload"]
    said = told("firewalld", shell, tmp_path, "close", text=HEARING.replace("vrrp", "ipip"))
    assert [each for each in said if "rule" in each] == [
        f"{OWN} --zone=public --remove-rich-rule={each}" for each in rules
    ]


@shells
def test_ufw_has_no_word_for_ip_in_ip(shell: list[str], tmp_path: Path) -> None:
    """ufw 0.36.2: Unsupported protocol '4'."""
    assert told("ufw", shell, tmp_path, "open", text=UFW_OURS, ipip=PEERS[0]) == [
        f"ufw allow from {PEERS[0]} comment provision"
    ]


@shells
def test_firewalld_loses_what_is_ours(shell: list[str], tmp_path: Path) -> None:
    assert told("firewalld", shell, tmp_path, "close", text=ZONES) == [
        f"{OWN} --zone=internal --remove-service=provision",
        f"{OWN} --delete-service=provision",
        f"{OWN} --delete-service=provision-vrrp",
        f"{OWN} --delete-service=provision-ipip",
        f"{OWN} --delete-service=provision-nodes",
        f"{OWN} --delete-service=provision-routers",
        f"{OWN} --delete-zone=provision",
        "firewall-cmd -q --reload",
    ]
    assert told("firewalld", shell, tmp_path, "close", text=ZONES, jobs="firewalld does not run") == [
        "firewall-offline-cmd -q --zone=internal --remove-service=provision",
        "firewall-offline-cmd -q --delete-service=provision",
        "firewall-offline-cmd -q --delete-service=provision-vrrp",
        "firewall-offline-cmd -q --delete-service=provision-ipip",
        "firewall-offline-cmd -q --delete-service=provision-nodes",
        "firewall-offline-cmd -q --delete-service=provision-routers",
        "firewall-offline-cmd -q --delete-zone=provision",
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


SETTLED = (
    "tcp 2379-2380 6443 10250 30000-32767\nudp 30000-32767\nvrrp \nipip \npods 10.244.0.0/16 fd00:1::/56\nnode_tcp \n"
    "node_udp 8472\nnodes 10.98.0.22 fd00:98::22\nrouter_tcp 179\nrouters 10.98.0.1\n"
)
BEFORE = "tcp 6443\nudp \nipip 10.98.0.22\npods 10.244.0.0/16\nnode_tcp 5473\nnode_udp 4789 51820\nnodes 10.98.0.22\n"


@shells
def test_what_the_running_network_uses_stays_open_until_the_new_one_stands(
    shell: list[str], tmp_path: Path
) -> None:
    """Nodes still send VXLAN of Calico's, WireGuard and IP in IP, and ask Typha, when the first stage opens others."""
    ports = ("5473 proto tcp", "4789 proto udp", "51820 proto udp")
    old = [f"allow from {node} to any port {each}" for node in NODES for each in ports]
    old.append(f"allow from {NODES[0]}")
    there = "".join(f"ufw {each} comment 'provision'\n" for each in [*UFW_ALL, *old, "allow 9/tcp"])
    said = told("ufw", shell, tmp_path, "open", text=there, kept=BEFORE)
    assert not [each for each in said if each.startswith("ufw delete") and each != "ufw delete allow 9/tcp"]
    opened = (tmp_path / "lib/firewall-open").read_text()
    assert "node_udp 8472 4789 51820\n" in opened
    assert "ipip  10.98.0.22\n" in opened

    again = told("ufw", shell, tmp_path, "open", text=there, kept=opened)
    assert again == ["ufw delete allow 9/tcp"], "also when a run has ended between"
    closed = told("ufw", shell, tmp_path, "settle", text=there, kept=opened)
    assert closed == [f"ufw delete {each}" for each in [*old, "allow 9/tcp"]]
    assert (tmp_path / "lib/firewall-open").read_text() == SETTLED
    assert told("ufw", shell, tmp_path, "settle", text=there, kept=SETTLED) == [], "nothing is left to do"
    assert told("ufw", shell, tmp_path, "stop", text=UFW_OURS, kept=SETTLED)
    assert not (tmp_path / "lib/firewall-open").exists()


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
    (tmp_path / "script").write_text(script(kind, PEERS, PEERS))
    argv: list[str | Path] = ["shellcheck", "-s", "sh", tmp_path / "script"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
