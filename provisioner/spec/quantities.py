"""Amounts in the kubelet's own terms: Kubernetes quantities, and thresholds of eviction, which may be percentages."""

from __future__ import annotations

import re
from decimal import Decimal

from provisioner.inventory.spelling import said
from provisioner.spec.values import RefusedError

RESERVABLE = ("cpu", "memory", "ephemeral-storage", "pid")
"""What a kubelet can keep back from pods (kubelet, cmd/kubelet/app/server.go: parseResourceList)."""

SIGNALS = (
    "memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree",
    "pid.available",
)  # fmt: skip
"""What eviction may watch on Linux (kubelet, pkg/kubelet/eviction/api/types.go)."""

_AMOUNT = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
_MEANT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp])(i?)b?", re.IGNORECASE)
_PERCENTAGE = re.compile(r"([0-9]+(\.[0-9]+)?)%")


def amount(text: str) -> None:
    """A quantity that is not negative, such as 100m, 512Mi or 1.5."""
    if not _AMOUNT.fullmatch(text):
        raise RefusedError(
            f"{said(text)} is no quantity", _nearest(text) or "a number and a unit, such as 500m or 512Mi"
        )


def threshold(text: str) -> None:
    """A quantity, or a percentage between 0% and 100%."""
    share = _PERCENTAGE.fullmatch(text)
    if share is None:
        amount(text)
    elif Decimal(share.group(1)) > 100:
        raise RefusedError(f"{said(text)} is over 100%", "a part of the whole, such as 10%")


def part_of(text: str, whole: Decimal) -> Decimal:
    """How much a well-formed quantity is, in units without a prefix; a percentage is one of `whole`."""
    share = _PERCENTAGE.fullmatch(text)
    if share is not None:
        return whole * Decimal(share.group(1)) / 100
    number = re.match(r"[0-9.]+", text)
    assert number is not None  # noqa: S101 - it passed `amount`
    return Decimal(number.group()) * _UNITS[text[number.end() :]]


_UNITS = {
    "": Decimal(1), "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTP", 1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTP", 1)},
}  # fmt: skip


def _nearest(text: str) -> str:
    """A hint with the unit that is meant: people write MB, mib or GB."""
    found = _MEANT.fullmatch(text)
    if found is None:
        return ""
    number, unit, binary = found.groups()
    letter = unit.lower() if unit in "kK" and not binary else unit.upper()
    return f"did you mean '{number}{letter}{'i' if binary else ''}'?"
