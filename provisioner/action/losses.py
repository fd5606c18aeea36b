"""What became of each packet between hosts, and how losses are told: together, by the host that they have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from provisioner.action.betweenround import Host
from provisioner.action.flows import Packet
from provisioner.inventory.words import some
from provisioner.playbook.facts import Facts

OPEN, LOST, REFUSED = "", "lost", "refused"
_REFUSED_WORDS = "Connection refused"


@dataclass(frozen=True)
class Unknown:
    """Why nothing is known of a packet. `usual`: that is to be expected where a host has been at work before."""

    why: str
    usual: bool = False


def judged(packets: Sequence[Packet], hosts: Mapping[str, Host]) -> dict[Packet, str | Unknown]:
    """OPEN for what went through, Unknown for what could not be tried, else what happened to it in a word."""
    return {
        packet: _connection(number, packet, hosts)
        if packet.protocol == "tcp"
        else _datagram(number, packet, hosts)
        for number, packet in enumerate(packets)
    }


def _connection(number: int, packet: Packet, hosts: Mapping[str, Host]) -> str | Unknown:
    """Who refuses where nobody listens has been reached. Where we listen it was a firewall's doing. The receiver may be
    none of the hosts."""
    sender, receiver = hosts[packet.sender], hosts.get(packet.receiver)
    if lacks := sender.lacks & {"bash", "timeout"}:
        return Unknown(_without(packet.sender, lacks))
    said = sender.connected.get(number, LOST)
    if said == "open":
        return OPEN
    if said == _REFUSED_WORDS:
        return REFUSED if receiver and ("tcp", packet.port) in receiver.listening else OPEN
    return said if said == LOST else said[:1].lower() + said[1:]


def _datagram(number: int, packet: Packet, hosts: Mapping[str, Host]) -> str | Unknown:
    sender, receiver = hosts[packet.sender], hosts[packet.receiver]
    if number in receiver.got:
        return OPEN
    raw = packet.protocol == "ipip"
    if lacks := sender.lacks & ({"perl"} if raw else {"bash", "timeout", "dd"}):
        return Unknown(_without(packet.sender, lacks))
    if (packet.protocol, packet.port) in receiver.busy:
        return Unknown(f"the port is in use on {packet.receiver}", usual=True)
    if (packet.protocol, packet.port) not in receiver.listening:
        needed = {"perl"} if raw else {"systemd-socket-activate", "ss", "timeout", "dd"}
        return Unknown(_without(packet.receiver, receiver.lacks & needed))
    return LOST


def _without(host: str, lacks: Collection[str]) -> str:
    """`perl` stands for what does the same, too."""
    name = min(lacks, default="way to listen there")
    return f"{host} has neither perl nor python3" if name == "perl" else f"{host} has no {name}"


def told(lost: Mapping[Packet, str], tried: Iterable[Packet]) -> list[str]:
    """A line for each host, or pair, that packets do not reach or do not leave, with all that is lost there."""
    lines: dict[str, dict[str, None]] = {}
    every = list(tried)
    for what, how in dict.fromkeys((each.what, how) for each, how in lost.items()):
        mine = [each for each, said in lost.items() if (each.what, said) == (what, how)]
        said = what if how == LOST else f"{what} ({how})"
        for line in _grouped(mine, [each for each in every if each.what == what and not each.size]):
            lines.setdefault(line, {})[said] = None
    return [line.format(what=", ".join(whats)) for line, whats in lines.items()]


def _grouped(lost: Sequence[Packet], tried: Sequence[Packet]) -> Iterator[str]:
    """First those who get from nobody, then those from whom nobody gets; then what is left, by receiver."""
    left = list(lost)
    for receiver in dict.fromkeys(each.receiver for each in lost):
        those = [each for each in left if each.receiver == receiver]
        if 1 < len(those) == sum(each.receiver == receiver for each in tried):
            yield f"{receiver}: {{what}} does not arrive from any other host"
            left = [each for each in left if each not in those]
    for sender in dict.fromkeys(each.sender for each in lost):
        those = [each for each in left if each.sender == sender]
        if len(those) > 1 and len(those) == sum(each.sender == sender for each in tried):
            yield f"{sender}: what it sends to {{what}} arrives nowhere"
            left = [each for each in left if each not in those]
    for receiver in dict.fromkeys(each.receiver for each in left):
        senders = [each.sender for each in left if each.receiver == receiver]
        yield f"{receiver}: {{what}} does not arrive from {some(senders)}"


def unsent(shut: Iterable[Packet], tried: Iterable[Packet], facts: Mapping[str, Facts]) -> list[str]:
    """Lines that name what was not tried, because the receivers' firewalls are `shut` to it until a run opens them."""
    senders: dict[tuple[str, str], list[str]] = {}
    for each in shut:
        senders.setdefault((each.receiver, each.what), []).append(each.sender)
    partly = {(each.receiver, each.what) for each in tried}
    whats: dict[tuple[str, str, str], list[str]] = {}
    for (receiver, what), those in senders.items():
        whose = some(those) if (receiver, what) in partly or len(those) == 1 else "any other host"
        whats.setdefault((receiver, whose, facts[receiver].firewall), []).append(what)
    receivers: dict[tuple[str, str, str], list[str]] = {}
    for (receiver, whose, firewall), names in whats.items():
        receivers.setdefault((", ".join(names), whose, firewall), []).append(receiver)
    return [
        f"not tried: {what} from {whose} to {some(those)}, which {firewall} drops there until a run opens it"
        for (what, whose, firewall), those in receivers.items()
    ]
