"""Which ports a cluster needs on each host, and whether the host's own firewall lets them through."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from provisioner.errors import ProvisionError
from provisioner.inventory.model import Inventory
from provisioner.playbook.facts import Facts
from provisioner.spec.model import ClusterSpec

NODE_PORTS = (30000, 32767)
"""kube-apiserver's default service-node-port-range."""
KUBELET, ETCD = 10250, (2379, 2380)

Range = tuple[int, int]


@dataclass(frozen=True)
class Ports:
    """Ports of a host that others of the cluster reach, each as it is written in rules ("2379-2380")."""

    tcp: tuple[str, ...] = ()
    udp: tuple[str, ...] = ()

    def each(self) -> Iterator[tuple[str, str]]:
        """(protocol, ports)."""
        yield from (("tcp", each) for each in self.tcp)
        yield from (("udp", each) for each in self.udp)


def ports_of(inventory: Inventory, spec: ClusterSpec) -> dict[str, Ports]:
    """By host (kubernetes.io/docs/reference/networking/ports-and-protocols)."""
    tcp: dict[str, list[Range]] = {name: [] for name in inventory.hosts}
    udp: dict[str, list[Range]] = {name: [] for name in inventory.hosts}
    for role, ports in (
        ("registry", (spec.registry.port,) * 2),
        ("etcd", ETCD),
        ("kube_control_plane", (6443, 6443)),
    ):
        for host in inventory.group(role):
            tcp[host.name].append((ports[0], ports[1]))
    for name, node in spec.nodes.items():
        if node.node:
            tcp[name] += [(KUBELET, KUBELET), NODE_PORTS]
            udp[name].append(NODE_PORTS)
            if spec.network.flannel.backend == "vxlan":
                udp[name].append((spec.network.flannel.port,) * 2)
    return {name: Ports(_written(tcp[name]), _written(udp[name])) for name in inventory.hosts}


def check_firewalls(facts: Mapping[str, Facts], ports: Mapping[str, Ports], spec: ClusterSpec) -> None:
    """Raises ProvisionError naming hosts, the ports that their firewalls drop, and what opens them."""
    addresses = [node.address for node in spec.nodes.values()]
    faults, hints = [], []
    for host, each in facts.items():
        needed = ports.get(host, Ports())
        closed = [
            (protocol, port)
            for protocol, port in needed.each()
            if not is_open(each, protocol, port, addresses)
        ]
        if closed:
            said = ", ".join(f"{port}/{protocol}" for protocol, port in closed)
            faults.append(f"{host}: its firewall ({each.firewall}) would drop {said}")
            hints.append(f"{host}: {'; '.join(_commands(each.firewall, closed))}")
    if faults:
        raise ProvisionError(
            "nothing was changed:\n" + "\n".join(f"  {each}" for each in faults),
            "set firewall: manage in the cluster section, or open them:\n  " + "\n  ".join(hints),
        )


def is_open(facts: Facts, protocol: str, port: str, others: Sequence[str]) -> bool:
    """Whether the host lets through what `others` (addresses) send to the port, or range of ports.

    Where a rule's condition cannot be judged from its text it counts as one that lets through.
    """
    wanted = _range(port)
    if facts.firewall == "nftables":
        return all(
            _lets_through(chains, base, protocol, wanted, others)
            for chains in _tables(facts.filters)
            for base, rules in chains.items()
            if any(" hook input " in f" {rule} " for rule in rules)
        )
    if facts.firewall == "firewalld":
        return _firewalld(facts.filters, protocol, wanted)
    if facts.firewall == "ufw":
        return _ufw(facts.filters, protocol, wanted, others)
    return True


def _firewalld(text: str, protocol: str, wanted: Range) -> bool:
    if "target: ACCEPT" in text:
        return True
    found = re.findall(rf"\b(\d+(?:-\d+)?)/{protocol}\b", text)
    return any(_within(wanted, _range(each)) for each in found)


def _ufw(text: str, protocol: str, wanted: Range, others: Sequence[str]) -> bool:
    for line in text.splitlines():
        to, allowed, source = line.partition("ALLOW")
        words = source.split()
        if not allowed:
            if line.startswith("Default: allow (incoming)"):
                return True
            continue
        origin = next((word for word in words if word not in {"IN", "FWD", "OUT"}), "")
        if origin != "Anywhere" and not _covers(origin, others):
            continue
        ports, _, kind = to.split()[0].partition("/")
        if ports == "Anywhere" or (
            kind in {"", protocol} and _within(wanted, _range(ports.replace(":", "-")))
        ):
            return True
    return False


def _lets_through(
    chains: Mapping[str, Sequence[str]], name: str, protocol: str, wanted: Range, others: Sequence[str]
) -> bool:
    verdict = _verdict(chains, name, protocol, wanted, others, frozenset())
    return verdict if verdict is not None else not any("policy drop" in rule for rule in chains[name])


def _verdict(
    chains: Mapping[str, Sequence[str]],
    name: str,
    protocol: str,
    wanted: Range,
    others: Sequence[str],
    above: frozenset[str],
) -> bool | None:
    """What the chain's first rule that concerns the ports says; None when none does."""
    for rule in chains.get(name, ()):
        plain = re.sub(
            r"counter packets \d+ bytes \d+|counter|comment \"[^\"]*\"|log( prefix \"[^\"]*\")?", " ", rule
        )
        condition, verb, target = _split(plain)
        refuses = verb in {"drop", "reject"}
        if rule.startswith("type ") or not verb:
            continue
        if not _concerns(condition, protocol, wanted, others, every=refuses):
            continue
        if verb in {"jump", "goto"}:
            if target not in above:
                found = _verdict(chains, target, protocol, wanted, others, above | {name})
                if found is not None:
                    return found
            continue
        return verb == "accept"
    return None


def _split(rule: str) -> tuple[str, str, str]:
    match = re.search(r"\b(accept|drop|reject|jump|goto)\b\s*(\S*)", rule)
    return (rule[: match.start()].strip(), match[1], match[2]) if match else (rule, "", "")


def _concerns(condition: str, protocol: str, wanted: Range, others: Sequence[str], *, every: bool) -> bool:
    """Whether a new connection to all `wanted` ports meets the condition: from one of the `others`, or from `every`
    one, because what keeps out a single host may well be meant so."""
    for said in re.finditer(r"\b(tcp|udp|th) dport (\{[^}]*\}|\S+)", condition):
        ports = [each.strip() for each in said[2].strip("{} ").split(",")]
        known = [each for each in ports if re.fullmatch(r"\d+(-\d+)?", each)]
        if said[1] not in {protocol, "th"}:
            return False
        if known and not any(_within(wanted, _range(each)) for each in known):
            return False
    if re.search(
        r"ct state (?!.*\bnew\b)|iif(name)? \"?lo\"?|\bicmp|\bip6? (daddr|protocol)|l4proto (?!tcp|udp)",
        condition,
    ):
        return False
    protocols = re.search(r"l4proto (\{[^}]*\}|\S+)", condition)
    if protocols and protocol not in protocols[1]:
        return False
    source = re.search(r"\bip6? saddr (\{[^}]*\}|\S+)", condition)
    if source is None:
        return True
    return all(_covers(source[1], [other]) for other in others) if every else _covers(source[1], others)


def _covers(source: str, others: Sequence[str]) -> bool:
    """Whether the sources, as a rule has them, include one of the addresses; unknown ones count."""
    for each in source.strip("{} ").split(","):
        try:
            network = ip_network(each.strip(), strict=False)
        except ValueError:
            return True
        if any(ip_address(other) in network for other in others if _is_address(other)):
            return True
    return False


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _tables(text: str) -> Iterator[dict[str, list[str]]]:
    """The rules by chain, table by table, of what `nft list table` prints."""
    chains: dict[str, list[str]] = {}
    rules: list[str] = []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("table "):
            if chains:
                yield chains
            chains = {}
        elif line.startswith("chain "):
            rules = chains.setdefault(line.split()[1], [])
        else:
            rules.append(line)
    if chains:
        yield chains


def _commands(firewall: str, closed: Iterable[tuple[str, str]]) -> Iterator[str]:
    for protocol, port in closed:
        if firewall == "firewalld":
            yield f"firewall-cmd --permanent --add-port={port}/{protocol} && firewall-cmd --reload"
        elif firewall == "ufw":
            yield f"ufw allow {port.replace('-', ':')}/{protocol}"
        else:
            yield f"nft insert rule inet filter input {protocol} dport {port} accept"


def _written(ranges: Iterable[Range]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(low) if low == high else f"{low}-{high}" for low, high in ranges))


def _range(text: str) -> Range:
    low, _, high = text.partition("-")
    return (int(low), int(high or low)) if low.isdigit() else (0, 0)


def _within(wanted: Range, given: Range) -> bool:
    return given[0] <= wanted[0] and wanted[1] <= given[1]
