"""What passes between hosts: who sends what to whom, the scripts on loopback, and what is said of losses.

With hosts that are apart: tests/hosts/test_between_hosts.py.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from test_firewall import STRICT, facts

from provisioner.action.between import Between
from provisioner.action.betweenround import Host, Party, heard, parties_of
from provisioner.action.flows import Flow, Packet, flows_of, packets_of
from provisioner.action.losses import LOST, REFUSED, Unknown, judged, told
from provisioner.inventory.model import Inventory
from provisioner.spec.calico import BGP, BGPPeer, Calico, IPPool
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec, Flannel, Network

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ha() -> tuple[Inventory, ClusterSpec]:
    return load_cluster(ROOT / "inventories/ha.yaml")


def test_each_role_gets_what_it_is_there_for_from_those_who_need_it(
    ha: tuple[Inventory, ClusterSpec],
) -> None:
    """A firewall that keeps etcd from workers is no fault."""
    inventory, spec = ha
    packets = packets_of(flows_of(inventory, spec, list(inventory.hosts)), list(inventory.hosts))
    planes, balancers = {"cp1", "cp2", "cp3"}, {"lb1", "lb2"}
    nodes = {name for name, node in spec.nodes.items() if node.node}

    def ends(what: str) -> tuple[set[str], set[str]]:
        mine = [each for each in packets if each.what == what]
        return {each.sender for each in mine}, {each.receiver for each in mine}

    assert ends("UDP 8472") == (nodes, nodes)
    assert ends("TCP 10250") == (planes, nodes)
    assert ends("TCP 2380") == ends("TCP 2379") == (planes, planes)
    assert ends("TCP 5000") == (nodes, {"registry1"})
    assert ends("TCP 6443") == (nodes | balancers, planes | balancers), "both have it"
    assert all(each.sender != each.receiver for each in packets)


def calico(encapsulation: str, **more: Any) -> Network:
    pools = (IPPool("p", "10.244.0.0/16", encapsulation=encapsulation),)
    return Network(plugin="calico", calico=Calico(pools=pools, **more))


MODES: list[tuple[Network, set[str]]] = [
    (Network(), {"UDP 8472"}),
    (Network(flannel=Flannel("wireguard")), {"UDP 51820"}),
    (Network(flannel=Flannel("ipip")), {"IP protocol 4"}),
    (calico("VXLAN"), {"UDP 4789"}),
    (calico("VXLAN", wireguard=True, typha=True), {"UDP 4789", "UDP 51820", "TCP 5473"}),
    (calico("IPIP"), {"IP protocol 4", "TCP 179"}),
    (calico("IPIPCrossSubnet"), {"IP protocol 4", "TCP 179"}),
    (calico("None"), {"TCP 179"}),
]


@pytest.mark.parametrize(("network", "whats"), MODES, ids=range(len(MODES)))
def test_each_mode_is_tried_with_what_it_sends(
    ha: tuple[Inventory, ClusterSpec], network: Network, whats: set[str]
) -> None:
    inventory, spec = ha
    flows = flows_of(inventory, replace(spec, network=network), list(inventory.hosts))
    found = {each.what for each in packets_of(flows, list(inventory.hosts))}
    assert whats <= found
    others = {"UDP 8472", "UDP 4789", "UDP 51820", "TCP 179", "TCP 5473", "IP protocol 4"} - whats
    assert not others & found


def test_routers_outside_are_called_at_their_own_port(ha: tuple[Inventory, ClusterSpec]) -> None:
    """Nodes listen at another one here. More in tests/hosts."""
    inventory, spec = ha
    bgp = BGP(listen_port=1179, peers=(BGPPeer("tor", "all()", "192.0.2.1", 64600),))
    spec = replace(spec, network=calico("IPIP", bgp=bgp))
    check = Between(inventory, spec, {name: facts() for name in inventory.hosts}, list(inventory.hosts))
    calls = [each for each in check.packets if "tor" in each.receiver]
    assert {each.sender for each in calls} == {name for name, node in spec.nodes.items() if node.node}
    assert {each.port for each in calls} == {179}
    assert list(parties_of(calls, check._addresses, check._local)) == [each.sender for each in calls]


def test_ip_in_ip_is_tried_over_ipv4_alone(ha: tuple[Inventory, ClusterSpec]) -> None:
    inventory, spec = ha
    nodes = {**spec.nodes, "worker1": replace(spec.nodes["worker1"], address="fd00::7")}
    flows = flows_of(inventory, replace(spec, nodes=nodes, network=calico("IPIP")), list(inventory.hosts))
    (raw,) = [flow for flow in flows if flow.protocol == "ipip"]
    assert "worker1" not in {*raw.senders, *raw.receivers}
    assert "worker2" in raw.receivers


@pytest.mark.parametrize(
    ("firewall", "rule", "tried"),
    [
        ("check", "meta l4proto ipencap accept", True),
        ("check", "udp dport 8472 accept", False),
        ("manage", "meta l4proto ipencap accept", True),
        ("manage", "udp dport 8472 accept", False),
        ("ignore", "meta l4proto ipencap accept", True),
    ],
)
def test_protocol_4_is_not_sent_where_the_firewall_is_known_to_drop_it(
    ha: tuple[Inventory, ClusterSpec], firewall: str, rule: str, tried: bool
) -> None:
    inventory, spec = ha
    spec = replace(spec, network=calico("IPIP"), firewall=firewall)
    known = {name: facts() for name in inventory.hosts}
    known["worker1"] = facts(firewall="nftables", filters=STRICT % rule)
    packets = Between(inventory, spec, known, list(inventory.hosts)).packets
    receivers = {each.receiver for each in packets if each.protocol == "ipip"}
    assert ("worker1" in receivers) is tried
    assert "worker2" in receivers


def test_those_who_are_at_work_do_not_try_each_other(ha: tuple[Inventory, ClusterSpec]) -> None:
    inventory, spec = ha
    flows = flows_of(inventory, spec, list(inventory.hosts))
    packets = packets_of(flows, ["worker2"])
    assert packets
    assert all("worker2" in {each.sender, each.receiver} for each in packets)
    assert packets_of(flows, []) == []


@pytest.mark.parametrize("count", [2, 3, 20, 21, 64, 100, 333])
def test_of_many_hosts_each_that_is_cut_off_is_found_both_ways(count: int) -> None:
    names = tuple(f"h{number}" for number in range(count))
    packets = [Packet("udp", 1, *pair) for pair in Flow("udp", 1, names, names).pairs()]
    every = count * (count - 1)
    assert len(packets) == every if count <= 20 else len(packets) <= count * 9
    assert len(set(packets)) == len(packets)
    for bad in (names[0], names[count // 2], names[-1]):
        deaf = {each: LOST for each in packets if each.receiver == bad}
        dumb = {each: LOST for each in packets if each.sender == bad}
        assert deaf
        assert dumb
        if count > 2:
            assert told(deaf, packets) == [f"{bad}: UDP 1 does not arrive from any other host"]
            assert told(dumb, packets) == [f"{bad}: what it sends to UDP 1 arrives nowhere"]


def test_what_is_lost_in_the_same_place_is_one_line() -> None:
    names = ("a", "b", "c")
    tried = [Packet("tcp", port, s, r) for port in (1, 2) for s in names for r in names if s != r]
    lost = {each: LOST for each in tried if (each.sender, each.receiver) == ("a", "b")}
    assert told(lost, tried) == ["b: TCP 1, TCP 2 does not arrive from a"]
    lost[Packet("tcp", 1, "c", "a")] = REFUSED
    assert told(lost, tried)[1:] == ["a: TCP 1 (refused) does not arrive from c"]


TCP, UDP, RAW = Packet("tcp", 179, "a", "b"), Packet("udp", 8472, "a", "b"), Packet("ipip", 0, "a", "b")
JUDGED: list[tuple[str, Packet, Sequence[str], Sequence[str], str | Unknown]] = [
    ("open", TCP, ["tcp 0 open"], ["listening tcp 179"], ""),
    ("silence", TCP, [], ["listening tcp 179"], LOST),
    ("refused by who listens", TCP, ["tcp 0 Connection refused"], ["listening tcp 179"], REFUSED),
    ("refused by nobody", TCP, ["tcp 0 Connection refused"], [], ""),
    ("refused by another", TCP, ["tcp 0 Connection refused"], ["busy tcp 179"], ""),
    ("no way", TCP, ["tcp 0 No route to host"], [], "no route to host"),
    ("no bash", TCP, ["lacks bash"], ["listening tcp 179"], Unknown("a has no bash")),
    ("it came", UDP, [], ["listening udp 8472", "got 0"], ""),
    ("another's came", UDP, [], ["listening udp 8472", "got 7"], LOST),
    ("in use", UDP, [], ["busy udp 8472"], Unknown("the port is in use on b", usual=True)),
    ("it came raw", RAW, [], ["listening ipip 0", "got 0"], ""),
    ("raw silence", RAW, [], ["listening ipip 0"], LOST),
    (
        "nothing to send it with",
        RAW,
        ["lacks perl"],
        ["listening ipip 0"],
        Unknown("a has neither perl nor python3"),
    ),
    ("nothing to hear it with", RAW, [], ["lacks perl"], Unknown("b has neither perl nor python3")),
    ("deaf", UDP, [], ["lacks systemd-socket-activate"], Unknown("b has no systemd-socket-activate")),
    (
        "garbage",
        UDP,
        ["tcp", "tcp x y", "", "way", "got"],
        ["listening udp 8472", "got x", "listening"],
        LOST,
    ),
]


@pytest.mark.parametrize(
    ("packet", "a", "b", "said"), [each[1:] for each in JUDGED], ids=[e[0] for e in JUDGED]
)
def test_what_became_of_a_packet(
    packet: Packet, a: Sequence[str], b: Sequence[str], said: str | Unknown
) -> None:
    hosts = {"a": heard("10.0.0.1", a), "b": heard("10.0.0.2", b)}
    assert judged([packet], hosts)[packet] == said


def test_ways_and_neighbours_are_heard() -> None:
    lines = [
        "way 10.0.0.2 dev eth0 src 10.0.0.1 uid 0 \\    cache expires 599sec mtu 1400 ",
        "way 10.0.0.3 via 10.0.0.9 dev eth0 src 10.0.0.1 uid 0 \\    cache ",
        "way 10.0.0.2 dev eth0 lladdr 02:00:00:00:00:01 REACHABLE ",
        "way 10.0.0.4 dev eth0 FAILED ",
        "way mtu",
    ]
    said = heard("10.0.0.1", lines)
    assert said == Host("10.0.0.1", mtus={"10.0.0.2": 1400}, neighbours={"10.0.0.2": "02:00:00:00:00:01"})


def talked(
    shell: str,
    party: Party,
    folder: Path,
    addresses: dict[str, str],
    seconds: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """A whole conversation with the script, in a folder as the frame makes it."""
    script = party.script("r0")
    for name, blob in script.payload.items():
        (folder / name).write_bytes(blob.data or b"")
    (folder / "main").write_text(script.main)
    program = shutil.which(shell)
    assert program is not None
    body = f". {folder}/main"
    argv = [
        "timeout",
        "20",
        program,
        *(["sh"] if shell == "busybox" else []),
        "-c",
        f"( {body} ) 3<&0 </dev/null",
    ]
    process = subprocess.Popen(
        argv, env={**os.environ, "W": str(folder)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    assert process.stdout
    lines: list[str] = []
    wanted = {f"got {number}" for number in party.receives if party.receives[number].protocol == "udp"}
    while "ready" not in lines:
        lines.append(process.stdout.readline().strip())
    process.stdin.write(party.orders(addresses, seconds))
    process.stdin.flush()
    while not {"sent", *wanted} <= set(lines):
        lines.append(process.stdout.readline().strip())
        assert lines[-1], lines
    process.stdin.close()
    lines += process.stdout.read().splitlines()
    assert process.wait(10) == 0
    return lines


def free_ports(count: int) -> list[int]:
    found = [socket.socket() for _ in range(count)]
    for each in found:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in found]
    for each in found:
        each.close()
    return ports


@pytest.mark.parametrize("shell", ["dash", "busybox"])
@pytest.mark.parametrize("address", ["127.0.0.2", "::1"])
def test_a_host_hears_itself(shell: str, address: str, tmp_path: Path) -> None:
    first, second, silent, taken = free_ports(4)
    packets = [
        Packet("udp", first, "a", "a"),
        Packet("udp", second, "a", "a"),
        Packet("udp", first, "a", "a", 1500),
        Packet("udp", first, "a", "a", 9000),
        Packet("tcp", first, "a", "a"),
        Packet("tcp", silent, "a", "b"),
        Packet("tcp", taken, "a", "a"),
    ]
    party = parties_of(packets, {"a": address, "b": address}, {"a": True, "b": True})["a"]
    with socket.create_server(("127.0.0.1", taken)):
        lines = talked(shell, party, tmp_path, {"a": address, "b": address})
    said = heard(address, lines)
    assert said.listening == {("udp", first), ("udp", second), ("tcp", first)}
    assert said.busy == {("tcp", taken)}
    assert said.got == {0, 1, 2, 3}
    assert said.connected[4] == "open"
    assert said.connected[5] == "Connection refused"
    late = time.monotonic() + 60
    while time.monotonic() < late and any(_is_open(address, port) for port in (first, second)):
        time.sleep(0.05)
    assert not any(_is_open(address, port) for port in (first, second)), "nobody listens any more"


@pytest.mark.parametrize("shell", ["dash", "busybox"])
@pytest.mark.parametrize("local", [True, False])
def test_a_host_hears_itself_by_both_families(shell: str, local: bool, tmp_path: Path) -> None:
    """In one conversation, where both addresses are its own, and where they are translated on the way."""
    port, other = free_ports(2)
    packets = [
        Packet("udp", port, "a", "a", version=4),
        Packet("udp", port, "a", "a", version=6),
        Packet("udp", port, "a", "a", 1500, version=6),
        Packet("tcp", other, "a", "a", version=4),
        Packet("tcp", other, "a", "a", version=6),
    ]
    addresses, seconds = {"a": "127.0.0.2"}, {"a": "::1"}
    party = parties_of(packets, addresses, {"a": local}, seconds)["a"]
    assert party.orders(addresses, seconds).count(" ::1 ") == 3
    said = heard("127.0.0.2", talked(shell, party, tmp_path, addresses, seconds))
    assert said.listening == {("udp", port), ("tcp", other)}
    assert said.got == {0, 1, 2}
    assert said.connected == {3: "open", 4: "open"}


def _is_open(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as mine:
        return mine.connect_ex((address, port)) == 0
