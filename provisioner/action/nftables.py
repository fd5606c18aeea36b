"""What the rules that `nft list table` prints do with packets. (wiki.nftables.org, Simple rule management)"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network

from provisioner.action.packets import Meets, Packets, range_of, within

_EPHEMERAL = (32768, 60999)
"""Ports that Linux sends from (net.ipv4.ip_local_port_range)."""
_DEEPEST = 16
"""The kernel refuses rules that jump further (NFT_JUMP_STACK_SIZE, include/net/netfilter/nf_tables.h)."""
_NOISE = re.compile(
    r"/\*.*?\*/|# xt_comment|xt match \"?comment\"?|counter packets \d+ bytes \d+|counter( name \"[^\"]*\")?"
    r"|\bcomment \"[^\"]*\"|\blog( prefix \"[^\"]*\"| (level|group|flags|snaplen|queue-threshold) \S+)*"
)
_VERDICT = re.compile(r"(?<!\S)(accept|drop|reject|queue|return|jump|goto|xt target \"?\w+\"?)(?!\S) ?(\S*)")
_VERDICT_MAP = re.compile(r"^(.*) vmap \{([^}]*)\}$")


@dataclass(frozen=True)
class Rule:
    condition: str
    verb: str
    target: str = ""


@dataclass(frozen=True)
class Table:
    """`hooks` has, by base chain, its hook and whether its policy is to drop."""

    family: str
    name: str
    chains: Mapping[str, Sequence[Rule]]
    hooks: Mapping[str, tuple[str, bool]]

    @property
    def of_iptables(self) -> bool:
        """Whether iptables keeps its filter here, in which others put in rules of their own."""
        return self.family in {"ip", "ip6"} and self.name == "filter" and "FORWARD" in self.hooks

    def refusing(self, hook: str, packets: Packets, *, policies: bool = True) -> str:
        """The base chain of the hook that refuses them for sure, "" for none. `policies`: those of chains count."""
        if self.family in {"ip", "ip6"} and not packets.of(self.family):
            return ""
        for chain, (at, drops) in self.hooks.items():
            verdict = self._verdict(chain, packets, frozenset()) if at == hook else True
            if verdict is False or (verdict is None and drops and policies):
                return chain
        return ""

    def _verdict(self, name: str, packets: Packets, above: frozenset[str]) -> bool | None:
        """What the chain says first; None when nothing. A rule whose condition cannot be judged may let through or
        return, but never refuses."""
        left = False
        for rule in self.chains.get(name, ()):
            met = meets(rule.condition, packets)
            if met is Meets.NO:
                continue
            found: bool | None = rule.verb == "accept"
            if rule.verb in {"jump", "goto"}:
                found = None
                if rule.target not in above and len(above) < _DEEPEST:
                    found = self._verdict(rule.target, packets, above | {name})
            if rule.verb == "return" or (rule.verb == "goto" and found is None):
                if met is Meets.YES:
                    return None
                left = True
            elif found or (found is False and met is Meets.YES):
                return None if left and not found else found
        return None


@lru_cache(maxsize=64)
def tables(text: str) -> tuple[Table, ...]:
    """Those that `nft list table` printed, one after the other."""
    found: list[Table] = []
    chains: dict[str, list[Rule]] = {}
    hooks: dict[str, tuple[str, bool]] = {}
    chain = ""
    for line in map(str.strip, text.splitlines()):
        words = line.split()
        if line.startswith("table "):
            chains, hooks, chain = {}, {}, ""
            found.append(Table(words[1], words[2], chains, hooks))
        elif line.startswith("chain "):
            chain = words[1]
            chains[chain] = []
        elif line == "}":
            chain = ""
        elif chain and line.startswith("type filter hook "):
            hooks[chain] = (words[3], "policy drop" in line)
        elif chain and not line.startswith("type "):
            chains[chain].extend(_rules(line))
    return tuple(found)


def _rules(line: str) -> Iterator[Rule]:
    """A map of verdicts is a rule for each of its elements."""
    plain = " ".join(_NOISE.sub(" ", line).split())
    mapped = _VERDICT_MAP.match(plain)
    if mapped:
        for element in mapped[2].split(","):
            key, _, verdict = element.partition(" : ")
            yield from _rules(f"{mapped[1]} {key.strip()} {verdict.strip()}")
        return
    verdict = _VERDICT.search(plain)
    if verdict:
        verb, target = verdict[1], verdict[2]
        verb = {"queue": "accept", "xt target REJECT": "reject"}.get(verb.replace('"', ""), verb)
        if not verb.startswith("xt "):
            yield Rule(plain[: verdict.start()].strip(), verb, target)
    elif " vmap @" in plain:
        yield Rule(plain, "accept")


def meets(condition: str, packets: Packets) -> Meets:
    """Whether the packets meet all of a rule's condition."""
    result, rest = Meets.YES, condition
    while rest:
        for pattern, judge in _MATCHES:
            found = pattern.match(rest)
            if found:
                met = _have(found["what"].split()[0], packets)
                if met is not Meets.NO:
                    values = _values(found["values"])
                    said = Meets.MAYBE if values[0][:1] == "@" else judge(found["what"], values, packets)
                    met = min(met, said.inverted() if found["unequal"] else said)
                result, rest = min(result, met), rest[found.end() :].lstrip()
                break
        else:
            result, rest = min(result, Meets.MAYBE), rest.partition(" ")[2]
    return result


def _have(header: str, packets: Packets) -> Meets:
    """Whether the packets have a header at all: where one has not, even an unequal value is not met."""
    if header in {"tcp", "udp", "sctp", "dccp", "udplite", "icmp", "icmpv6", "igmp"}:
        return packets.by([header])
    if header in {"ip", "ip6"}:
        return Meets.NO if not packets.of(header) else Meets.MAYBE if packets.mixed else Meets.YES
    return Meets.YES


Judge = Callable[[str, Sequence[str], Packets], Meets]


def _values(text: str) -> list[str]:
    return [each.strip().strip('"') for each in text.strip("{} ").split(",")]


def _protocols(_: str, values: Sequence[str], packets: Packets) -> Meets:
    return packets.by(values)


def _ports(what: str, values: Sequence[str], packets: Packets) -> Meets:
    if what.endswith("dport"):
        return packets.to(values)
    given = [range_of(each) for each in values]
    return Meets.YES if any(each and within(_EPHEMERAL, each) for each in given) else Meets.NO


def _source(what: str, values: Sequence[str], packets: Packets) -> Meets:
    return packets.come_from(values, what.split()[0])


def _destination(what: str, values: Sequence[str], packets: Packets) -> Meets:
    try:
        networks = [ip_network(each, strict=False) for each in values]
    except ValueError:
        return Meets.MAYBE
    special = [
        each.is_multicast or each.is_loopback or str(each) == "255.255.255.255/32" for each in networks
    ]
    return Meets.NO if all(special) else packets.arrive_at(values, what.split()[0])


def _state(_: str, values: Sequence[str], __: Packets) -> Meets:
    return Meets.YES if "new" in values else Meets.NO


def _link(_: str, values: Sequence[str], __: Packets) -> Meets:
    return Meets.NO if values == ["lo"] else Meets.MAYBE


def _family(_: str, values: Sequence[str], packets: Packets) -> Meets:
    of = [packets.of({"ipv4": "ip", "ipv6": "ip6"}.get(each, each)) for each in values]
    return Meets.NO if not any(of) else Meets.MAYBE if packets.mixed else Meets.YES


def _never(_: str, __: Sequence[str], ___: Packets) -> Meets:
    return Meets.NO


def _kind(_: str, values: Sequence[str], __: Packets) -> Meets:
    return Meets.YES if {"host", "unicast"} & set(values) else Meets.NO


def _local(_: str, values: Sequence[str], __: Packets) -> Meets:
    return Meets.YES if "local" in values else Meets.NO


_VALUE = r" (?P<unequal>!= )?(?P<values>\{[^}]*\}|[^\s{<>!=&.]\S*)(?! [.&|/])(?!\S)"
_MATCHES: tuple[tuple[re.Pattern[str], Judge], ...] = tuple(
    (re.compile(rf"(?P<what>{what}){_VALUE}"), judge)
    for what, judge in (
        (r"(?:meta )?l4proto|ip protocol|ip6 nexthdr", _protocols),
        (r"(?:tcp|udp|th|sctp|dccp|udplite) [ds]port", _ports),
        (r"ip6? saddr", _source),
        (r"ip6? daddr", _destination),
        (r"ct state", _state),
        (r"iif(?:name)?", _link),
        (r"meta nfproto", _family),
        (r"fib daddr type", _local),
        (r"(?:meta )?pkttype", _kind),
        (r"ct status|(?:icmp|icmpv6|igmp) \w+", _never),
    )
)
