"""What ufw and firewalld say that they let through."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from provisioner.action.packets import Meets, Packets
from provisioner.inventory.addresses import is_ip

SERVICES = {
    "docker-registry": ("5000/tcp",),
    "etcd-client": ("2379/tcp",),
    "etcd-server": ("2380/tcp",),
    "kube-api": ("10250/tcp",),
    "kube-apiserver": ("6443/tcp",),
    "kube-control-plane": ("2379-2380/tcp", "6443/tcp", "10250/tcp"),
    "kube-control-plane-secure": ("2379-2380/tcp", "6443/tcp", "10250/tcp"),
    "kube-nodeport-services": ("30000-32767/tcp",),
    "kube-worker": ("10250/tcp", "30000-32767/tcp"),
    "kubelet": ("10250/tcp",),
    "kubelet-worker": ("10250/tcp", "30000-32767/tcp"),
}
"""firewalld's own that open ports of clusters (its config/services)."""
PROTOCOL_SERVICES = {"vrrp": "vrrp", "provision-vrrp": "vrrp", "provision-ipip": "4"}
"""Those of a protocol without ports. What is ours is in rules of its own (templates/firewall)."""

_UFW = re.compile(
    r"(?P<to>\S.*?)\s+(?P<verb>ALLOW|DENY|REJECT|LIMIT)\s+(?P<way>IN|OUT|FWD)\s+"
    r"(?:\(log[^)]*\)\s*)?(?P<source>\S.*?)(?:\s+#.*)?"
)
_PROTOCOLS = {"tcp", "udp", "ah", "esp", "gre", "igmp", "ipv6", "vrrp"}


def ufw_lets_through(text: str, packets: Packets) -> bool:
    """By `ufw status verbose`: the first rule that concerns them decides, else the default."""
    for line in text.splitlines():
        rule = _UFW.fullmatch(line.strip())
        if rule is None or rule["way"] != "IN":
            continue
        met = min(
            _ufw_side(rule["to"], packets, source=False), _ufw_side(rule["source"], packets, source=True)
        )
        if met is Meets.NO:
            continue
        if rule["verb"] in {"ALLOW", "LIMIT"}:
            return True
        if met is Meets.YES:
            return False
    return "Default: allow (incoming)" in text


def _ufw_side(text: str, packets: Packets, *, source: bool) -> Meets:
    """One column: an address or Anywhere, ports, (v6), `on` a link."""
    plain, _, link = text.partition(" on ")
    met = Meets.MAYBE if link else Meets.YES
    for word in plain.split():
        ports, slash, protocol = word.partition("/")
        if word == "(v6)":
            met = min(met, Meets.YES if packets.of("ip6") else Meets.NO)
        elif word.startswith("(") or word == "Anywhere":
            continue
        elif slash and protocol in _PROTOCOLS:
            met = min(met, packets.by([protocol]))
            if source and is_ip(ports):
                met = min(met, packets.come_from([ports]))
            else:
                met = min(met, _ufw_ports(ports, packets, source=source))
        elif re.fullmatch(r"[\d,:]*\d", word) and "::" not in word:
            met = min(met, _ufw_ports(word, packets, source=source))
        else:
            met = min(met, packets.come_from([word]) if source else packets.arrive_at([word]))
    return met


def _ufw_ports(text: str, packets: Packets, *, source: bool) -> Meets:
    if text == "Anywhere":
        return Meets.YES
    return Meets.NO if source else packets.to(text.split(","))


@dataclass(frozen=True)
class _Block:
    """What `firewall-cmd` prints of a zone or a service."""

    head: str
    said: dict[str, str]
    rules: tuple[str, ...]

    def words(self, name: str) -> list[str]:
        return self.said.get(name, "").split()


def firewalld_lets_through(text: str, packets: Packets) -> bool:
    """By `firewall-cmd --list-all`, the default zone, then all zones and the service that is ours."""
    blocks = list(_blocks(text))
    while blocks and "target" not in blocks[0].said:
        blocks.pop(0)  # it begins with a warning where only other zones are active
    first, *others = blocks or [_Block("", {}, ())]
    ours = {each.head: each for each in others if "target" not in each.said}
    zones = [each for each in others if "active" in each.head]
    sources = [(each, packets.come_from(each.words("sources"))) for each in zones if each.words("sources")]
    held = [zone for zone, met in sources if met is Meets.YES]
    maybe = [zone for zone, met in sources if met is Meets.MAYBE]
    linked = [zone for zone in zones if zone.words("interfaces")]
    return any(_zone(each, ours, packets) for each in held or [first, *linked, *maybe])


def _zone(zone: _Block, services: Mapping[str, _Block], packets: Packets) -> bool:
    ours = services.get("provision", _Block("", {}, ()))
    rich = [(_rich(rule, packets, services), rule) for rule in zone.rules]
    if any(met is Meets.YES and re.search(r" (drop|reject)\b", rule) for met, rule in rich):
        return False
    ports, protocols = zone.words("ports"), zone.words("protocols")
    for service in zone.words("services"):
        ports += ours.words("ports") if service == "provision" else SERVICES.get(service, ())
        protocols += ours.words("protocols") if service == "provision" else _spoken(service)
    if zone.said.get("target") == "ACCEPT" or packets.by(protocols) is Meets.YES:
        return True
    numbers = [
        port for port, _, protocol in (each.partition("/") for each in ports) if protocol == packets.protocol
    ]
    if numbers and packets.to(numbers) is not Meets.NO:
        return True
    return any(met is not Meets.NO and re.search(r" accept\b", rule) for met, rule in rich)


def _spoken(service: str) -> list[str]:
    """The protocol of the service, if it is one without ports."""
    return [PROTOCOL_SERVICES[service]] if service in PROTOCOL_SERVICES else []


def _rich(rule: str, packets: Packets, services: Mapping[str, _Block]) -> Meets:
    """firewalld.org/documentation/man-pages/firewalld.richlanguage."""
    met = Meets.YES
    source = re.search(r'\bsource (NOT )?address="([^"]*)"', rule)
    if source:
        inside = packets.come_from([source[2]])
        met = min(met, inside.inverted() if source[1] else inside)
    port = re.search(r' port port="([^"]*)" protocol="([^"]*)"', rule)
    if port:
        met = min(met, packets.by([port[2]]), packets.to([port[1]]))
    protocol = re.search(r'\bprotocol value="([^"]*)"', rule)
    if protocol:
        met = min(met, packets.by([protocol[1]]))
    service = re.search(r'\bservice name="([^"]*)"', rule)
    if service:
        own = services[service[1]].words("ports") if service[1] in services else ()
        known = [each.partition("/") for each in SERVICES.get(service[1], own)]
        to = packets.to([each[0] for each in known if each[2] == packets.protocol])
        spoken = _spoken(service[1])
        met = min(met, packets.by(spoken) if spoken else to)
    family = re.search(r'\bfamily="ipv([46])"', rule)
    if family and not packets.of({"4": "ip", "6": "ip6"}[family[1]]):
        return Meets.NO
    if re.search(r"forward-port|icmp-|masquerade|source-port", rule):
        return Meets.NO
    return min(met, Meets.MAYBE) if re.search(r"limit value|\b(mac|ipset)=|destination", rule) else met


def _blocks(text: str) -> Iterator[_Block]:
    head, said, rules = "", dict[str, str](), list[str]()
    for line in [*text.splitlines(), "end"]:
        if line and not line[0].isspace():
            if head:
                yield _Block(head, said, tuple(rules))
            head, said, rules = line.strip(), {}, []
            continue
        plain = line.strip()
        name, colon, values = plain.partition(":")
        if plain.startswith("rule "):
            rules.append(plain)
        elif colon and re.fullmatch(r"[a-z- ]+", name):
            said[name] = values.strip()
