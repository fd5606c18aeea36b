"""Single values of the spec: what they must look like, and why a wrong one is wrong."""

from __future__ import annotations

import ipaddress
import re

from provisioner.errors import ProvisionError
from provisioner.inventory.addresses import DIGITS_AND_DOTS, address_fault, unreplaced, without_zeros
from provisioner.inventory.spelling import said

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_LABEL_RULES = "small letters, digits and '-', at most 63"
_DNS_LABEL = re.compile(_LABEL)
_SELINUX_BOOLEAN = re.compile(r"[a-z][a-z0-9_]*")
_DNS_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_PATH_SEGMENTS = re.compile(r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")


class RefusedError(ProvisionError, ValueError):
    """A value is not what it must be. Never leaves this package: the loader adds the place."""

    @property
    def general(self) -> str:
        """The hint unless it names a value, which would not fit into a longer one."""
        return "" if self.hint.startswith("did you mean") else self.hint


def cidr(text: str) -> IPNetwork:
    """The network that `text` names exactly: no bits set behind the prefix, no octal, no netmask. One for hosts."""
    return _network(text, for_hosts=True)


def any_cidr(text: str) -> IPNetwork:
    """The same, but also all addresses, and those that no host has for its own."""
    return _network(text, for_hosts=False)


def _network(text: str, *, for_hosts: bool) -> IPNetwork:
    address_text, slash, prefix_text = text.partition("/")
    if not slash:
        raise RefusedError(f"{said(text)} has no prefix length", "write it as a CIDR, such as 10.244.0.0/16")
    try:
        base = address(address_text)
    except RefusedError as refused:
        raise RefusedError(
            f"{said(text)}: {refused.reason}", _nearest_cidr(text) or refused.general
        ) from None
    width = base.max_prefixlen
    if not re.fullmatch(r"0|[1-9][0-9]{0,2}", prefix_text):
        hint = _nearest_cidr(text) or "write the prefix length, such as /16"
        raise RefusedError(f"{said(text)}: {said(prefix_text)} is not a prefix length", hint)
    if int(prefix_text) > width:
        hint = f"0 to {width} for IPv{base.version}"
        raise RefusedError(f"{said(text)}: the prefix length is over {width}", hint)
    network = ipaddress.ip_network(text, strict=False)
    if for_hosts and _is_special(network, base):
        raise RefusedError(f"'{text}' is not a range for hosts", "use a private range, such as 10.244.0.0/16")
    if network.network_address != base:
        raise RefusedError(f"'{text}' has bits set behind the prefix", f"did you mean '{network}'?")
    return network


def _is_special(network: IPNetwork, base: IPAddress) -> bool:
    return not network.prefixlen or base.is_multicast or base.is_loopback or base.is_link_local


def _nearest_cidr(text: str) -> str:
    """A hint with the CIDR that is meant; empty when none can be told that would pass."""
    base, _, prefix = text.partition("/")
    base = base.partition("%")[0]  # no network has a zone, though ip_network would keep it
    if DIGITS_AND_DOTS.fullmatch(base):
        base = without_zeros(unreplaced(base))
        missing = 3 - base.count(".")
        if missing > 0 and prefix.isdecimal() and int(prefix[:3]) <= 32 - 8 * missing:
            base += ".0" * missing  # "10.244/16"
    try:
        meant = ipaddress.ip_network(f"{base}/{without_zeros(prefix)}", strict=False)
        cidr(str(meant))
    except (ValueError, RefusedError):
        return ""
    return f"did you mean '{meant}'?"


def address(text: str) -> IPAddress:
    """An IPv4 or IPv6 address without a zone."""
    fault = address_fault(text)
    if fault is not None:
        raise RefusedError(*fault)
    found = ipaddress.ip_address(text)
    if isinstance(found, ipaddress.IPv6Address) and found.scope_id:
        raise RefusedError(f"{said(text)} has a zone", "leave out what follows '%'")
    return found


def route_target(text: str) -> None:
    """A network that is reached by a way of its own; never all that there is."""
    if re.fullmatch(r"(0\.0\.0\.0|::)/0|default", text):
        reason = f"'{text}' would be a second default route: a pod's first is the cluster's network's"
        raise RefusedError(reason, "a pod that wants it elsewhere says so by default-route in its annotation")
    cidr(text)


def address_with_prefix(text: str) -> None:
    """An address and the prefix length of its network, as `ip address add` takes it."""
    base, slash, prefix = text.partition("/")
    width = address(base).max_prefixlen
    if not slash or not re.fullmatch(r"[1-9][0-9]{0,2}", prefix) or int(prefix) > width:
        missing = "has no prefix length" if not slash else "has no prefix length that fits"
        raise RefusedError(f"{said(text)} {missing}", f"such as {base}/{24 if width == 32 else 64}")


def extended_resource(text: str) -> None:
    """What a device plug-in offers, by its full name (kubernetes, docs, concepts/extend-kubernetes, device plugins)."""
    domain, slash, name = text.partition("/")
    if not slash or dns_slip(domain) or not re.fullmatch(r"[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", name):
        raise RefusedError(
            f"{said(text)} is not a resource's name", "a domain and a name, such as intel.com/sriov_net"
        )


def is_address(text: str) -> bool:
    """Whether `text` is an IP address that `address` accepts."""
    try:
        address(text)
    except RefusedError:
        return False
    return True


def dns_label(text: str) -> None:
    """RFC 1123's label, in lower case."""
    if not _DNS_LABEL.fullmatch(text):
        raise RefusedError(f"{said(text)} is not a DNS label", _dns_hint(text, _DNS_LABEL) or _LABEL_RULES)


def dns_name(text: str) -> None:
    """RFC 1123's subdomain, in lower case, as Kubernetes wants it (apimachinery: IsDNS1123Subdomain)."""
    slip = dns_slip(text)
    if slip:
        raise RefusedError(f"{said(text)} is not a DNS name: {slip}", _dns_hint(text, _DNS_NAME))


def dns_slip(text: str) -> str:
    """What is wrong with a DNS name in lower case; "" for a right one."""
    if len(text) > 253:
        return f"it has {len(text)} characters, 253 are the most"
    for part in text.split("."):
        strange = re.search(r"[^-a-z0-9]", part)
        if strange:
            return f"{said(strange[0])} is none of small letters, digits, '-' and '.'"
        if not part:
            return "nothing is before or after a '.'" if text else "it is empty"
        if len(part) > 63:
            return f"{said(part, 20)} has {len(part)} characters, 63 are the most between dots"
        if not _DNS_LABEL.fullmatch(part):
            return f"{said(part, 20)} does not begin and end with a letter or a digit"
    return ""


def _dns_hint(text: str, right: re.Pattern[str]) -> str:
    near = dns_like(text)
    return f"did you mean '{near}'?" if near != text and right.fullmatch(near) else ""


def dns_like(text: str) -> str:
    """`text` in lower case, with '-' for '_' and blanks, and neither '-' nor '.' where they cannot be."""
    parts = re.sub(r"[_ ]", "-", text.lower()).split(".")
    return ".".join(part.strip("-") for part in parts if part.strip("-"))


def host(text: str) -> None:
    """A DNS name or an IP address."""
    if "://" in text:
        raise RefusedError(f"{said(text)} is a URL", "write only the host, and its port under 'port:'")
    if re.fullmatch(r"[^:]+:[0-9]+", text):
        raise RefusedError(f"{said(text)} has a port", "write the port under 'port:'")
    if DIGITS_AND_DOTS.fullmatch(text) or ":" in text:
        address(text)
    else:
        dns_name(text)


def project(text: str) -> None:
    if text and not _PATH_SEGMENTS.fullmatch(text):
        raise RefusedError(
            f"{said(text)} is not a project's path", "small letters, digits, '-', '_', '.' and '/'"
        )


def account(text: str) -> None:
    """A user's name, as HTTP's Basic scheme takes it (RFC 7617)."""
    if ":" in text or not text.isprintable() or not text.strip():
        raise RefusedError(f"{said(text)} is not an account's name", "printable characters without ':'")


def interface(text: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_.@-]{1,15}", text):
        raise RefusedError(
            f"{said(text)} is not a network interface's name", "at most 15 letters, such as eth0"
        )


def selinux_boolean(text: str) -> None:
    if not _SELINUX_BOOLEAN.fullmatch(text):
        near = re.sub(r"[- .]", "_", text.lower())
        meant = f"did you mean '{near}'?" if _SELINUX_BOOLEAN.fullmatch(near) else ""
        rules = "small letters, digits and '_', such as container_use_cephfs"
        raise RefusedError(f"{said(text)} is no SELinux boolean", meant or rules)


def proxy_url(text: str) -> None:
    """Where an HTTP proxy is: scheme, host and port, nothing else."""
    match = re.fullmatch(r"https?://(?P<host>\[[^]\s]+\]|[^/:@\[\]\s]+)(:(?P<port>[0-9]{1,5}))?/?", text)
    if "@" in text:
        raise RefusedError(
            "has a user in it, whom every host's unit files would show",
            "let the proxy know its clients by their addresses",
        )
    if match is None or not 0 < int(match["port"] or 1) < 65536:
        raise RefusedError(f"{said(text)} is not a proxy's URL", "such as http://proxy.example.com:3128")
    host(match["host"].strip("[]"))


def unproxied(text: str) -> None:
    """What is reached without the proxy: a name, a domain (with a dot in front for all names below), an address or a
    CIDR."""
    if "/" in text:
        cidr(text)
    elif text.startswith("*"):
        raise RefusedError(
            f"{said(text)} has a star", f"write '{text.lstrip('*')}' for all names below a domain"
        )
    else:
        host(text.removeprefix("."))


def rooted(text: str) -> None:
    """An absolute path of plain characters: it goes into scripts and into other programs' configurations."""
    if not re.fullmatch(r"(/[\w.@+-]+)+", text, re.ASCII) or {".", ".."} & set(text.split("/")):
        raise RefusedError(
            f"{said(text)} is not an absolute path", "such as /opt/kubernetes, without a '/' at its end"
        )


def path(text: str) -> None:
    if not text.isprintable() or not text.strip() or len(text) > 4095:
        raise RefusedError(f"{said(text)} is not a path")
