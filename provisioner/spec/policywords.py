"""Ports of policies, each judged by itself."""

from __future__ import annotations

import re
from typing import Any

from provisioner.inventory.spelling import said
from provisioner.inventory.words import hint_for
from provisioner.spec.policies import PROTOCOLS, Ports
from provisioner.spec.values import RefusedError

_SUCH = "such as 8080, 8000-8100 or 53/UDP"


def ports(value: Any) -> Ports:
    """From PORT or PORT-PORT, with /UDP or /SCTP for another protocol than TCP."""
    numbers, slash, protocol = str(value).partition("/")
    found = re.fullmatch("([0-9]+)(?:-([0-9]+))?", numbers)
    if found is None:
        raise RefusedError(f"{said(value)} is not a port", _SUCH)
    first, last = found[1], found[2] or found[1]
    for each in (first, last):
        if not re.fullmatch("[1-9][0-9]{0,4}", each) or int(each) > 65535:
            where = "" if each == str(value) else f"{said(value)}: "
            raise RefusedError(f"{where}{said(each)} is not a port", "1 to 65535")
    if int(last) < int(first):
        raise RefusedError(
            f"{said(value)} ends before it begins", f"did you mean '{last}-{first}{slash}{protocol}'?"
        )
    if slash and protocol.upper() not in PROTOCOLS:
        raise RefusedError(
            f"{said(value)}: {said(protocol)} is not a protocol", hint_for(protocol, PROTOCOLS)
        )
    return Ports(int(first), int(last), protocol.upper() if slash else "TCP")
