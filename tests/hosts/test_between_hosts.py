"""What passes between hosts, tried with real packets between network namespaces, and cut in all the ways there are."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from netnshosts import ADDRESSES, debian, filtered, inside, ip, moved, nft

from provisioner.action import betweenround
from provisioner.action.apply import _check_between
from provisioner.action.between import Between
from provisioner.action.betweenround import exchanged, parties_of
from provisioner.action.firewall import Ports, ports_of
from provisioner.action.flows import Packet
from provisioner.action.gates import _firewall_open
from provisioner.action.losses import judged
from provisioner.engine.plan import Desired
from provisioner.errors import ProvisionError
from provisioner.network.needs import needs_of
from provisioner.playbook.facts import Facts
from provisioner.playbook.load import shipped
from provisioner.playbook.render import render_file
from provisioner.remote.conversation import Conversation
from provisioner.resources.model import Absent, Resource
from provisioner.shell.assemble import refusing_chains
from provisioner.spec.calico import BGP, BGPPeer, Calico, IPPool
from provisioner.spec.model import ClusterSpec, Flannel, Network

if TYPE_CHECKING:  # pytest loads it as a plug-in, for its fixtures
    from betweensite import Site

pytest_plugins = ["betweensite"]

HOSTS = tuple(ADDRESSES)
IPIP = Network(plugin="calico", calico=Calico(pools=(IPPool("p", "10.244.0.0/16", encapsulation="IPIP"),)))
VXLAN, HOST_GW = Network(), Network(flannel=Flannel("host-gw"))


@pytest.mark.parametrize("network", [VXLAN, IPIP, HOST_GW], ids=["vxlan", "ipip", "host-gw"])
def test_where_all_goes_through_nothing_is_said_and_nothing_stays(
    site: Site, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(betweenround, "PATIENCE", 30)
    execs, began = site.pool.execs, time.monotonic()
    assert site.check(network) == ([], "")
    assert time.monotonic() - began < 30, "nothing is late"
    assert site.notes == []
    assert site.pool.execs - execs == len(HOSTS), "one exec a host"
    for host in HOSTS:
        assert inside(host, "ss -Hlntu") == ""
    assert not of_the_check()


CUTS = [
    ("udp dport 8472 drop", ["b: UDP 8472 does not arrive from any other host"]),
    ("tcp dport 10250 drop", ["b: TCP 10250 does not arrive from a"]),
    ("tcp dport 10250 reject with tcp reset", ["b: TCP 10250 (refused) does not arrive from a"]),
    (
        "tcp dport 10250 reject with icmp type host-prohibited",
        ["b: TCP 10250 (no route to host) does not arrive from a"],
    ),
    (f"ip saddr {ADDRESSES['c']} udp dport 8472 drop", ["b: UDP 8472 does not arrive from c"]),
    (
        f"ip saddr {ADDRESSES['a']} drop",
        ["b: UDP 8472, TCP 10250 does not arrive from a", "a: TCP 6443, TCP 5000 does not arrive from b"],
    ),
]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(("rule", "lines"), CUTS, ids=[rule for rule, _ in CUTS])
def test_what_a_host_does_not_let_in_is_named(site: Site, rule: str, lines: list[str]) -> None:
    with filtered("b", rule):
        said, hint = site.check()
    assert sorted(said) == sorted(lines)
    assert "nft list ruleset" in hint


@pytest.mark.usefixtures("hasty")
def test_protocol_4_is_named(site: Site) -> None:
    with filtered("c", "ip protocol 4 drop"):
        assert site.check(IPIP)[0] == ["c: IP protocol 4 does not arrive from any other host"]


@pytest.mark.usefixtures("hasty")
def test_protocol_4_is_opened_to_those_who_send_it_and_closed_again(site: Site) -> None:
    """By the script that `firewall: manage` brings."""
    nodes = (ADDRESSES["a"], ADDRESSES["b"])

    def lost(action: str, *senders: str) -> list[str]:
        told(site.spec, Ports(ipip=senders), action)
        return site.check(IPIP)[0]

    everybody = ["c: IP protocol 4 does not arrive from any other host"]
    with filtered("c", "policy drop; meta l4proto { tcp, udp, icmp } accept"), own_files():
        assert site.check(IPIP)[0] == everybody
        assert lost("open", *nodes) == []
        assert lost("open", nodes[0]) == [], "b sends until the new network stands"
        assert lost("settle", nodes[0]) == ["c: IP protocol 4 does not arrive from b"]
        assert lost("close", *nodes) == everybody


@pytest.mark.usefixtures("hasty")
def test_what_a_firewall_drops_is_tried_once_the_run_has_opened_it(site: Site) -> None:
    """The gate of the stage that does so: it passes where nothing else is in the way."""
    spec = replace(site.spec, firewall="manage")
    with filtered("c", "policy drop; ct state established accept; meta l4proto icmp accept"), own_files():
        known = site.facts()
        known["c"] = replace(known["c"], firewall="nftables", filters=nft("c", "list table inet cut"))
        Between(site.inventory, spec, known, HOSTS).run(site.pool, site.events.append)
        until = "to c, which nftables drops there until a run opens it"
        assert site.notes == [
            f"not tried: UDP 8472 from any other host {until}",
            f"not tried: TCP 10250 from a {until}",
        ]
        desired = (Desired("firewall", {"c": (UNIT,)}, gate="firewall_open"),)
        loaded = SimpleNamespace(inventory=site.inventory, spec=spec)
        prepared = SimpleNamespace(loaded=loaded, facts=known, desired=desired)
        gate = _firewall_open(prepared, site.pool, site.events.append)  # type: ignore[arg-type]
        assert gate is not None
        with pytest.raises(ProvisionError) as caught:
            gate()
        assert "c: UDP 8472 does not arrive from any other host" in caught.value.reason.splitlines()
        told(spec, ports_of(site.inventory, spec, known)["c"], "open")
        execs = site.pool.execs
        assert gate() == "5 packets between 3 hosts"
        assert site.pool.execs - execs == len(HOSTS)
        told(spec, Ports(), "close")


UNIT = Resource("systemd", "provision-firewall.service", Absent())
KEPT = "/tmp/provision-between"


ROUTER = f"{ADDRESSES['c'].rpartition('.')[0]}.99"


@pytest.mark.usefixtures("hasty")
def test_routers_outside_are_called_by_the_nodes_that_have_a_session_with_them(site: Site) -> None:
    """Who refuses is there; one that is silent is told of, and no more: it may not know these nodes yet."""
    peers = (
        BGPPeer("tor", "kubernetes.io/hostname == 'a'", ROUTER, 64600),
        BGPPeer("inside", peers="has(rack)"),
    )
    calico = Calico(pools=IPIP.calico.pools, bgp=BGP(peers=peers))
    network = replace(IPIP, calico=calico)
    said = f"TCP 179 of the BGP peer tor ({ROUTER}) is not reached from a: "
    assert site.check(network) == ([], "")
    assert site.notes == [f"{said}no route to host"]
    ip(f"-n pt-c addr add {ROUTER}/32 dev eth0")
    try:
        assert site.check(network) == ([], "")
        assert site.notes == []
        with filtered("c", f"ip daddr {ROUTER} tcp dport 179 drop"):
            assert site.check(network) == ([], "")
            assert site.notes == [f"{said}no answer"]
            assert site.check(network, fresh=["b"]) == ([], "")
            assert site.notes == [], "a has its session since long"
    finally:
        ip(f"-n pt-c addr del {ROUTER}/32 dev eth0")


def told(spec: ClusterSpec, ports: Ports, action: str) -> None:
    """The script of `firewall: manage` is carried out on c, as its units do it."""
    bare = Facts("amd64", "6.1.0", "h", "debian", "12", 0.0, False, 1, {}, "eth0", firewall="nftables")
    variables = {"facts": bare, "firewall": ports, "cluster": spec, "refusing_chains": refusing_chains()}
    text = render_file(shipped("templates") / "firewall/provision-firewall.j2", variables)
    argv = ["ip", "netns", "exec", "pt-c", "chroot", str(debian()), "sh", "-s", action]
    text = text.replace("/var/lib/provision/", f"{KEPT}/")
    subprocess.run(argv, input=text, check=True, capture_output=True, text=True)


@contextmanager
def own_files() -> Iterator[None]:
    """What that script keeps lies where nobody else's does: the root is that of all labs."""
    try:
        yield
    finally:
        shutil.rmtree(debian() / KEPT.lstrip("/"), ignore_errors=True)


@pytest.mark.usefixtures("hasty")
def test_a_host_that_is_cut_off_is_named_both_ways(site: Site) -> None:
    ip("-n pt-switch link set dev c down")
    try:
        said, _ = site.check()
    finally:
        ip("-n pt-switch link set dev c up")
    assert "c: UDP 8472 does not arrive from any other host" in said
    assert "c: what it sends to UDP 8472 arrives nowhere" in said
    assert not [line for line in said if line.startswith("b: ")]


@pytest.mark.usefixtures("hasty")
def test_who_refuses_without_a_firewall_was_reached_and_a_port_in_use_is_not_taken(site: Site) -> None:
    """Somebody's server listens on loop-back only."""
    argv = ["ip", "netns", "exec", "pt-b", "systemd-socket-activate"]
    others = [
        subprocess.Popen([*argv, *words, "sleep", "9"], stderr=subprocess.DEVNULL)
        for words in (["-l", "127.0.0.1:10250"], ["-d", "-l", "8472"])
    ]
    try:
        while inside("b", "ss -Hlntu").count("\n") < 2:
            time.sleep(0.05)
        assert site.check() == ([], "")
        assert site.notes == ["not checked: UDP 8472, because the port is in use on b"]
        assert site.check(fresh=["c"]) == ([], "")
        assert site.notes == [], "b is at work since long"
    finally:
        for each in others:
            each.kill()
            each.wait()


@pytest.mark.usefixtures("hasty")
def test_a_way_that_swallows_large_packets_is_named_with_what_it_takes(site: Site) -> None:
    """A switch's port with a smaller MTU tells nobody."""
    ip("-n pt-switch link set dev c mtu 1400")
    ip("-n pt-switch link set dev br0 mtu 1500")
    try:
        said, hint = site.check()
    finally:
        ip("-n pt-switch link set dev c mtu 1500")
    assert "a: packets of 1500 bytes do not arrive at c, of 1400 they do" in said
    assert "c: packets of 1500 bytes do not arrive at a, b, of 1400 they do" in said
    assert len(said) == 3, said
    assert "network.flannel.mtu: 1400" in hint


def test_a_router_that_tells_of_its_mtu_is_heard(site: Site) -> None:
    with moved("c", mtu=1400):
        assert site.check()[0] == []
    assert "a: the way to c takes 1400 bytes a packet, its link 1500" in site.notes


def test_another_machine_that_answers_for_a_node_is_named(site: Site) -> None:
    """host-gw sends what is for c's pods to whoever has c's address on the link: here a router with proxy ARP."""
    with moved("c", mtu=1500, proxy=True):
        assert site.check()[0] == []
        said, hint = site.check(HOST_GW)
    assert {line.partition(":")[0] for line in said} == {"a", "b"}
    assert all(f"answers for c ({ADDRESSES['c']}), which has no such link" in line for line in said)
    assert "router" in hint


@pytest.mark.usefixtures("hasty")
def test_what_a_host_cannot_do_is_said_and_is_no_fault(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its programs are not found."""
    shipped = betweenround._shipped

    def without(program: str) -> Callable[[str], str]:
        lacking = f'have() {{ [ "$1" != {program} ] && command -v "$1" >/dev/null; }}'
        return lambda name: shipped(name).replace('have() { command -v "$1" >/dev/null; }', lacking)

    for program, what in (("bash", "TCP"), ("systemd-socket-activate", "UDP 8472")):
        monkeypatch.setattr(betweenround, "_shipped", without(program))
        assert site.check() == ([], "")
        assert any(what in note and f"has no {program}" in note for note in site.notes), site.notes


@pytest.mark.parametrize("program", ["perl", "python3"])
def test_protocol_4_goes_by_perl_or_by_python(
    site: Site, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = betweenround._shipped
    other = "perl -MSocket -e 1" if program == "python3" else "\"$t\" -c 'import socket'"
    monkeypatch.setattr(betweenround, "_shipped", lambda name: shipped(name).replace(other, "false"))
    assert site.check(IPIP) == ([], "")
    assert site.notes == []


def test_who_goes_away_leaves_no_listener(site: Site) -> None:
    """The controller's connections end while everybody listens."""
    packets = [Packet("udp", 8472, "a", "b"), Packet("tcp", 179, "b", "a")]
    parties = parties_of(packets, ADDRESSES, dict.fromkeys(HOSTS, True))
    talk = Conversation(site.pool.dial("b"), parties["b"].script("r"), "x")
    assert talk.hear(lambda lines: "ready" in lines, 10)
    assert "8472" in inside("b", "ss -Hlntu")
    talk._exchange._drop()
    late = time.monotonic() + 60
    while inside("b", "ss -Hlntu") and time.monotonic() < late:
        time.sleep(0.05)
    assert inside("b", "ss -Hlntu") == ""
    assert not of_the_check()
    assert not any(judged(packets, exchanged(site.pool, parties)).values()), (
        "and the next one is not hindered"
    )


@pytest.mark.usefixtures("hasty")
def test_an_apply_is_refused_and_told_only_where_firewalls_are_not_its_business(site: Site) -> None:
    def run(facts: dict[str, Facts], firewall: str = "check") -> None:
        spec = replace(site.spec, firewall=firewall)
        loaded = SimpleNamespace(spec=spec, inventory=site.inventory)
        _check_between(SimpleNamespace(loaded=loaded, facts=facts), site.pool, site.events.append)  # type: ignore[arg-type]

    with filtered("b", "udp dport 8472 drop"):
        with pytest.raises(ProvisionError, match="b: UDP 8472 does not arrive from any other host"):
            run(site.facts())
        site.events.clear()
        run(site.facts(), "ignore")
        assert site.notes == ["b: UDP 8472 does not arrive from any other host"]
        execs = site.pool.execs
        run({host: replace(each, kubelet_certificate="x") for host, each in site.facts().items()})
        assert site.pool.execs == execs, "where nobody joins nothing is tried"


def of_the_check() -> list[str]:
    """Processes that are left."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            said = each.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if "systemd-socket-activate" in said or "/raw." in said or "/take " in said:
            found.append(said)
    return found


def test_the_modes_that_are_tried_are_those_that_are_meant(site: Site) -> None:
    assert needs_of(replace(site.spec, network=IPIP)).protocols == ("ipip",)
    assert needs_of(replace(site.spec, network=HOST_GW)).adjacent
