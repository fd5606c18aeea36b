"""firewalld, ufw and nftables for real, each on a host of its own: found, judged, opened and closed again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path

import pytest

from provisioner.action.connect import connect_to
from provisioner.action.firewall import Ports, ports_of
from provisioner.action.firewall import is_open as is_open_at
from provisioner.action.virtualrouter import VirtualRouter
from provisioner.inventory.model import load_inventory
from provisioner.playbook.facts import Facts
from provisioner.playbook.factscript import facts_script
from provisioner.playbook.factsread import parse_facts
from provisioner.playbook.render import render_file
from provisioner.remote.session import Session
from provisioner.shell.assemble import refusing_chains
from provisioner.shell.script import Blob, Script
from provisioner.spec.model import ClusterSpec, load_spec

ROOT = Path(__file__).parents[2]
FIREWALL = ROOT / "templates/firewall/provision-firewall.j2"
KEEPALIVED = ROOT / "templates/load-balancer/keepalived.conf.j2"
BASE = ROOT / "tests/data/spec/base.yaml"
NET = os.environ.get("PROVISION_TEST_SUBNET", "10.98.36.0/24").rpartition(".")[0]
INVENTORY = f"""\
all:
  vars: {{lab: {{name: firewalls, subnet: {NET}.0/24, packages: PACKAGES}}, ansible_user: root}}
  hosts: {{one: {{ansible_host: {NET}.11}}, two: {{ansible_host: {NET}.12}}}}
"""
STRICT = """
nft -f - <<'END'
table inet strict {
  chain input { type filter hook input priority 0; policy drop; ct state established accept; tcp dport 22 accept; }
}
END
"""
LEADING = """
nft -f - <<'END'
table inet strict {
  chain rest { drop; }
  chain services { tcp dport vmap { 22 : accept, 23 : goto rest }; goto rest; }
  chain input { type filter hook input priority 0; policy accept; ct state established accept; jump services; }
}
END
"""
"""As STRICT; but what comes in by itself drops nothing."""
HARMLESS = """
nft -f - <<'END'
table inet banned {
  chain f2b-sshd { ip saddr 192.0.2.1 counter reject; return; }
  chain KUBE-FIREWALL { ip daddr 127.0.0.0/8 drop; }
  chain round { jump f2b-sshd; }
  chain input { type filter hook input priority 0; policy accept; jump round; jump KUBE-FIREWALL; }
}
table ip kube-proxy {
  chain filter-forward { type filter hook forward priority -110; policy accept; ct state new reject; }
}
END
"""
FIREWALLS = {
    "nftables": ("nftables", [], STRICT),
    "nftables by jumps": ("nftables", [], LEADING),
    "firewalld": ("firewalld", ["firewalld"], "systemctl start firewalld; firewall-cmd -q --state"),
    "ufw": ("ufw", ["ufw"], "ufw allow 22/tcp >/dev/null; ufw --force enable >/dev/null"),
}


@contextmanager
def two_hosts(folder: Path, packages: list[str]) -> Iterator[tuple[Session, Session]]:
    path = folder / "inventory.yaml"
    path.write_text(INVENTORY.replace("PACKAGES", json.dumps(packages)))
    provision = [str(Path(sys.executable).with_name("provision")), "lab"]
    subprocess.run([*provision, "up", path], check=True, capture_output=True)
    try:
        with connect_to(load_inventory(path)) as pool:
            yield pool.session("one"), pool.session("two")
    finally:
        subprocess.run([*provision, "down", path], check=True, capture_output=True)


def run(session: Session, text: str) -> str:
    done = session.run(Script(f"set -e\n{text}\n"), deadline=60)
    assert done.status == 0, done.stderr.decode()
    return done.stdout.decode()


def is_open(facts: Facts, protocol: str, port: str, others: Sequence[str]) -> bool:
    own = [str(ip_interface(each).ip) for each in facts.addresses["eth0"]]
    return is_open_at(facts, protocol, port, others, own)


def facts_of(session: Session) -> Facts:
    return parse_facts("one", session.run(facts_script(firewall=True)).stdout, 1.0)


LEFT = f"{NET}.13"
"""A node that leaves with the network of before."""


def told(session: Session, facts: Facts, ports: Ports, spec: ClusterSpec, action: str) -> None:
    """As the units do it: what the script keeps lies where it lies on each host."""
    variables = {"facts": facts, "firewall": ports, "cluster": spec, "refusing_chains": refusing_chains()}
    text = render_file(FIREWALL, variables)
    script = Script(f'sh "$W/firewall" {action}', {"firewall": Blob.of(text.encode())})
    done = session.run(script, deadline=60)
    assert done.status == 0, done.stderr.decode()


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(FIREWALLS))
def test_a_firewall_is_opened_and_closed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    inventory = load_inventory(BASE)
    spec = load_spec(inventory)
    other = f"{NET}.12"
    ports = replace(ports_of(inventory, spec)["cp1"], ipip=(other,), nodes=(other,))
    ports = replace(ports, router_tcp=("179",), routers=(f"{NET}.1",))
    kind, packages, start = FIREWALLS[name]
    with two_hosts(tmp_path, packages) as (session, _):
        run(session, "systemctl stop firewalld ufw 2>/dev/null || :")
        run(session, HARMLESS)
        assert facts_of(session).firewall == "", "none is at work yet"
        run(session, start)
        before = facts_of(session)
        assert before.firewall == kind
        assert not any(is_open(before, *each, []) for each in ports.each())
        assert not any(is_open(before, *each) for each in ports.narrow())
        assert not is_open(before, "ipip", "", [other])
        assert is_open(before, "tcp", "22", []) or kind == "firewalld", "which opens SSH as a service"
        # For ufw IP in IP is all that a node sends.
        before_that = replace(ports, tcp=(*ports.tcp, "9345"), node_udp=(*ports.node_udp, "4789"))
        before_that = replace(before_that, nodes=(LEFT,), ipip=())
        used = [("tcp", "9345", []), ("udp", "4789", [LEFT])]
        for wanted, action, expected, running in (
            (before_that, "open", False, True),
            (ports, "open", True, True),
            (ports, "open", True, True),
            (ports, "settle", True, False),
            (ports, "open", True, False),
            (ports, "close", False, False),
        ):
            told(session, before, wanted, spec, action)
            after = facts_of(session)
            assert after.firewall == kind
            assert {is_open(after, *each, []) for each in ports.each()} == {action != "close"}, after.filters
            assert is_open(after, "ipip", "", [other]) is expected, after.filters
            narrow = {each[0]: is_open(after, *each) for each in ports.narrow()}
            assert narrow == {"udp": expected, "tcp": action != "close"}, after.filters
            assert {is_open(after, *each) for each in used} == {running}, f"{action}: the network of before"
            strangers = [(protocol, port, ["192.0.2.7"]) for protocol, port, _ in ports.narrow()]
            assert len(strangers) == 2
            assert not any(is_open(after, *each) for each in strangers), after.filters
        assert facts_of(session).filters == before.filters


VIP = f"{NET}.9"
PREPARED = """
echo 1 >/proc/sys/net/netfilter/nf_conntrack_generic_timeout
mkdir -p /opt/kubernetes/bin /etc/keepalived
printf '#!/bin/sh\\n' >/opt/kubernetes/bin/api-health
chmod 755 /opt/kubernetes/bin/api-health
cat "$W/conf" >/etc/keepalived/keepalived.conf
"""
"""This is about what they say to each other: each is well. Once one has spoken itself, what the other says is an answer
for as long as that is remembered, 600 s else, and firewalls let it in."""


def hears(first: Session, second: Session) -> bool:
    """Whether the second leaves the address to the first, which had it before."""
    for each in (first, second):
        run(each, "systemctl stop keepalived")
    time.sleep(3)
    run(first, f"systemctl start keepalived; until ip -o addr show to {VIP} | grep -q .; do sleep 0.1; done")
    since = run(second, "systemctl start keepalived; date +%s; sleep 5").strip()
    said = run(second, f"journalctl -u keepalived --since=@{since} -o cat")
    assert "Entering BACKUP STATE" in said
    return "Entering MASTER STATE" not in said


@pytest.mark.soak
@pytest.mark.parametrize("name", ["nftables", "firewalld", "ufw"])
def test_load_balancers_hear_each_other(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a firewall that is shut a load balancer takes the address that another has."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    spec = load_spec(load_inventory(BASE))
    _, packages, start = FIREWALLS[name]
    with two_hosts(tmp_path, ["keepalived", *packages]) as (first, second):
        peers = {first: ("11", "12"), second: ("12", "11")}
        for each, (address, peer) in peers.items():
            run(each, "systemctl stop firewalld ufw 2>/dev/null || :")
            run(each, start)
            router = VirtualRouter(
                f"{VIP}/32", 9, "eth0", f"{NET}.{address}", 200 - int(address), (f"{NET}.{peer}",)
            )
            conf = render_file(KEEPALIVED, {"inventory_hostname": each.host, "virtual_router": router})
            done = each.run(Script(PREPARED, {"conf": Blob.of(conf.encode())}), deadline=60)
            assert done.status == 0, done.stderr.decode()
        assert not hears(first, second)
        for action, expected in (("open", True), ("close", False)):
            for each, (_, peer) in peers.items():
                ports = Ports(("6443",), vrrp=(f"{NET}.{peer}",))
                told(each, facts_of(each), ports, spec, action)
                assert is_open(facts_of(each), "vrrp", "", [f"{NET}.{peer}"]) is expected
            assert hears(first, second) is expected
