"""Single values of the spec: what they must look like, and why a wrong one is wrong."""

from __future__ import annotations

import ipaddress
import re

from provisioner.errors import ProvisionError

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_DNS_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_PATH_SEGMENTS = re.compile(r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")
_V4_LIKE = re.compile(r"[0-9]+(\.[0-9]+)*")


class RefusedError(ProvisionError, ValueError):
    """A value is not what it must be. Never leaves this package: the loader adds the place."""


def cidr(text: str) -> IPNetwork:
    """The network that `text` names exactly: no bits set behind the prefix, no octal, no netmask."""
    address_text, slash, prefix_text = text.partition("/")
    if not slash:
        raise RefusedError(f"'{text}' has no prefix length", "write it as a CIDR, such as 10.244.0.0/16")
    base = _address_of_cidr(text, address_text, prefix_text)
    width = base.max_prefixlen
    if not re.fullmatch(r"[0-9]{1,3}", prefix_text):
        hint = "write the prefix length, such as /16, not a mask" if "." in prefix_text else ""
        raise RefusedError(f"'{text}': '{prefix_text}' is not a prefix length", hint)
    if int(prefix_text) > width:
        raise RefusedError(
            f"'{text}': the prefix length is over {width}", f"0 to {width} for IPv{base.version}"
        )
    network = ipaddress.ip_network(f"{address_text}/{int(prefix_text)}", strict=False)
    if network.network_address != base:
        raise RefusedError(f"'{text}' has bits set behind the prefix", f"did you mean '{network}'?")
    if not network.prefixlen or base.is_multicast or base.is_loopback or base.is_link_local:
        raise RefusedError(f"'{text}' is not a range for hosts", "use a private range, such as 10.244.0.0/16")
    return network


def _address_of_cidr(text: str, address_text: str, prefix_text: str) -> IPAddress:
    try:
        return address(address_text)
    except RefusedError as refused:
        # "10." -> "8.3." is a replacement that once ran over a whole published text; its victims still paste
        # it.
        mended = address_text.replace("8.3.", "10.", 1)
        if address_text.startswith("8.3.") and _is_address(mended):
            hint = f"did you mean '{mended}/{prefix_text}'?"
        else:
            hint = refused.hint
        raise RefusedError(f"'{text}': {refused.reason}", hint) from None


def address(text: str) -> IPAddress:
    """An IPv4 or IPv6 address without a zone."""
    if _V4_LIKE.fullmatch(text):
        _check_v4(text)
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise RefusedError(f"'{text[:60]}' is not an IP address", "such as 10.0.0.10") from None
    if isinstance(found, ipaddress.IPv6Address) and found.scope_id:
        raise RefusedError(f"'{text}' has a zone", "leave out what follows '%'")
    return found


def _check_v4(text: str) -> None:
    parts = text.split(".")
    if len(parts) != 4:
        raise RefusedError(
            f"an IPv4 address has 4 numbers, '{text[:60]}' has {len(parts)}", "such as 10.244.0.0"
        )
    for part in parts:
        if len(part) > 1 and part.startswith("0"):
            octal = int(part, 8) if re.fullmatch("[0-7]{1,4}", part) else None
            meaning = f"; some programs read it as octal {octal}" if octal is not None else ""
            stripped = ".".join(number.lstrip("0") or "0" for number in parts)
            raise RefusedError(f"'{part}' has a leading zero{meaning}", f"did you mean '{stripped}'?")
        if len(part) > 3 or int(part) > 255:
            raise RefusedError(f"'{part}' is over 255", "each number of an IPv4 address is 0 to 255")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_address(text: str) -> bool:
    """Whether `text` is an IP address that `address` accepts."""
    try:
        address(text)
    except RefusedError:
        return False
    return True


def dns_label(text: str) -> None:
    if not _DNS_LABEL.fullmatch(text):
        raise RefusedError(f"'{text[:80]}' is not a DNS label", "small letters, digits and '-', at most 63")


def dns_name(text: str) -> None:
    if len(text) > 253 or not _DNS_NAME.fullmatch(text):
        raise RefusedError(f"'{text[:80]}' is not a DNS name", "small letters, digits and '-', parted by '.'")


def host(text: str) -> None:
    """A DNS name or an IP address."""
    if re.fullmatch(r"[^:]+:[0-9]+", text):
        raise RefusedError(f"'{text[:80]}' has a port", "write the port under 'port:'")
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
            f"'{text[:80]}' is not a project's path", "small letters, digits, '-', '_', '.' and '/'"
        )


def interface(text: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_.@-]{1,15}", text):
        raise RefusedError(
            f"'{text[:80]}' is not a network interface's name", "at most 15 letters, such as eth0"
        )


def path(text: str) -> None:
    if not text.isprintable() or not text.strip():
        raise RefusedError("this is not a path")
