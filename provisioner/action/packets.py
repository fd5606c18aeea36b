"""What a cluster's hosts send each other, held against one condition of a firewall's rule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from ipaddress import IPv4Network, IPv6Network, ip_network

Range = tuple[int, int]
_NUMBERS = {"tcp": "6", "udp": "17", "vrrp": "112", "ipip": "4"}
_NAMES = {"ipip": ("ipencap", "ipv4")}
"""As /etc/protocols has them, where that is not our name: "ipip" is another protocol there, 94."""
PORTLESS = ("vrrp", "ipip")


class Meets(IntEnum):
    """Whether packets meet a condition: `YES` all of them, `MAYBE` some, or it is not understood."""

    NO = 0
    MAYBE = 1
    YES = 2

    def inverted(self) -> Meets:
        return Meets(2 - self)


@dataclass(frozen=True)
class Packets:
    """New connections by `protocol` (tcp, udp; vrrp or ipip, which have no ports) to every port of `ports` (None: any)
    from all of `sources` (addresses, networks), to `targets` (addresses of the host, () where they are not known).

    A rule that lets through may do it for one port of several, the next for another: `port` is the one looked at.
    """

    protocol: str
    ports: Range | None
    sources: tuple[str, ...]
    port: int = 0
    targets: tuple[str, ...] = ()

    def each(self, text: str) -> Iterator[Packets]:
        """One for every port at which a rule of `text` may begin or end."""
        if self.ports is None:
            yield self
            return
        low, high = self.ports
        named = {int(each) for each in re.findall(r"(?<!packets )(?<!bytes )\b\d{1,5}\b", text)}
        for port in sorted({low, high} | {each + by for each in named for by in (-1, 0, 1)}):
            if low <= port <= high:
                yield replace(self, port=port)

    def by(self, protocols: Iterable[str]) -> Meets:
        """Whether they are of one of the protocols, by name or number."""
        known = {_NUMBERS[self.protocol], *_NAMES.get(self.protocol, (self.protocol,))}
        return Meets.YES if known & set(protocols) else Meets.NO

    def to(self, given: Sequence[str]) -> Meets:
        """Whether they go to one of the ports, or ranges of ports, that a rule names."""
        if self.ports is None:
            return Meets.NO if self.protocol in PORTLESS else Meets.MAYBE
        known = [each for each in map(range_of, given) if each is not None]
        if any(within(self.ports, each) for each in merged(known)):
            return Meets.YES
        unknown = len(known) < len(given)
        return Meets.MAYBE if unknown or any(within((self.port,) * 2, each) for each in known) else Meets.NO

    def come_from(self, given: Sequence[str], family: str = "") -> Meets:
        """Whether they come from one of the addresses or networks; of one family ("ip", "ip6") only, if so said."""
        sources = [each for each in self._networks() if family in {"", _FAMILIES[each.version]}]
        networks = list(map(_network, given))
        met = [max((_inside(each, network) for network in networks), default=Meets.NO) for each in sources]
        if not met or max(met) is Meets.NO:
            return Meets.NO
        return min(met) if min(met) is Meets.YES and len(met) == len(self.sources) else Meets.MAYBE

    def arrive_at(self, given: Sequence[str], family: str = "") -> Meets:
        """Whether they go to one of the addresses or networks; of one family ("ip", "ip6") only, if so said."""
        every = map(ip_network, self.targets)
        targets = [each for each in every if family in {"", _FAMILIES[each.version]}]
        networks = list(map(_network, given))
        met = [max((_inside(each, network) for network in networks), default=Meets.NO) for each in targets]
        if not met:
            return Meets.MAYBE
        return met[0] if len(set(met)) == 1 else Meets.MAYBE

    def of(self, family: str) -> bool:
        """Whether any are of the family ("ip", "ip6"), which is so when no sources are known."""
        return not self.sources or any(_FAMILIES[each.version] == family for each in self._networks())

    def _networks(self) -> Iterator[IPv4Network | IPv6Network]:
        yield from map(ip_network, self.sources)

    @property
    def mixed(self) -> bool:
        """Whether they may be of both families."""
        return self.of("ip") and self.of("ip6")


_FAMILIES = {4: "ip", 6: "ip6"}


def range_of(text: str) -> Range | None:
    """Of "6443", "2379-2380" or "2379:2380"; None where it is not in numbers."""
    found = re.fullmatch(r"(\d{1,5})(?:[-:](\d{1,5}))?", text.strip())
    return (int(found[1]), int(found[2] or found[1])) if found else None


def within(wanted: Range, given: Range) -> bool:
    return given[0] <= wanted[0] and wanted[1] <= given[1]


def merged(ranges: Iterable[Range]) -> list[Range]:
    """In order, those that touch made one."""
    found: list[Range] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError:
        return None


def _inside(source: IPv4Network | IPv6Network, given: IPv4Network | IPv6Network | None) -> Meets:
    if given is None:
        return Meets.MAYBE
    if isinstance(source, IPv4Network) and isinstance(given, IPv4Network):
        return Meets.YES if source.subnet_of(given) else Meets.MAYBE if source.overlaps(given) else Meets.NO
    if isinstance(source, IPv6Network) and isinstance(given, IPv6Network):
        return Meets.YES if source.subnet_of(given) else Meets.MAYBE if source.overlaps(given) else Meets.NO
    return Meets.NO
