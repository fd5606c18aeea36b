"""What a lab shall be: its name, its subnet, and its hosts with their addresses."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from provisioner.lab.names import Names

SUITE = "bookworm"
SUITES = ("bookworm", "trixie")
HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")


@dataclass(frozen=True)
class LabPlan:
    """`directory` holds all of the lab and names it: two plans with one directory mean the same lab. `bare` hosts have
    nothing but what every host needs (recipe.BARE); others are prepared, and have `packages` on top. `inventory` is
    where the plan was read, for people. `segment` is the prefix length of the parts of the subnet in which hosts see
    each other; between those a router stands. None: all are in one."""

    name: str
    subnet: IPv4Network
    hosts: Mapping[str, IPv4Address]
    directory: Path
    suite: str = SUITE
    packages: tuple[str, ...] = field(default=())
    bare: bool = False
    segment: int | None = None
    inventory: Path = field(default=Path("inventory.yaml"), compare=False)

    def command(self, verb: str, *words: str) -> str:
        """The command line that does `verb` to this lab, to be typed as it is."""
        return shlex.join(["provision", "lab", verb, str(self.inventory), *words])

    @property
    def gateway(self) -> IPv4Address:
        """The machine's own address on the lab's bridge: the subnet's first."""
        return self.subnet[1]

    @cached_property
    def names(self) -> Names:
        return Names.of(self.directory)

    @cached_property
    def segments(self) -> tuple[IPv4Network, ...]:
        """Those that are there, with the gateway's first: hosts of one are on one link."""
        addresses = (self.gateway, *self.hosts.values())
        return tuple(dict.fromkeys(self.segment_of(each) for each in addresses))

    def segment_of(self, address: IPv4Address) -> IPv4Network:
        return IPv4Network((address, self.segment or self.subnet.prefixlen), strict=False)

    def router(self, segment: IPv4Network) -> IPv4Address:
        """The router's address in a segment: the last of a host. There is none without segments."""
        return segment[-2]

    def offset(self, host: str) -> int:
        """The host's number within the subnet."""
        return int(self.hosts[host]) - int(self.subnet.network_address)

    def host_directory(self, host: str) -> Path:
        return self.directory / "hosts" / host

    @property
    def key_file(self) -> Path:
        """The private key that logs in to every host as root."""
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"


@dataclass(frozen=True)
class Fault:
    """Why a plan cannot be brought up. `host` is empty when the lab as a whole is meant."""

    reason: str
    host: str = ""


def faults(plan: LabPlan) -> list[Fault]:
    """What is wrong with a plan; empty when it can be brought up."""
    found = []
    if not 16 <= plan.subnet.prefixlen <= 29:
        found.append(Fault(f"lab.subnet {plan.subnet}: the prefix length must be from 16 to 29"))
    if plan.suite not in SUITES:
        found.append(Fault(f"lab.suite: {plan.suite!r} is none of {', '.join(SUITES)}"))
    if plan.segment is not None and not plan.subnet.prefixlen < plan.segment <= 29:
        found.append(
            Fault(
                f"lab.segment: {plan.segment} is no part of {plan.subnet}: from {plan.subnet.prefixlen + 1} to 29"
            )
        )
    for name in plan.packages:
        if not _PACKAGE.fullmatch(name):
            found.append(Fault(f"lab.packages: {name!r} is no package's name"))
    if not HOST_NAME.fullmatch(plan.name):
        found.append(Fault(f"lab.name: {plan.name!r} may have letters, digits, dots and dashes only"))
    if not plan.hosts:
        found.append(Fault("the inventory names no host"))
    return found + _host_faults(plan)


def _host_faults(plan: LabPlan) -> list[Fault]:
    found = []
    owners = {
        plan.subnet[0]: "the subnet itself",
        plan.gateway: "the lab's gateway",
        plan.subnet[-1]: "the subnet's broadcast address",
    }
    for segment in plan.segments if plan.segment is not None else ():
        own = {segment[0]: "its segment itself", segment[-1]: "its segment's broadcast address"}
        owners |= own | {plan.router(segment): "its segment's router"}
    for host, address in plan.hosts.items():
        if not HOST_NAME.fullmatch(host):
            found.append(Fault(f"{host}: not a host name", host))
        if address not in plan.subnet:
            found.append(Fault(f"{host}: {address} is not in lab.subnet {plan.subnet}", host))
        elif address in owners:
            found.append(Fault(f"{host}: {address} belongs to {owners[address]} already", host))
        owners.setdefault(address, host)
    return found
