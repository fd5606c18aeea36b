"""Single values of the spec: what they must look like, and why a wrong one is wrong."""

from __future__ import annotations

import ipaddress
import re

from provisioner.errors import ProvisionError
from provisioner.inventory.spelling import said

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_DNS_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_PATH_SEGMENTS = re.compile(r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")
_EACH_NUMBER = "each number of an IPv4 address is 0 to 255"
_V4_LIKE = re.compile(r"[0-9]+(\.[0-9]+)*")


class RefusedError(ProvisionError, ValueError):
    """A value is not what it must be. Never leaves this package: the loader adds the place."""

    @property
    def general(self) -> str:
        """The hint unless it names a value, which would not fit into a longer one."""
        return "" if self.hint.startswith("did you mean") else self.hint


def cidr(text: str) -> IPNetwork:
    """The network that `text` names exactly: no bits set behind the prefix, no octal, no netmask."""
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
    if not network.prefixlen or base.is_multicast or base.is_loopback or base.is_link_local:
        raise RefusedError(f"'{text}' is not a range for hosts", "use a private range, such as 10.244.0.0/16")
    if network.network_address != base:
        raise RefusedError(f"'{text}' has bits set behind the prefix", f"did you mean '{network}'?")
    return network


def _nearest_cidr(text: str) -> str:
    """A hint with the CIDR that is meant; empty when none can be told that would pass."""
    base, _, prefix = text.partition("/")
    if _V4_LIKE.fullmatch(base):
        # "10." -> "8.3." is a replacement that once ran over a whole published text; its victims still paste it.
        base = re.sub(r"^8\.3\.(?=[0-9]+\.[0-9]+\.[0-9]+$)", "10.", base)
        base = _without_zeros(base)
    try:
        meant = ipaddress.ip_network(f"{base}/{_without_zeros(prefix)}", strict=False)
        cidr(str(meant))
    except (ValueError, RefusedError):
        return ""
    return f"did you mean '{meant}'?"


def _without_zeros(text: str) -> str:
    return ".".join(number.lstrip("0") or "0" for number in text.split("."))


def address(text: str) -> IPAddress:
    """An IPv4 or IPv6 address without a zone."""
    if _V4_LIKE.fullmatch(text):
        _check_v4(text)
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise RefusedError(f"{said(text)} is not an IP address", "such as 10.0.0.10") from None
    if isinstance(found, ipaddress.IPv6Address) and found.scope_id:
        raise RefusedError(f"'{text}' has a zone", "leave out what follows '%'")
    return found


def _check_v4(text: str) -> None:
    parts = text.split(".")
    if len(parts) != 4:
        raise RefusedError(
            f"an IPv4 address has 4 numbers, {said(text)} has {len(parts)}", "such as 10.244.0.0"
        )
    for part in parts:
        if len(part) > 1 and part.startswith("0"):
            octal = int(part, 8) if re.fullmatch("[0-7]{1,4}", part) else None
            meaning = f"; some programs read it as octal {octal}" if octal is not None else ""
            stripped = _without_zeros(text)
            hint = f"did you mean '{stripped}'?" if is_address(stripped) else ""
            raise RefusedError(f"{said(part, 20)} has a leading zero{meaning}", hint)
        if len(part) > 3 or int(part) > 255:
            raise RefusedError(f"{said(part, 20)} is over 255", _EACH_NUMBER)


def is_address(text: str) -> bool:
    """Whether `text` is an IP address that `address` accepts."""
    try:
        address(text)
    except RefusedError:
        return False
    return True


def dns_label(text: str) -> None:
    if not _DNS_LABEL.fullmatch(text):
        raise RefusedError(f"{said(text)} is not a DNS label", "small letters, digits and '-', at most 63")


def dns_name(text: str) -> None:
    if len(text) > 253 or not _DNS_NAME.fullmatch(text):
        raise RefusedError(f"{said(text)} is not a DNS name", "small letters, digits and '-', parted by '.'")


def is_dns_name(text: str) -> bool:
    """Whether `dns_name` accepts it."""
    try:
        dns_name(text)
    except RefusedError:
        return False
    return True


def host(text: str) -> None:
    """A DNS name or an IP address."""
    if re.fullmatch(r"[^:]+:[0-9]+", text):
        raise RefusedError(f"{said(text)} has a port", "write the port under 'port:'")
    if _V4_LIKE.fullmatch(text) or ":" in text:
        address(text)
    else:
        dns_name(text)


def upstream(text: str) -> None:
    """A DNS server's address, or an absolute path of a file in resolv.conf's format."""
    if re.fullmatch(r"/[\w./-]+", text):
        return
    if address(text).is_loopback:
        raise RefusedError(
            f"'{text}' is a loopback address: the DNS pods would ask themselves", "name a real server"
        )


def project(text: str) -> None:
    if text and not _PATH_SEGMENTS.fullmatch(text):
        raise RefusedError(
            f"{said(text)} is not a project's path", "small letters, digits, '-', '_', '.' and '/'"
        )


def interface(text: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_.@-]{1,15}", text):
        raise RefusedError(
            f"{said(text)} is not a network interface's name", "at most 15 letters, such as eth0"
        )


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


def path(text: str) -> None:
    if not text.isprintable() or not text.strip() or len(text) > 4095:
        raise RefusedError(f"{said(text)} is not a path")
