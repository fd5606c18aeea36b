"""IP addresses as people write them: whether it is one, and what is wrong with it when it is none."""

from __future__ import annotations

import ipaddress
import re

from provisioner.inventory.spelling import said

DIGITS_AND_DOTS = re.compile(r"[0-9]+(\.[0-9]+)*")
_EACH_NUMBER = "each number of an IPv4 address is 0 to 255"


def is_ip(text: str) -> bool:
    """Whether it is an IP address for the machine, which the name of a host is not; zones included."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def address_fault(text: str) -> tuple[str, str] | None:
    """Reason and hint why `text` is no IP address; None when it is one.

    Numbers with leading zeros are none: some programs read them as octal.
    """
    if DIGITS_AND_DOTS.fullmatch(text):
        return _v4_fault(text)
    try:
        ipaddress.ip_address(text)
    except ValueError:
        bare = text.strip().partition("/")[0]
        if bare != text and address_fault(bare) is None:
            more = "a prefix length" if "/" in text else "blanks around it"
            return f"{said(text)} has {more}", f"did you mean '{bare}'?"
        return f"{said(text)} is not an IP address", f"such as {'fd00::10' if ':' in text else '10.0.0.10'}"
    return None


def unreplaced(text: str) -> str:
    """An IPv4 address without the trace of a replacement of "10." by "8.3." that once ran over a whole published text.

    Its victims still paste it: five numbers that begin with 8.3.
    """
    return re.sub(r"^8\.3\.(?=[0-9]+\.[0-9]+\.[0-9]+$)", "10.", text)


def without_zeros(text: str) -> str:
    """Digits and dots without leading zeros."""
    return ".".join(number.lstrip("0") or "0" for number in text.split("."))


def _v4_fault(text: str) -> tuple[str, str] | None:
    parts = text.split(".")
    if len(parts) != 4:
        meant = unreplaced(text)
        near = f"did you mean '{meant}'?" if meant != text and address_fault(meant) is None else ""
        return f"an IPv4 address has 4 numbers, {said(text)} has {len(parts)}", near or "such as 10.0.0.10"
    for part in parts:
        if len(part) > 1 and part.startswith("0"):
            octal = int(part, 8) if re.fullmatch("[0-7]{1,4}", part) else None
            meaning = f"; some programs read it as octal {octal}" if octal is not None else ""
            stripped = without_zeros(text)
            hint = f"did you mean '{stripped}'?" if address_fault(stripped) is None else ""
            return f"{said(part, 20)} has a leading zero{meaning}", hint
        if len(part) > 3 or int(part) > 255:
            return f"{said(part, 20)} is over 255", _EACH_NUMBER
    return None
