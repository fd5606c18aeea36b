"""What a node said of its pods' networks, when it was asked by the script of cniscript.py."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from provisioner.kube.healthscript import Section, sections


@dataclass(frozen=True)
class Lease:
    """An address of `network` that host-local has given to `container`, at `since` (seconds since 1970)."""

    network: str
    address: str
    container: str
    since: int


@dataclass(frozen=True)
class Complaint:
    """The runtime could not take away a sandbox's network, `count` times from `first` to `last` (seconds since 1970).
    `pod` is NAMESPACE/NAME, `uid` its; `namespace` the path of the network namespace."""

    sandbox: str
    pod: str
    uid: str
    namespace: str
    count: int
    first: float
    last: float
    reason: str


@dataclass(frozen=True)
class Left:
    """A network namespace by its name, with an address in it; `used` while some process lives there."""

    name: str
    address: str
    used: bool


@dataclass(frozen=True)
class Configuration:
    """The CNI configuration that the runtime uses: its path, the network's name, and what the plug-ins are told."""

    path: str
    name: str = ""
    plugins: tuple[Mapping[str, Any], ...] = ()

    @property
    def types(self) -> tuple[str, ...]:
        """All plug-ins that are called by it, those that delegate first."""
        return tuple(dict.fromkeys(each for plugin in self.plugins for each in _types(plugin)))

    def of(self, kind: str) -> Mapping[str, Any] | None:
        """What the first plug-in of that type is told."""
        return next((each for each in self.plugins if each.get("type") == kind), None)


@dataclass(frozen=True)
class NodeNetwork:
    """What a node said. `known` is None when its runtime did not answer; `leases` were there twice, before and after
    that. `unfit`: what is wrong with plug-ins' files, by type; `bridges`: addresses with their prefixes by link;
    `running` are containers with a process."""

    now: int = 0
    leases: tuple[Lease, ...] = ()
    known: frozenset[str] | None = None
    adding: frozenset[str] = frozenset()
    left: tuple[Left, ...] = ()
    running: frozenset[str] = frozenset()
    bin: str = "/opt/cni/bin"
    configuration: Configuration | None = None
    unfit: Mapping[str, str] = field(default_factory=dict)
    bridges: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    subnets: tuple[str, ...] = ()
    complaints: tuple[Complaint, ...] = ()


def parse_node(output: bytes) -> NodeNetwork:
    """What cannot be read is left out, as if it were not there."""
    found = sections(output)

    def lines(name: str) -> list[str]:
        section = found.get(name)
        return section.text.strip().splitlines() if section and section.status == 0 else []

    first = lines("now") or ["0"]
    folders = (lines("folders") or ["/opt/cni/bin"])[0].split()
    known = found.get("known")
    return NodeNetwork(
        now=int(first[0]) if first[0].isdigit() else 0,
        leases=tuple(sorted(set(_leases(lines("leases"))) & set(_leases(lines("again"))), key=_order)),
        known=frozenset(lines("known")) if known is not None and known.status == 0 else None,
        adding=frozenset(line.partition("=")[2] for line in lines("adding")),
        left=tuple(_left(lines("left"))),
        running=frozenset(words[0] for line in lines("tasks") if (words := line.split())[-1:] == ["RUNNING"]),
        bin=folders[0] if folders else "/opt/cni/bin",
        configuration=_configuration(lines("configuration")),
        unfit=dict(line.partition(" ")[::2] for line in lines("binaries")),
        bridges=_bridges(lines("bridges")),
        subnets=tuple(
            re.findall(r"^FLANNEL_(?:IPV6_)?SUBNET=(\S+)$", "\n".join(lines("subnet")), re.MULTILINE)
        ),
        complaints=tuple(_complaints(lines("complaints"), found)),
    )


def _order(lease: Lease) -> tuple[str, int, int]:
    address = ipaddress.ip_address(lease.address)
    return lease.network, address.version, int(address)


def _leases(lines: list[str]) -> Iterator[Lease]:
    for line in lines:
        since, _, rest = line.partition(" ")
        container, _, path = rest.partition(" ")
        network, _, address = path.removeprefix("/").rpartition("/")
        if since.isdigit() and container != "-" and _is_address(address):
            yield Lease(network.rpartition("/")[2], address, container, int(since))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _left(lines: list[str]) -> Iterator[Left]:
    for line in lines:
        words = line.split()
        if len(words) == 3:
            yield Left(words[2], words[1], words[0] == "used")


def _bridges(lines: list[str]) -> dict[str, tuple[str, ...]]:
    """`ip -o addr`, but for link-local addresses: those are the kernel's."""
    found: dict[str, tuple[str, ...]] = {}
    for line in lines:
        match = re.match(r"\d+:\s+([^\s@]+)\S*\s+inet6?\s+(\S+)\s", line)
        if match and not match[2].lower().startswith("fe80:"):
            found[match[1]] = (*found.get(match[1], ()), match[2])
    return found


def _configuration(lines: list[str]) -> Configuration | None:
    """None where there is none. One that is no JSON has no name and no plug-ins."""
    path, _, text = (lines or [""])[0].partition(" ")
    if not path:
        return None
    try:
        value = json.loads(base64.b64decode(text))
    except (ValueError, binascii.Error, RecursionError):
        return Configuration(path)
    if not isinstance(value, dict):
        return Configuration(path)
    plugins = value.get("plugins", [value])
    chosen = tuple(each for each in plugins if isinstance(each, dict)) if isinstance(plugins, list) else ()
    return Configuration(path, str(value.get("name", "")), chosen)


def _types(plugin: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """The plug-in's own, its IPAM's, and those that it hands on to. flannel's makes a bridge with addresses of
    host-local where nothing else is said (flannel-io/cni-plugin, flannel.go)."""
    kind = plugin.get("type")
    if isinstance(kind, str) and kind:
        yield kind
    ipam, delegate = plugin.get("ipam"), plugin.get("delegate")
    if isinstance(ipam, dict) and isinstance(ipam.get("type"), str):
        yield ipam["type"]
    if kind == "flannel":
        delegate = {"type": "bridge", "ipam": {"type": "host-local"}} | (
            delegate if isinstance(delegate, dict) else {}
        )
    further = [delegate, *_list(plugin.get("delegates")), *_list(plugin.get("plugins"))]
    for each in further:
        if isinstance(each, dict) and depth < _DEPTH:
            yield from _types(each, depth + 1)


_DEPTH = 8


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


_DESTROY = re.compile(
    r"^(\d+\.\d+) .*?failed to destroy network for sandbox \\*\"([0-9a-f]{64})\\*\": (.*?)\"?$"
)
_DONE = re.compile(r"^\d+\.\d+ .*?TearDown network for sandbox \\*\"([0-9a-f]{64})\\*\" successfully")


def _complaints(lines: list[str], found: Mapping[str, Section]) -> Iterator[Complaint]:
    """Of sandboxes that are still there; those before a success do not count."""
    heard: dict[str, list[tuple[float, str]]] = {}
    for line in lines:
        if done := _DONE.match(line):
            heard.pop(done[1], None)
        elif match := _DESTROY.match(line):
            heard.setdefault(match[2], []).append((float(match[1]), match[3].replace("\\", "")))
    for sandbox, said in heard.items():
        section = found.get(f"sandbox-{sandbox}")
        if section is None or section.status != 0:
            continue
        pod, uid, namespace = _pod_of(section.text)
        last, reason = max(said)
        yield Complaint(sandbox, pod, uid, namespace, len(said), min(said)[0], last, reason)


def _pod_of(text: str) -> tuple[str, str, str]:
    try:
        value = json.loads(text)
        labels = value["Labels"]
        spaces = value.get("Spec", {}).get("linux", {}).get("namespaces", [])
        path = next((each.get("path", "") for each in spaces if each.get("type") == "network"), "")
        pod = f"{labels['io.kubernetes.pod.namespace']}/{labels['io.kubernetes.pod.name']}"
        return pod, str(labels["io.kubernetes.pod.uid"]), str(path)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "?/?", "", ""
