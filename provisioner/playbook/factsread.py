"""What the script of facts printed (factscript.py) becomes the facts of a host."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.inventory.secrets import Secret
from provisioner.inventory.spelling import said
from provisioner.playbook.facts import Facts
from provisioner.playbook.factscript import PARTS

_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
}
ARCHITECTURES = frozenset(_ARCHITECTURES.values())
"""As facts name them."""

_OF_A_MACHINE = "/proc/sys/net/core/netdev_max_backlog"
"""It is there in a machine's own network namespace alone (Linux, net/core/sysctl_net_core.c: net_core_table)."""
_START_FILES = "look at the host's login shell and its start files"


def parse_facts(host: str, output: bytes, asked_at: float) -> Facts:
    """`asked_at`: our clock when the script was sent. Raises ProvisionError when the host cannot be used."""
    parts = _parts(output.decode(errors="replace"))
    _check_whole(host, parts)
    kernel, machine = _check_usable(host, parts)
    return Facts(
        architecture=_ARCHITECTURES[machine],
        kernel=kernel,
        clock_skew=_number(host, "clock", parts["clock"]) + 0.5 - (asked_at + time.time()) / 2,
        memory=_number(host, "memory", parts["memory"]),
        state=Secret.text(parts["state"]) if parts["state"] else None,
        existing=Secret.text(parts["existing"]) if "existing" in parts else None,
        **{fact: read(parts.get(part, "")) for fact, (part, read) in _READ.items()},
    )


def _check_whole(host: str, parts: Mapping[str, str]) -> None:
    if "end" not in parts:
        raise ProvisionError(f"{host}: the facts ended early", _START_FILES)
    missing = [name for name in PARTS if name not in parts]
    if missing:
        raise ProvisionError(f"{host}: the facts are garbled: there is no part '{missing[0]}'", _START_FILES)


def _check_usable(host: str, parts: Mapping[str, str]) -> tuple[str, str]:
    """Its kernel's version and its machine, as uname(1) has them."""
    system, kernel, machine = [*parts["kernel"].split(), "", "", ""][:3]
    if system != "Linux" or machine not in _ARCHITECTURES:
        raise ProvisionError(
            f"{host}: {system} on {machine} is not supported", "hosts need Linux on amd64 or arm64"
        )
    if parts["init"].strip() != "systemd":
        raise ProvisionError(f"{host}: its init is {parts['init'].strip()}, not systemd")
    return kernel, machine


def _etcd(text: str) -> str:
    lines = text.splitlines()
    data = "data" in lines
    if "ETCD_INITIAL_CLUSTER_STATE=new" in lines:
        return "founding" if data else "seeded"
    if "ETCD_INITIAL_CLUSTER_STATE=existing" in lines and not data:
        return "joining"
    return "data" if data else ""


def _count(ranges: str) -> int:
    """Of "0-3,6"; 0 for what is none (kernel.org, Documentation/admin-guide/cputopology.rst)."""
    found = re.findall(r"(\d+)(?:-(\d+))?", ranges)
    return sum(int(last or first) - int(first) + 1 for first, last in found)


def _number(host: str, part: str, text: str) -> int:
    """The number in a part of one line."""
    found = re.fullmatch(r"(?:MemTotal:\s*)?([0-9]{1,18})(?: kB)?\s*", text)
    if found is None:
        raise ProvisionError(
            f"{host}: the facts are garbled: {said(text.strip())} is no {part}", _START_FILES
        )
    return int(found[1])


def is_own(nameserver: str) -> bool:
    """A loop-back address: in a pod it is the pod's own."""
    return nameserver.startswith("127.") or nameserver == "::1"


def _resolver(text: str) -> tuple[str, tuple[str, ...]]:
    """The file whose name servers pods can use, and these. With a loop-back address CoreDNS would ask itself for ever
    (its plug-in `loop`); systemd-resolved keeps the real ones in another file, which comes behind its name.
    """
    said = [line.split() for line in text.splitlines()]
    there = ["systemd-resolved"] in said
    at = said.index(["systemd-resolved"]) if there else len(said)
    first, second = (
        tuple(each[1] for each in part if len(each) > 1 and each[0] == "nameserver")
        for part in (said[:at], said[at:])
    )
    if there and first and all(map(is_own, first)):
        return "/run/systemd/resolve/resolv.conf", second
    return "/etc/resolv.conf", first


def _strict(text: str) -> tuple[str, ...]:
    """The larger one of a link's own value and that of all is in force: 0 off, 1 strict, 2 loose (kernel.org,
    networking/ip-sysctl)."""
    values = dict(line.split()[:2] for line in text.splitlines() if len(line.split()) > 1)
    own = values.pop("all", "0")
    return tuple(link for link, value in values.items() if max(own, value) == "1" and link != "default")


def _worlds(text: str) -> tuple[str, ...]:
    """Of iptables; nothing is said of one alone."""
    lines = text.splitlines()
    rules = [world for world in ("legacy", "nft") if f"{world} rule" in lines]
    return tuple(rules if len(rules) > 1 else ()) + (("legacy drop",) if "legacy drop" in lines else ())


def _parts(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for block in ("\n" + text).split("\n=")[1:]:
        name, _, body = block.partition("\n")
        parts[name] = body + "\n" if body else ""
    return parts


def _addresses(text: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 3 and words[2] in {"inet", "inet6"}:
            found.setdefault(words[1], []).append(words[3])
    return {link: tuple(addresses) for link, addresses in found.items()}


def _mtus(text: str) -> dict[str, int]:
    """Of lines as "2: eth0@if3: <UP> mtu 1500 qdisc …" (ip-link(8))."""
    found = re.findall(r"^\d+: ([^\s:@]+)(?:@[^\s:]+)?: <.*?> mtu (\d{1,9}) ", text, re.MULTILINE)
    return {link: int(mtu) for link, mtu in found}


def _idle(text: str) -> tuple[str, ...]:
    """Links that carry nothing now, by the same lines: not up, or without a carrier (the kernel's IFF_RUNNING is not
    set)."""
    found = re.findall(r"^\d+: ([^\s:@]+)(?:@[^\s:]+)?: <(.*?)> ", text, re.MULTILINE)
    flags = {link: said.split(",") for link, said in found}
    return tuple(link for link, said in flags.items() if "UP" not in said or "NO-CARRIER" in said)


def _lowers(text: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for link, _, lower in (line.partition(" ") for line in text.splitlines()):
        if lower:
            found.setdefault(link, []).append(lower)
    return {link: tuple(below) for link, below in found.items()}


def _macs(text: str) -> dict[str, str]:
    """Of the same lines, further on: "\\    link/ether 02:00:00:00:00:01 brd …"; a loop-back link's is none."""
    found = re.findall(r"^\d+: ([^\s:@]+)(?:@[^\s:]+)?: <.*? link/\w+ ([0-9a-f:]{17}) ", text, re.MULTILINE)
    return {link: mac for link, mac in found if mac.strip("0:")}


def _towards(text: str) -> dict[str, tuple[str, ...]]:
    """What `ip -o route get` says: "8.8.8.8 via 10.98.0.1 dev eth0 src 10.98.0.21 uid 0", after the address asked."""
    target, *said = [*text.split(), ""]
    after = dict(pairwise(said))
    way = (after["dev"], after["src"]) if {"dev", "src"} <= after.keys() else ()
    return {target: way} if target else {}


def _masters(text: str) -> dict[str, tuple[str, ...]]:
    """What `ip -o -d link` says: a link that is a bridge's or a bond's part gives its frames to that."""
    found = {}
    for line in text.splitlines():
        name, wireless, *said = [*line.replace("\\", " ").split(), "", ""]
        after = dict(pairwise(said))
        known = [f"mtu {after['mtu']}"] if re.fullmatch("[0-9]{1,9}", after.get("mtu", "")) else []
        known += ["wireless"] if wireless == "wireless" else []
        known += ["bridge"] if {"forward_delay", "bridge"} <= set(said) else []
        known += [f"part of {after.get('master', '')}"] if {"bridge_slave", "bond_slave"} & set(said) else []
        found[name] = tuple(known)
    return found


def _os(key: str) -> Callable[[str], str]:
    """Reads a line of os-release(5)."""

    def read(text: str) -> str:
        lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        return lines.get(key, "").strip('"')

    return read


def _default_link(text: str) -> str:
    route = next((line.split() for line in text.splitlines() if line.startswith("default ")), [])
    return next(iter(route[route.index("dev") + 1 :]), "") if "dev" in route else ""


def _unsettable(text: str) -> tuple[str, ...]:
    return tuple(line.partition(" ")[2] for line in text.splitlines())


def _drivers(text: str) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in text.splitlines() if " " in line)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _any(text: str) -> bool:
    return bool(text.strip())


_READ: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "hostname": ("hostname", str.strip),
    "machine_id": ("machine", str.strip),
    "os_id": ("os", _os("ID")),
    "os_version": ("os", _os("VERSION_ID")),
    "os_like": ("os", lambda text: _words(_os("ID_LIKE")(text))),
    "cpus": ("cpus", _count),
    "swap": ("swap", lambda text: len(text.splitlines()) > 1),
    "root": ("user", lambda text: text.strip() == "0"),
    "missing_tools": ("tools", _words),
    "missing_packages": ("packages", _words),
    "package_sources": ("sources", lambda text: "unreachable" not in text),
    "modules": ("modules", _words),
    "unsettable": ("settings", _unsettable),
    "contained": ("settings", lambda text: _OF_A_MACHINE in _unsettable(text)),
    "virtual": ("virtual", str.strip),
    "selinux": ("selinux", _any),
    "network_manager": ("network_manager", _any),
    "resolver": ("resolver", lambda text: _resolver(text)[0]),
    "nameservers": ("resolver", lambda text: _resolver(text)[1]),
    "addresses": ("links", _addresses),
    "default_link": ("links", _default_link),
    "mtus": ("links", _mtus),
    "macs": ("links", _macs),
    "idle_links": ("links", _idle),
    "strict_links": ("rp_filter", _strict),
    "drivers": ("drivers", _drivers),
    "lowers": ("lowers", _lowers),
    "masters": ("masters", _masters),
    "towards": ("towards", _towards),
    "firewall": ("firewall", lambda text: text.partition("\n")[0]),
    "filters": ("firewall", lambda text: text.partition("\n")[2]),
    "iptables": ("iptables", _worlds),
    "peers": ("peers", _words),
    "claimed": ("claimed", str.strip),
    "mark": ("mark", str),
    "owned": ("owned", str),
    "network_record": ("network_record", str),
    "last_change": ("change", str.strip),
    "kubelet_certificate": ("kubelet", str),
    "endpoint": ("endpoint", lambda text: " ".join(text.split())),
    "etcd": ("etcd", _etcd),
}
"""By fact the part that it is read from, and how."""
