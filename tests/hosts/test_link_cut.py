"""A link is cut and healed by the host's own `ip`, in a network namespace: afterwards all routes are as before."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from provisioner.failover import linkcut
from provisioner.failover.linkcut import cutting, healing

LINKS = """
ip link add v0 type veth peer name p0
ip link add w0 type veth peer name p1
ip link add br0 type bridge
ip link set w0 master br0
for l in v0 p0 w0 p1 br0 lo; do ip link set $l up; done
ip addr add 10.7.0.2/24 dev v0
ip addr add 10.8.0.2/24 dev br0
ip -6 addr add fd07::2/64 dev v0 nodad
ip -6 addr add fd08::2/64 dev br0 nodad
"""
ROUTES = """
ip route add default via 203.0.113.1 dev v0 onlink metric 50
ip route add 198.51.100.1 dev v0 scope link
ip route add 10.20.0.0/16 via 198.51.100.1
ip route add 10.21.0.0/16 via 10.7.0.1 src 10.7.0.2 mtu 1400 metric 7
ip route add 10.22.0.0/16 via 10.7.0.1 table 77
ip route add 10.23.0.0/16 proto static nexthop via 10.7.0.1 weight 2 nexthop via 10.8.0.1 weight 1
ip route add 10.24.0.0/16 via 10.8.0.1
ip route add unreachable 10.25.0.0/16
ip -6 route add default via fe80::1 dev v0 metric 50
ip -6 route add fd20::/64 via fd07::1 src fd07::2
ip -6 route add fd21::/64 via fd07::dead table 77
ip -6 route add fd22::/64 nexthop via fd07::1 dev v0 nexthop via fd08::1 dev br0
ip -6 route add fd23::/64 via fd08::1
"""
SHOWN = "for f in 4 6; do ip -$f -o route show table all; ip -$f -o addr; done; ip -br link"


@dataclass(frozen=True)
class Namespace:
    name: str

    def run(self, script: str) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, "sh", "-c", script],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def shown(self) -> list[str]:
        """Routes, addresses and links, a line each."""
        return sorted(self.run(SHOWN).splitlines())

    def await_shown(self, wanted: list[str]) -> None:
        """An address of the link is not settled at once."""
        late = time.monotonic() + 60
        while self.shown() != wanted and time.monotonic() < late:
            time.sleep(0.1)
        assert self.shown() == wanted


@pytest.fixture
def netns() -> Iterator[Namespace]:
    made = Namespace("provision-linkcut")
    subprocess.run(["ip", "netns", "add", made.name], check=True)
    try:
        made.run(f"set -e\n{LINKS}\nsleep 2\n{ROUTES}")
        yield made
    finally:
        subprocess.run(["ip", "netns", "del", made.name], check=True)


def test_all_routes_are_back(netns: Namespace, tmp_path: Path) -> None:
    before = netns.shown()
    netns.run(f"set -e\n{cutting('v0', str(tmp_path))}")
    lost = set(before) - set(netns.shown())
    assert len([line for line in lost if " dev v0" in line]) >= 10, lost
    netns.run(healing("v0", str(tmp_path)))
    assert (tmp_path / "missing").read_text() == ""
    assert [path.name for path in tmp_path.iterdir()] == ["missing"]
    netns.await_shown(before)


def test_what_stands_on_the_link_is_back_too(netns: Namespace, tmp_path: Path) -> None:
    """A bridge stands for a VLAN, which not every kernel has: that the kernel takes down and up with its link."""
    before = netns.shown()
    netns.run(f"set -e\n{cutting('w0', str(tmp_path))}\nip link set br0 down")
    assert not [line for line in netns.shown() if line.startswith(("10.24.0.0/16", "fd23::/64"))]
    netns.run(healing("w0", str(tmp_path)))
    assert (tmp_path / "missing").read_text() == ""
    netns.await_shown(before)


def test_what_stays_lost_is_told(netns: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linkcut, "TRIES", 2)
    netns.run(f"set -e\n{cutting('v0', str(tmp_path))}\nip addr del 10.7.0.2/24 dev v0")
    said = netns.run(f"{{ {healing('v0', str(tmp_path))}\n}} 2>&1")
    missing = (tmp_path / "missing").read_text().splitlines()
    assert {line.split()[4] for line in missing} == {"10.21.0.0/16", "10.22.0.0/16"}
    assert "ip -4 route add 10.22.0.0/16 via 10.7.0.1 dev v0 table 77" in missing
    assert "the link v0 is up again, and these of its routes are not:" in said
