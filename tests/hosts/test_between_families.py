"""Where pods have two IP families: what passes between hosts over the second one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from netnshosts import filtered, ip

from provisioner.spec.calico import Calico, IPPool
from provisioner.spec.model import Network

if TYPE_CHECKING:  # pytest loads it as a plug-in, for its fixtures
    from betweensite import Site

    from provisioner.remote.pool import Pool

pytest_plugins = ["betweensite"]

BOTH = ("10.244.0.0/16", "fd00:244::/56")
SECONDS = {"a": "fd00:98::1", "b": "fd00:98::2", "c": "fd00:98::3"}


def two_pools(encapsulation: str) -> Network:
    pools = tuple(IPPool(f"p{number}", cidr, encapsulation) for number, cidr in enumerate(BOTH))
    return Network(plugin="calico", pod_cidrs=BOTH, calico=Calico(pools=pools))


@pytest.fixture
def seconds(pool: Pool) -> Iterator[None]:
    """Hosts have an address of the other IP family as well, which is written nowhere."""
    for host, address in SECONDS.items():
        ip(f"-n pt-{host} addr add {address}/64 dev eth0 nodad")
    try:
        yield
    finally:
        for host, address in SECONDS.items():
            ip(f"-n pt-{host} addr del {address}/64 dev eth0")


LARGE = "packets of 1500 bytes over IPv6 do not arrive at b, of 1450 they do"
CUTS_OF_IPV6 = [
    (
        Network(pod_cidrs=BOTH),
        "udp dport 8472 drop",
        ["b: UDP 8472 over IPv6 does not arrive from any other host"],
    ),
    (
        two_pools("VXLAN"),
        f"ip6 saddr {SECONDS['c']} udp dport 4789 drop",
        ["b: UDP 4789 over IPv6 does not arrive from c"],
    ),
    (
        two_pools("None"),
        "tcp dport 179 reject with tcp reset",
        ["b: TCP 179 over IPv6 (refused) does not arrive from any other host"],
    ),
    (two_pools("VXLAN"), "meta length > 1450 drop", [f"a: {LARGE}", f"c: {LARGE}"]),
]


@pytest.mark.usefixtures("hasty", "seconds")
@pytest.mark.parametrize(
    ("network", "rule", "lines"), CUTS_OF_IPV6, ids=[rule for _, rule, _ in CUTS_OF_IPV6]
)
def test_of_two_families_that_which_is_cut_is_named(
    site: Site, network: Network, rule: str, lines: list[str]
) -> None:
    with filtered("b", f"meta nfproto ipv6 {rule}"):
        assert sorted(site.check(network)[0]) == lines
    assert site.check(network) == ([], "")
    assert site.notes == []
