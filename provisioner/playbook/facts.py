"""Facts of a host: what the compiler may know before anything is read in detail."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from provisioner.errors import ProvisionError
from provisioner.inventory.secrets import Secret
from provisioner.inventory.spelling import said
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


@dataclass(frozen=True)
class Facts:
    """`clock_skew` is in seconds, the host's clock less ours; `memory` in KiB; `cpus` are online, 0 when that is not
    known; `addresses` by link; `resolver` is the resolv.conf that pods are to inherit, with its `nameservers`;
    `modules` those of the kernel that were asked for and are there, loaded or not. `missing_packages` are those that
    were asked for and are not installed; only then `package_sources` tells whether the host reaches the sources of its
    own package manager. `firewall` is the one at work (firewalld, ufw, nftables; "" for none that drops what comes in
    or passes through), `filters` what it says.
    `selinux`: the kernel has it, and a policy is loaded, whether that is enforced or not. `network_manager`: it is
    installed.

    `mtus` by link, and `macs`, their hardware addresses; `idle_links` are down or without a carrier; `strict_links` are
    those on which the kernel drops what would not go back the way that it came (rp_filter). `iptables`: "legacy" and
    "nft" where both of its worlds have rules, "legacy drop" where the old one's FORWARD drops by policy. Where they
    were asked for: `drivers` by link, of links that have one; `lowers`: of a bond, a VLAN, a bridge, the links below
    it; `unsettable` paths of kernel settings, and `contained`: the host shares its kernel's network with the machine
    that it runs on.

    `etcd`: "seeded" where a member of a new cluster is to start, "founding" where it has started and was not seen to
    vote, "joining" where one of a running cluster is to start, else "data" where it has some.

    `endpoint`: the API server that its kubelet talks to (a URL), "" without one; with "switching" behind it while a
    change of that is not approved (kube.switch).

    `mark` and `kubelet_certificate` are texts of the cluster's own files, `owned` what the host remembers to be ours
    (resources.owned), `network_record` what a control plane remembers of the pod network (network.record), "" when
    there are none; `state`, which holds the cluster's keys, is None then. `last_change`
    names the script of ours that changed the host last. `claimed` is the hardware address that answers for the address
    that was asked for, "" when none does or nothing was asked, "kept" where keepalived knows it. `existing`
    are files of a cluster that others have built: lines of a path and the content in base64.
    `virtual`, what the machine is made of by systemd-detect-virt(1) ("none" for metal), where links were asked for.
    `masters` are links that were asked for by name and are there, with what is to be known of each: "mtu 1500",
    "bridge", "wireless", "part of br0". `towards` has, by the address that was asked for, the link and the
    address by which the host sends there, () where there is no way. `peers` are the addresses to which its keepalived
    says that it is there.
    """

    architecture: str
    kernel: str
    hostname: str
    os_id: str
    os_version: str
    clock_skew: float
    swap: bool
    memory: int
    addresses: Mapping[str, tuple[str, ...]]
    default_link: str
    missing_tools: tuple[str, ...] = ()
    root: bool = True
    state: Secret | None = None
    network_record: str = field(default="", repr=False)
    resolver: str = "/etc/resolv.conf"
    machine_id: str = ""
    mark: str = ""
    owned: str = field(default="", repr=False)
    last_change: str = ""
    kubelet_certificate: str = field(default="", repr=False)
    modules: tuple[str, ...] = ()
    os_like: tuple[str, ...] = ()
    missing_packages: tuple[str, ...] = ()
    package_sources: bool = True
    firewall: str = ""
    filters: str = field(default="", repr=False)
    cpus: int = 0
    etcd: str = ""
    endpoint: str = ""
    selinux: bool = False
    network_manager: bool = False
    claimed: str = ""
    existing: Secret | None = field(default=None, repr=False)
    mtus: Mapping[str, int] = field(default_factory=dict)
    macs: Mapping[str, str] = field(default_factory=dict)
    strict_links: tuple[str, ...] = ()
    iptables: tuple[str, ...] = ()
    drivers: Mapping[str, str] = field(default_factory=dict)
    unsettable: tuple[str, ...] = ()
    contained: bool = False
    virtual: str = ""
    nameservers: tuple[str, ...] = ()
    masters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    peers: tuple[str, ...] = ()
    idle_links: tuple[str, ...] = ()
    towards: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lowers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def platform(self) -> str:
        """As the bundle names it ("linux/amd64")."""
        return f"linux/{self.architecture}"

    @property
    def switch_under_way(self) -> bool:
        """Its kubelet's change of the `endpoint` is not approved."""
        return self.endpoint.endswith(" switching")


def parse_facts(host: str, output: bytes, asked_at: float) -> Facts:
    """`asked_at`: our clock when the script was sent. Raises ProvisionError when the host cannot be used."""
    parts = _parts(output.decode(errors="replace"))
    if "end" not in parts:
        raise ProvisionError(f"{host}: the facts ended early", _START_FILES)
    missing = [name for name in PARTS if name not in parts]
    if missing:
        raise ProvisionError(f"{host}: the facts are garbled: there is no part '{missing[0]}'", _START_FILES)
    system, kernel, machine = [*parts["kernel"].split(), "", "", ""][:3]
    if system != "Linux" or machine not in _ARCHITECTURES:
        raise ProvisionError(
            f"{host}: {system} on {machine} is not supported", "hosts need Linux on amd64 or arm64"
        )
    if parts["init"].strip() != "systemd":
        raise ProvisionError(f"{host}: its init is {parts['init'].strip()}, not systemd")
    os_release = dict(line.split("=", 1) for line in parts["os"].splitlines() if "=" in line)
    resolver, nameservers = _resolver(parts["resolver"].splitlines())
    unsettable = tuple(line.partition(" ")[2] for line in parts.get("settings", "").splitlines())
    route = next((line.split() for line in parts["links"].splitlines() if line.startswith("default ")), [])
    return Facts(
        architecture=_ARCHITECTURES[machine],
        kernel=kernel,
        hostname=parts["hostname"].strip(),
        os_id=os_release.get("ID", "").strip('"'),
        os_version=os_release.get("VERSION_ID", "").strip('"'),
        clock_skew=_number(host, "clock", parts["clock"]) + 0.5 - (asked_at + time.time()) / 2,
        swap=len(parts["swap"].splitlines()) > 1,
        memory=_number(host, "memory", parts["memory"]),
        addresses=_addresses(parts["links"]),
        default_link=next(iter(route[route.index("dev") + 1 :]), "") if "dev" in route else "",
        missing_tools=tuple(parts["tools"].split()),
        root=parts["user"].strip() == "0",
        state=Secret.text(parts["state"]) if parts["state"] else None,
        network_record=parts["network_record"],
        resolver=resolver,
        nameservers=nameservers,
        machine_id=parts["machine"].strip(),
        mark=parts["mark"],
        owned=parts["owned"],
        last_change=parts["change"].strip(),
        kubelet_certificate=parts["kubelet"],
        modules=tuple(parts.get("modules", "").split()),
        os_like=tuple(os_release.get("ID_LIKE", "").strip('"').split()),
        missing_packages=tuple(parts.get("packages", "").split()),
        package_sources="unreachable" not in parts.get("sources", ""),
        firewall=parts.get("firewall", "").partition("\n")[0],
        filters=parts.get("firewall", "").partition("\n")[2],
        cpus=_count(parts["cpus"]),
        endpoint=" ".join(parts["endpoint"].split()),
        etcd=_etcd(parts["etcd"].splitlines()),
        selinux=bool(parts["selinux"].strip()),
        network_manager=bool(parts["network_manager"].strip()),
        claimed=parts.get("claimed", "").strip(),
        existing=Secret.text(parts["existing"]) if "existing" in parts else None,
        mtus=_mtus(parts["links"]),
        idle_links=_idle(parts["links"]),
        macs=_macs(parts["links"]),
        strict_links=_strict(parts["rp_filter"]),
        iptables=_worlds(parts["iptables"].splitlines()),
        drivers=dict(line.split(" ", 1) for line in parts.get("drivers", "").splitlines() if " " in line),
        lowers=_lowers(parts.get("lowers", "").splitlines()),
        unsettable=unsettable,
        contained=_OF_A_MACHINE in unsettable,
        virtual=parts.get("virtual", "").strip(),
        masters=_masters(parts.get("masters", "").splitlines()),
        peers=tuple(parts.get("peers", "").split()),
        towards=_towards(parts.get("towards", "")),
    )


def _etcd(lines: Sequence[str]) -> str:
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


def _resolver(lines: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The file whose name servers pods can use, and these. With a loop-back address CoreDNS would ask itself for ever
    (its plug-in `loop`); systemd-resolved keeps the real ones in another file, which comes behind its name.
    """
    said = [line.split() for line in lines]
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


def _worlds(lines: Sequence[str]) -> tuple[str, ...]:
    """Of iptables; nothing is said of one alone."""
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


def _lowers(lines: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for link, _, lower in (line.partition(" ") for line in lines):
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


def _masters(lines: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What `ip -o -d link` says: a link that is a bridge's or a bond's part gives its frames to that."""
    found = {}
    for line in lines:
        name, wireless, *said = [*line.replace("\\", " ").split(), "", ""]
        after = dict(pairwise(said))
        known = [f"mtu {after['mtu']}"] if re.fullmatch("[0-9]{1,9}", after.get("mtu", "")) else []
        known += ["wireless"] if wireless == "wireless" else []
        known += ["bridge"] if {"forward_delay", "bridge"} <= set(said) else []
        known += [f"part of {after.get('master', '')}"] if {"bridge_slave", "bond_slave"} & set(said) else []
        found[name] = tuple(known)
    return found
