"""What in hosts' own network settings is in the way of pods or of other hosts: judged from facts."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_preflight import GOOD, PARTS

from provisioner.action.hostnetwork import check_host_networks, doubtful_networks
from provisioner.errors import ProvisionError
from provisioner.network.mtu import wire_mtu, with_wire_mtu
from provisioner.playbook.facts import Facts
from provisioner.playbook.factscript import facts_script
from provisioner.playbook.factsread import parse_facts
from provisioner.spec.calico import Calico, IPPool
from provisioner.spec.cilium import Cilium
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec, Network

LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"
DUAL = ("10.244.0.0/16", "fd00:10::/56")


@pytest.fixture(scope="module")
def lab() -> ClusterSpec:
    return load_cluster(LAB)[1]


def facts(spec: ClusterSpec, **changed: dict[str, Any]) -> dict[str, Facts]:
    """Good ones but for what is changed, by host."""
    return {
        name: replace(
            Facts(**GOOD),
            **{
                "hostname": name,
                "addresses": {"eth0": (f"{node.address}/24",)},
                "mtus": {"eth0": 1500},
                "macs": {"eth0": f"02:00:00:00:00:{number:02}"},
                **changed.get(name, {}),
            },
        )
        for number, (name, node) in enumerate(spec.nodes.items())
    }


def calico(encapsulation: str = "VXLAN", **more: Any) -> Network:
    return Network(
        plugin="calico", calico=Calico(pools=(IPPool("p", DUAL[0], encapsulation=encapsulation),), **more)
    )


FAULTS: list[tuple[str, dict[str, dict[str, Any]], Network, str, str]] = [
    (
        "twins",
        {"worker2": {"macs": {"eth0": "02:00:00:00:00:02"}}},
        Network(),
        "worker2: its link eth0 has the same hardware address as worker1's, 02:00:00:00:00:02",
        "hardware address",
    ),
]


@pytest.mark.parametrize(
    ("changed", "network", "line", "hint"), [e[1:] for e in FAULTS], ids=[e[0] for e in FAULTS]
)
def test_a_fault_is_named(
    lab: ClusterSpec, changed: dict[str, dict[str, Any]], network: Network, line: str, hint: str
) -> None:
    spec = replace(lab, network=network)
    with pytest.raises(ProvisionError) as caught:
        check_host_networks(spec, facts(spec, **changed))
    assert line in caught.value.reason.splitlines()
    assert hint in caught.value.hint


PASS: list[tuple[str, dict[str, dict[str, Any]], Network]] = [
    ("good", {}, Network()),
    ("nothing known", {"worker1": {"mtus": {}, "macs": {}}}, Network()),
    ("another link's twin", {"worker2": {"macs": {"eth1": "02:00:00:00:00:02"}}}, Network()),
    (
        "twins beyond a router",
        {"worker2": {"macs": {"eth0": "02:00:00:00:00:02"}, "addresses": {"eth0": ("10.98.0.22/30",)}}},
        Network(),
    ),
]


@pytest.mark.parametrize(("changed", "network"), [each[1:] for each in PASS], ids=[each[0] for each in PASS])
def test_what_works_passes(lab: ClusterSpec, changed: dict[str, dict[str, Any]], network: Network) -> None:
    spec = replace(lab, network=network)
    check_host_networks(spec, facts(spec, **changed))


BEYOND = {"addresses": {"eth0": ("192.0.2.5/24",), "eth1": ("10.98.0.21/27",)}, "strict_links": ("eth1",)}
DOUBTS: list[tuple[str, dict[str, dict[str, Any]], str]] = [
    (
        "names",
        {"worker1": {"hostname": "x"}, "cp1": {"hostname": "x"}},
        "cp1, worker1 have the same hostname, x",
    ),
    (
        "old and new iptables",
        {"worker1": {"iptables": ("legacy", "nft")}},
        "worker1: iptables has rules both in its old world and in nftables",
    ),
    (
        "a policy of old",
        {"worker1": {"iptables": ("legacy drop",)}},
        "worker1: iptables' old world drops what pods send (the policy of FORWARD)",
    ),
    ("nothing", {}, ""),
    ("strict on the only link", {"worker1": {"strict_links": ("eth0",)}}, ""),
    ("strict, all on the link", {"worker1": {**BEYOND, "default_link": "eth0"}}, ""),
    (
        "strict, some beyond",
        {
            "worker1": {
                **BEYOND,
                "addresses": {"eth0": ("192.0.2.5/24",), "eth1": ("10.98.0.21/30",)},
                "default_link": "eth0",
            }
        },
        "worker1: rp_filter is strict on eth1, and cp1 may be behind eth0",
    ),
]


@pytest.mark.parametrize(("changed", "said"), [each[1:] for each in DOUBTS], ids=[each[0] for each in DOUBTS])
def test_a_doubt_is_told(lab: ClusterSpec, changed: dict[str, dict[str, Any]], said: str) -> None:
    found = [each.message for each in doubtful_networks(lab, facts(lab, **changed))]
    assert [each[: len(said)] for each in found] == ([said] if said else [])


def test_packets_on_the_wire_are_as_large_as_the_spec_says(lab: ClusterSpec) -> None:
    spec = replace(lab, network=calico(mtu=1400))
    assert wire_mtu(spec) == 1450
    assert with_wire_mtu(spec, 1450) == "network.calico.mtu: 1400"
    assert with_wire_mtu(lab, 1450) == "network.flannel.mtu: 1450"
    cilium = replace(lab, network=replace(lab.network, plugin="cilium", cilium=Cilium(mtu=1400)))
    assert wire_mtu(cilium) == 1400
    assert with_wire_mtu(cilium, 1450) == "network.cilium.mtu: 1450"


LINKS = """\
1: lo: <LOOPBACK,UP> mtu 65536 qdisc noqueue state UNKNOWN \\    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
2: eth0@if3: <UP> mtu 1400 qdisc noqueue state UP \\    link/ether 02:00:00:00:00:21 brd ff:ff:ff:ff:ff:ff
3: bond0.7: <UP> mtu 9000 qdisc noqueue state UP \\    link/ether 02:00:00:00:00:22 brd ff:ff:ff:ff:ff:ff
4: tunl0@NONE: <NOARP> mtu 1480 qdisc noop state DOWN \\    link/ipip 0.0.0.0 brd 0.0.0.0
odd x y z
"""
WORLDS = [("", ()), ("nft rule", ()), ("legacy rule", ()), ("legacy rule\nnft rule", ("legacy", "nft"))]
STRICT = [
    ("all 0\neth0 1\neth1 2\ndefault 1", ("eth0",)),
    ("all 1\neth0 0\neth1 2", ("eth0",)),
    ("all 2\neth0 1", ()),
    ("", ()),
]


def parsed(**parts: str) -> Facts:
    output = "".join(f"={name}\n{body}\n" for name, body in {**PARTS, "resolver": "", **parts}.items())
    return parse_facts("a", output.encode(), 1.0)


def test_links_are_read() -> None:
    found = parsed(links=LINKS)
    assert found.mtus == {"eth0": 1400, "bond0.7": 9000, "lo": 65536, "tunl0": 1480}
    assert found.macs == {"eth0": "02:00:00:00:00:21", "bond0.7": "02:00:00:00:00:22"}
    assert found.strict_links == ()


@pytest.mark.parametrize("shell", ["dash", "busybox"])
def test_this_machines_links_are_found(shell: str, tmp_path: Path) -> None:
    (tmp_path / "facts").write_text(facts_script().main)
    argv = [*(["busybox", "sh"] if shell == "busybox" else [shell]), str(tmp_path / "facts")]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    links, ways = (said.partition(f"={part}\n")[2].partition("\n=")[0] for part in ("links", "rp_filter"))
    found = parsed(links=links, rp_filter=ways)
    assert "lo 0" in ways or "lo 1" in ways or "lo 2" in ways
    for link in Path("/sys/class/net").iterdir():
        if (link / "mtu").exists() and not link.name.startswith(("veth", "cali")):
            assert found.mtus[link.name] == int((link / "mtu").read_text())
            mac = (link / "address").read_text().strip()
            assert found.macs.get(link.name, mac) == mac
            assert (link.name in found.macs) == bool(re.fullmatch("[0-9a-f:]{17}", mac) and mac.strip("0:"))


WAYS = [
    ("8.8.8.8 8.8.8.8 via 10.98.0.1 dev eth0 src 10.98.0.21 uid 0 \\    cache ", ("eth0", "10.98.0.21")),
    ("10.98.0.21 local 10.98.0.21 dev lo src 10.98.0.21 uid 0 \\    cache <local> ", ("lo", "10.98.0.21")),
    ("fd00::7 fd00::7 from :: via fe80::1 dev eth0 proto ra src fd00::5 metric 100", ("eth0", "fd00::5")),
    ("192.0.2.1 ", ()),
]


@pytest.mark.parametrize(("text", "way"), WAYS)
def test_the_way_towards_an_address_is_read(text: str, way: tuple[str, ...]) -> None:
    assert parsed(towards=text).towards == {text.partition(" ")[0]: way}
    assert parsed().towards == {}


@pytest.mark.parametrize("shell", ["dash", "busybox"])
def test_the_way_towards_an_address_is_asked_for(shell: str, tmp_path: Path) -> None:
    """Of this machine: one of its own, and what is no address."""
    argv = [*(["busybox", "sh"] if shell == "busybox" else [shell]), str(tmp_path / "facts")]
    for target, way in (("127.0.0.7", ("lo", "127.0.0.1")), ("nosuch", ())):
        (tmp_path / "facts").write_text(facts_script(towards=target).main)
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        part = said.partition("=towards\n")[2].partition("=end")[0]
        found = parsed(towards=part).towards
        assert found == {target: way}


@pytest.mark.parametrize(("text", "worlds"), [*WORLDS, ("legacy drop\nnft drop\nnft rule", ("legacy drop",))])
def test_worlds_of_iptables_are_read(text: str, worlds: tuple[str, ...]) -> None:
    assert parsed(iptables=text).iptables == worlds


SAVED = {
    "legacy": "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n-A INPUT -i lo -j ACCEPT\n-A INPUT -j DROP\nCOMMIT\n",
    "nft": "# by nft\n*filter\n:FORWARD ACCEPT [0:0]\n-A KUBE-X -j RETURN\nCOMMIT\n",
}


@pytest.mark.parametrize("shell", ["dash", "busybox"])
def test_who_has_used_the_old_world_is_asked_for_its_rules(shell: str, tmp_path: Path) -> None:
    """The kernel names the tables; iptables' programs are stand-ins."""
    for world, text in SAVED.items():
        program = tmp_path / f"iptables-{world}-save"
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\n")
        program.chmod(0o755)
    names = tmp_path / "names"
    (tmp_path / "facts").write_text(facts_script().main.replace("/proc/net/ip_tables_names", str(names)))
    argv = [*(["busybox", "sh"] if shell == "busybox" else [shell]), str(tmp_path / "facts")]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for tables, worlds in ("", ()), ("filter\nnat\n", ("legacy", "nft", "legacy drop")):
        names.write_text(tables)
        done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment)
        part = done.stdout.partition("=iptables\n")[2].partition("=init")[0]
        assert parsed(iptables=part).iptables == worlds, done.stdout


@pytest.mark.parametrize(("text", "links"), STRICT)
def test_the_larger_value_of_a_filter_is_in_force(text: str, links: tuple[str, ...]) -> None:
    assert parsed(rp_filter=text).strict_links == links
