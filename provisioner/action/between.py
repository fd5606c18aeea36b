"""What hosts need of each other, tried with packets before anything changes: ports, protocols, sizes, neighbours.

Every kind of packet that the cluster will send goes from each host to the others (flows.ALL_PAIRS says to which, where
there are many), where pods have two IP families over each of them. What is lost is sent once more, so that one lost
datagram is no fault. Nothing stays on the hosts. What their own firewalls drop until a run opens them is tried by a
gate of that run (action.gates), as soon as it has.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from provisioner.action.betweenround import Host, address_of, exchanged, parties_of
from provisioner.action.betweenrouters import calls_of, routers_of, silent
from provisioner.action.families import node_addresses
from provisioner.action.firewall import is_open
from provisioner.action.flows import Packet, flows_of, is_of_size, packets_of
from provisioner.action.hostnetwork import link_mtu
from provisioner.action.losses import LOST, OPEN, Unknown, judged, told, unsent
from provisioner.action.virtualrouter import has_address
from provisioner.engine.events import Emit, Note, Progress, Step
from provisioner.errors import ProvisionError
from provisioner.inventory.addresses import is_ip
from provisioner.inventory.words import some
from provisioner.network.mtu import wire_mtu, with_wire_mtu
from provisioner.network.needs import needs_of
from provisioner.playbook.facts import Facts
from provisioner.spec.model import ClusterSpec

if TYPE_CHECKING:
    from provisioner.inventory.model import Inventory
    from provisioner.remote.pool import Pool

_LADDER = (8950, 4000, 1500, 1492, 1480, 1460, 1450, 1430, 1420, 1400, 1380, 1360, 1300, 1280, 1000, 576)
"""Sizes that are tried where one did not pass: those of links, and of links within tunnels."""
_PROXY = (
    "a router answers in its place, or another machine has its address; or choose a mode with encapsulation"
)
_DROPPED = "look at what lies between these hosts (security groups, switches, routers), and there at `nft list ruleset`"
_LATER = "a run tries it once it has opened them"

Found = dict[Packet, str | Unknown]


class Between:
    """The check, for the hosts of which there are `facts`; of `fresh` ones at least one is in each pair. Of hosts whose
    firewalls a run has `opened` since their facts were read: what they dropped until then, from whomever, and no more.
    """

    def __init__(
        self,
        inventory: Inventory,
        spec: ClusterSpec,
        facts: Mapping[str, Facts],
        fresh: Collection[str],
        *,
        opened: Collection[str] = (),
    ) -> None:
        self._spec, self._facts, self._fresh = spec, facts, fresh
        self._addresses = {
            name: spec.nodes[name].address for name in facts if is_ip(spec.nodes[name].address)
        }
        self._seconds = _seconds_of(spec, {name: facts[name] for name in self._addresses})
        self._local = {
            name: all(has_address(each, facts[name]) for each in filter(None, [own, self._seconds.get(name)]))
            for name, own in self._addresses.items()
        }
        self._routers = routers_of(spec)
        every = packets_of(flows_of(inventory, spec, facts, self._seconds), opened or fresh)
        # By receiver: what its firewall says is read once.
        heard = {each for each in sorted(every, key=lambda each: each.receiver) if self._let_in(each)}
        shut = [each for each in every if each not in heard] if spec.firewall == "manage" else []
        small = [each for each in (shut if opened else every) if each.receiver in opened or each in heard]
        calls = calls_of(spec, [name for name in self._addresses if name in fresh and not opened])
        self._shut = [] if opened else shut
        self.packets = [*self._with_large(small), *calls]

    def _with_large(self, small: Sequence[Packet]) -> list[Packet]:
        sized = [
            each.of_size(size)
            for each in small
            if is_of_size(each, self._spec) and (size := self._size(each.sender, each.version))
        ]
        return [*small, *sized]

    def _let_in(self, packet: Packet) -> bool:
        """Whether the receiver's own firewall does not drop it for sure. Where it does, a run opens that (and what
        it has opened is tried), or was refused for it."""
        receiver = self._facts[packet.receiver]
        if not receiver.firewall:
            return True
        sender, own = (self._address(name, packet.version) for name in (packet.sender, packet.receiver))
        return is_open(receiver, packet.protocol, str(packet.port or ""), [sender], [own])

    def _address(self, name: str, version: int) -> str:
        return address_of(name, version, self._addresses, self._seconds)

    def _size(self, sender: str, version: int = 0) -> int:
        """In bytes, of the largest packet that will leave it; 0 where its link is not known."""
        address = self._address(sender, version)
        wanted = wire_mtu(self._spec)
        known = link_mtu(address, self._facts[sender])
        return min(wanted, known) if wanted and known else known

    def run(self, pool: Pool, emit: Emit) -> None:
        """Raises ProvisionError naming all that is lost, UnreachableError for hosts that are lost meanwhile."""
        for line in unsent(self._shut, self.packets, self._facts):
            emit(Note(level="warning", message=line, hint=_LATER))
        if not self.packets:
            return
        began = time.monotonic()
        emit(Progress(task="between", subject=f"{self._count} hosts"))
        fault = self._tried(pool, emit)
        emit(Step(task="between", subject=self._said, seconds=time.monotonic() - began, changed=False))
        if fault:
            raise fault

    def gate(self, pool: Pool, emit: Emit) -> str:
        """How much arrives, in words. Raises as `run`."""
        if fault := self._tried(pool, emit):
            raise fault
        return self._said

    @property
    def _count(self) -> int:
        return len(
            {name for each in self.packets for name in (each.sender, each.receiver)} - {*self._routers}
        )

    @property
    def _said(self) -> str:
        return f"{len(self.packets)} packets between {self._count} hosts"

    def _tried(self, pool: Pool, emit: Emit) -> ProvisionError | None:
        """What is wrong."""
        hosts, found = self._round(pool, self.packets)
        faults = self._neighbours(hosts)
        hints = [_PROXY] if faults else []
        unknown = {each: said for each, said in found.items() if isinstance(said, Unknown)}
        lost = [each for each, said in found.items() if said and each not in unknown]
        if lost:
            later, found = self._round(pool, _again(lost))
            hosts = {**hosts, **later}
            lines, more = self._losses([each for each in lost if each.receiver not in self._routers], found)
            faults, hints = [*lines, *faults], [*more, *hints]
        for note in (*self._narrow(hosts), *self._untried(unknown), *silent(found, self._routers)):
            emit(note)
        return ProvisionError("\n".join(faults), "; ".join(dict.fromkeys(hints))) if faults else None

    def _round(self, pool: Pool, packets: Sequence[Packet]) -> tuple[Mapping[str, Host], Found]:
        hosts = exchanged(
            pool, parties_of(packets, self._addresses, self._local, self._seconds), self._routers
        )
        return hosts, judged(packets, hosts)

    def _losses(self, lost: Sequence[Packet], again: Found) -> tuple[list[str], list[str]]:
        """Lines and hints for those that were lost `again`."""
        twice = {
            each: said for each in lost if (said := again[each]) and isinstance(said, str) and not each.size
        }
        lines = told(twice, self.packets)
        hints = [_DROPPED] if lines else []
        large: dict[tuple[str, int, int, int], list[str]] = {}
        for each in lost:
            if each.size and again[each] == LOST and again[each.of_size(0)] == OPEN:
                passed = max(
                    other.size for other, said in again.items() if said == OPEN and _same(other, each)
                )
                large.setdefault((each.sender, each.size, each.version, passed), []).append(each.receiver)
        for (sender, size, version, passed), receivers in large.items():
            over = f" over IPv{version}" if version else ""
            most = f"of {passed} they do" if passed else f"nor of {_LADDER[-1]}"
            lines.append(
                f"{sender}: packets of {size} bytes{over} do not arrive at {some(receivers)}, {most}"
            )
            key = with_wire_mtu(self._spec, passed)
            or_else = f", or set {key}" if passed else ""
            hints.append(f"let the network carry packets as large as its links do{or_else}")
        return lines, hints

    def _neighbours(self, hosts: Mapping[str, Host]) -> list[str]:
        """Where nodes are to be each other's gateways, no other machine may answer for one's address."""
        names, needs = self._names(), needs_of(self._spec)
        return [
            f"{host}: {mac} answers for {names[address]} ({address}), which has no such link"
            for host, each in hosts.items()
            for address, mac in each.neighbours.items()
            if address in names
            and needs.on_link(names[address], 6 if ":" in address else 4)
            and (macs := self._facts[names[address]].macs)
            and mac not in macs.values()
        ]

    def _narrow(self, hosts: Mapping[str, Host]) -> Iterator[Note]:
        """Ways of which a router has told that they take less than the link; what is larger goes in pieces, or not."""
        found: dict[tuple[str, int, int], dict[str, None]] = {}
        names = self._names()
        for host, each in hosts.items():
            for address, mtu in each.mtus.items():
                size = self._size(host, 6 if ":" in address else 4)
                if address in names and mtu < size:
                    found.setdefault((host, mtu, size), {})[names[address]] = None
        for (host, mtu, size), receivers in found.items():
            said = f"{host}: the way to {some(list(receivers))} takes {mtu} bytes a packet, its link {size}"
            key = with_wire_mtu(self._spec, mtu)
            yield Note(level="warning", message=said, hint=f"set {key}")

    def _names(self) -> dict[str, str]:
        """By their addresses."""
        return {
            address: name for known in (self._addresses, self._seconds) for name, address in known.items()
        }

    def _untried(self, unknown: Mapping[Packet, Unknown]) -> Iterator[Note]:
        """That a port of the cluster's own is in use on a host that is part of it is no news."""
        whys: dict[Unknown, dict[str, None]] = {}
        for packet, said in unknown.items():
            if packet.receiver in self._fresh:
                whys.setdefault(said, {})[packet.what] = None
        for said, whats in whys.items():
            level = "info" if said.usual else "warning"
            yield Note(level=level, message=f"not checked: {', '.join(whats)}, because {said.why}")


def _seconds_of(spec: ClusterSpec, facts: Mapping[str, Facts]) -> dict[str, str]:
    """Nodes' addresses of the other IP family, where pods have two."""
    return {name: further for name, each in facts.items() for further in node_addresses(spec, name, each)[1:]}


def _again(lost: Sequence[Packet]) -> list[Packet]:
    """Those that were lost; and for one that is large smaller ones."""
    packets = dict.fromkeys(lost)
    for each in lost:
        if each.size:
            packets |= dict.fromkeys(each.of_size(size) for size in (0, *_LADDER) if size < each.size)
    return list(packets)


def _same(one: Packet, other: Packet) -> bool:
    return one.of_size(0) == other.of_size(0)
