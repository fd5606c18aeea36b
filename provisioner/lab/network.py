"""The lab's network: a bridge in a namespace of its own, one port a host, and the machine's own end.

The bridge does not live among the machine's interfaces: br_netfilter would send the hosts' traffic through
the machine's FORWARD chain, and whatever firewall or container engine runs there would have a say in it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.lab.command import run, succeeds
from provisioner.lab.names import Names
from provisioner.lab.plan import LabPlan

NAMESPACES = Path("/run/netns")
_CANDIDATES = IPv4Network("10.64.0.0/10")


def check_free(plan: LabPlan) -> None:
    """Raises ProvisionError, naming a free subnet, when a route of the machine overlaps the lab's."""
    taken: list[tuple[IPv4Network, str]] = []
    for route in json.loads(run(["ip", "-4", "-j", "route", "show", "table", "all"])):
        if (
            route["dst"] != "default"
            and route.get("dev") != plan.names.uplink
            and not _vanished(route.get("dev", ""))
        ):
            taken.append((IPv4Network(route["dst"], strict=False), route.get("dev", "")))
    for network, device in taken:
        if network.overlaps(plan.subnet):
            free = _free_subnet(plan.subnet.prefixlen, [network for network, _ in taken])
            raise ProvisionError(
                f"the lab's subnet {plan.subnet} collides with {network} on {device or 'a route'} here",
                f"take another one, such as --subnet {free}",
            )


def _vanished(device: str) -> bool:
    """Whether a route's device went while `ip` listed it: it calls one without a name after its number ("if223")."""
    return re.fullmatch(r"if\d+", device) is not None and not Path("/sys/class/net", device).exists()


def _free_subnet(prefix: int, taken: list[IPv4Network]) -> IPv4Network:
    # Above 10.112 no common service CIDR (10.96.0.0/12) is in the way.
    for subnet in _CANDIDATES.subnets(new_prefix=prefix):
        if subnet[0] >= IPv4Address("10.112.0.0") and not any(subnet.overlaps(other) for other in taken):
            return subnet
    return _CANDIDATES


def mac(address: IPv4Address) -> str:
    """A fixed hardware address, so that a host that comes back is found without waiting for ARP."""
    return ":".join(f"{octet:02x}" for octet in (2, 0, *address.packed))


def switch_is_up(plan: LabPlan) -> bool:
    """Whether the bridge and the machine's end of it are as they shall be."""
    names = plan.names
    uplink = interface(names.uplink)
    inside = ports(names)
    return (
        uplink.get("addresses") == (f"{plan.gateway}/{plan.segment_of(plan.gateway).prefixlen}",)
        and bool(uplink["up"])
        and inside.get("uplink") == names.bridge
        and all(bridge_of(plan, segment) in inside for segment in plan.segments)
    )


def bridge_of(plan: LabPlan, segment: IPv4Network) -> str:
    """The bridge of a segment; that of the gateway's is the lab's."""
    number = plan.segments.index(segment)
    return f"segment-{number}" if number else plan.names.bridge


def ports(names: Names) -> Mapping[str, str]:
    """The interfaces of the switch that are up, each with its bridge (or an empty string)."""
    return {
        link["ifname"]: link.get("master", "")
        for link in _ip_json("-n", names.switch, "link", "show")
        if "UP" in link["flags"]
    }


def interface(name: str, namespace: str = "") -> dict[str, Any]:
    """An interface's `addresses` (with prefix length) and whether it is `up`; empty when there is none."""
    where = ["-n", namespace] if namespace else []
    for link in _ip_json(*where, "-4", "addr", "show", "dev", name):
        addresses = tuple(f"{info['local']}/{info['prefixlen']}" for info in link.get("addr_info", ()))
        return {"addresses": addresses, "up": "UP" in link.get("flags", ())}
    return {}


def _ip_json(*arguments: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(run(["ip", "-j", *arguments]) or "[]")
    except ProvisionError:  # no such namespace or interface
        return []
    return [link for link in found if "ifname" in link]


def make_switch(plan: LabPlan) -> None:
    """Makes the bridge and the machine's end anew; hosts that were connected lose their links."""
    names = plan.names
    remove_namespace(names.switch)
    succeeds(["ip", "link", "del", names.uplink])
    run(["ip", "netns", "add", names.switch])
    inside = f"""\
link set lo up
link add {names.bridge} type bridge
link set {names.bridge} up
link set uplink master {names.bridge}
link set uplink up
"""
    outside = f"""\
link add {names.uplink} address {mac(plan.gateway)} type veth peer name uplink netns {names.switch}
addr add {plan.gateway}/{plan.segment_of(plan.gateway).prefixlen} brd + dev {names.uplink}
link set {names.uplink} up
"""
    run(["ip", "-batch", "-"], stdin=outside + "".join(_routes(plan, plan.segments[0])))
    run(["ip", "-n", names.switch, "-batch", "-"], stdin=inside + "".join(_router(plan)))
    forward = "echo 1 >/proc/sys/net/ipv4/ip_forward" if plan.segment else ":"
    run(["ip", "netns", "exec", names.switch, "sh", "-c", forward])
    # Absent where the kernel has no br_netfilter; then nothing filters here anyway.
    off = "f=/proc/sys/net/bridge/bridge-nf-call-iptables; [ ! -e $f ] || echo 0 >$f"
    run(["ip", "netns", "exec", names.switch, "sh", "-c", off])


def _routes(plan: LabPlan, segment: IPv4Network) -> Iterator[str]:
    """From one segment to the others: lines for `ip -batch`."""
    for other in plan.segments:
        if other != segment:
            yield f"route add {other} via {plan.router(segment)}\n"


def _router(plan: LabPlan) -> Iterator[str]:
    """The switch is a router between its bridges, where there are several."""
    for segment in plan.segments if plan.segment is not None else ():
        bridge = bridge_of(plan, segment)
        if bridge != plan.names.bridge:
            yield f"link add {bridge} type bridge\nlink set {bridge} up\n"
        yield f"addr add {plan.router(segment)}/{segment.prefixlen} brd + dev {bridge}\n"
    if plan.segment is not None:
        yield f"route add default via {plan.gateway}\n"


def link_script(plan: LabPlan, host: str) -> str:
    """POSIX sh that makes the host's namespace and link anew, as they are after power-on."""
    names = plan.names
    address = plan.hosts[host]
    segment = plan.segment_of(address)
    gateway = plan.gateway if segment == plan.segments[0] else plan.router(segment)
    routes = "".join(_routes(plan, segment) if segment == plan.segments[0] else ())
    switch, namespace, port = names.switch, shlex.quote(names.namespace(host)), names.port(plan.offset(host))
    return f"""\
ip -n {switch} link del {port} 2>/dev/null
ip netns del {namespace} 2>/dev/null
rm -f {NAMESPACES}/{namespace}
set -e
ip netns add {namespace}
ip -n {switch} link add {port} type veth peer name eth0 address {mac(address)} netns {namespace}
ip -n {switch} link set {port} master {bridge_of(plan, segment)} up
ip -n {namespace} -batch - <<END
link set lo up
addr add {address}/{segment.prefixlen} brd + dev eth0
link set eth0 up
route add default via {gateway}
{routes}END
set +e
"""


def cut(plan: LabPlan, host: str) -> None:
    """Takes the host's link away at once: a dying host must not go on holding an address."""
    succeeds(["ip", "-n", plan.names.switch, "link", "del", plan.names.port(plan.offset(host))])


def plug(plan: LabPlan, host: str, *, linked: bool) -> None:
    """Pulls the host's cable, which it sees, or puts it back. Raises ProvisionError when it has none: it is off."""
    port = plan.names.port(plan.offset(host))
    run(["ip", "-n", plan.names.switch, "link", "set", port, "up" if linked else "down"])


def namespaces(names: Names) -> tuple[str, ...]:
    """The lab's namespaces that are there, alive or not; the switch first."""
    if not NAMESPACES.is_dir():
        return ()
    own = [path.name for path in NAMESPACES.iterdir()]
    return tuple(sorted(n for n in own if n == names.switch or n.startswith(names.namespace(""))))


def remove_namespace(name: str) -> None:
    """Deletes a named namespace; also the empty file that a killed `ip netns add` leaves."""
    if (NAMESPACES / name).exists():
        succeeds(["ip", "netns", "del", name])
        with suppress(FileNotFoundError):
            (NAMESPACES / name).unlink()


def remove_uplink(names: Names) -> bool:
    """Deletes the machine's end; says whether it was there."""
    return succeeds(["ip", "link", "del", names.uplink])
