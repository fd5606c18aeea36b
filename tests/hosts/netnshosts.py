"""Hosts that are network namespaces of this machine: one sshd of it leads into each, by the port that is asked."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sshd import free_port, serve

from provisioner.engine.events import silent
from provisioner.inventory.model import load_inventory
from provisioner.lab.declared import plan_of
from provisioner.lab.root import layers
from provisioner.remote.hostkeys import KnownHosts, enrol
from provisioner.remote.pool import Pool
from provisioner.remote.route import UserConfig

ROOT = Path(__file__).parents[2]
ADDRESSES = {"a": "10.77.0.1", "b": "10.77.0.2", "c": "10.77.0.3"}
SPACES = [*ADDRESSES, "switch", "router"]


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True)


def inside(host: str, words: str) -> str:
    """What a command prints in the host's namespace."""
    argv = ["ip", "netns", "exec", f"pt-{host}", *words.split()]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@cache
def debian() -> Path:
    """A lab's root: nft is there, whatever this machine has."""
    return layers(plan_of(load_inventory(ROOT / "inventories/lab.yaml")), silent)[-1]


def nft(host: str, words: str) -> str:
    argv = ["ip", "netns", "exec", f"pt-{host}", "chroot", str(debian()), "nft", words]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@contextmanager
def filtered(host: str, rule: str) -> Iterator[None]:
    """The rule of nftables stands in what comes in to the host."""
    nft(host, f"table inet cut {{ chain in {{ type filter hook input priority 0; {rule}; }}; }}")
    try:
        yield
    finally:
        nft(host, "delete table inet cut")


@contextmanager
def segment() -> Iterator[None]:
    """The hosts, on a bridge in a namespace of its own."""
    _gone()
    try:
        for space in SPACES:
            ip(f"netns add pt-{space}")
            ip(f"-n pt-{space} link set lo up")
        ip("-n pt-switch link add br0 type bridge")
        ip("-n pt-switch link set dev br0 up")
        for name, address in ADDRESSES.items():
            _plug(name, "eth0", name, "switch")
            ip(f"-n pt-switch link set dev {name} master br0")
            ip(f"-n pt-{name} addr add {address}/24 dev eth0")
        _plug("router", "outer", "r", "switch")
        ip("-n pt-switch link set dev r master br0")
        yield
    finally:
        _gone()


def _plug(space: str, link: str, other: str, where: str) -> None:
    ip(f"link add {link} netns pt-{space} type veth peer name {other} netns pt-{where}")
    ip(f"-n pt-{space} link set dev {link} up")
    ip(f"-n pt-{where} link set dev {other} up")


def _gone() -> None:
    for space in SPACES:
        subprocess.run(["ip", "netns", "del", f"pt-{space}"], check=False, capture_output=True)


@contextmanager
def moved(host: str, mtu: int, *, proxy: bool = True) -> Iterator[None]:
    """The host keeps its address and lies behind a router, which answers for it on the segment (proxy ARP)."""
    address = ADDRESSES[host]
    ip(f"-n pt-switch link set dev {host} down")
    _plug("router", "inner", "eth1", host)
    try:
        ip(f"-n pt-{host} addr del {address}/24 dev eth0")
        ip(f"-n pt-{host} addr add {address}/32 dev eth1")
        ip(f"-n pt-{host} route add 10.77.9.1 dev eth1")
        ip(f"-n pt-{host} route add 10.77.0.0/24 via 10.77.9.1 src {address}")
        ip("-n pt-router addr add 10.77.9.1/24 dev inner")
        ip(f"-n pt-router link set dev inner mtu {mtu}")
        ip(f"-n pt-{host} link set dev eth1 mtu {mtu}")
        ip(f"-n pt-router route add {address}/32 dev inner")
        ip("-n pt-router addr add 10.77.0.250/24 dev outer")
        inside("router", "sysctl -q net.ipv4.ip_forward=1 net.ipv4.conf.outer.proxy_arp=1")
        for each in ADDRESSES:
            ip(f"-n pt-{each} neigh flush all")
        yield
    finally:
        ip("-n pt-router link del inner")
        ip("-n pt-router addr flush dev outer")
        ip(f"-n pt-{host} addr add {address}/24 dev eth0")
        ip(f"-n pt-switch link set dev {host} up")
        for each in ADDRESSES:
            ip(f"-n pt-{each} neigh flush all")
            ip(f"-n pt-{each} route flush cache")


@contextmanager
def logins(folder: Path) -> Iterator[Pool]:
    """A pool with a session into each."""
    ports = {name: free_port() for name in ADDRESSES}
    lines = [f"Port {port}" for port in ports.values()]
    for name, port in ports.items():
        lines += [
            f"Match LocalPort {port}",
            f'ForceCommand exec ip netns exec pt-{name} sh -c "$SSH_ORIGINAL_COMMAND"',
        ]
    with serve(folder, extra=lines) as server:
        path = server.folder / "known"
        for port in ports.values():
            enrol(path, server.address, port, server.host_key)
        hosts = {name: server.connection(port=port) for name, port in ports.items()}
        with Pool(hosts, known_hosts=KnownHosts.load([path]), config=UserConfig(None)) as pool:
            yield pool
