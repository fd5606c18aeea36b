"""The sections `network.multus` and `network.attachments` with their defaults."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from provisioner.spec.attachments import MODES, Attachment, Ipam, Multus, Range, Route, StaticAddress


def build_multus(written: Mapping[str, Any] | None, attachments: Sequence[Attachment]) -> Multus | None:
    """There is one where it is asked for, or attachments need it."""
    return Multus(**(written or {})) if written is not None or attachments else None


def build_attachments(written: Sequence[Mapping[str, Any]]) -> tuple[Attachment, ...]:
    return tuple(_attachment(each) for each in written)


def _attachment(written: Mapping[str, Any]) -> Attachment:
    given = {**written, "nodes": tuple(written.get("nodes", ())), "ipam": _ipam(written.get("ipam", {}))}
    if written["type"] in MODES:
        given.setdefault("mode", MODES[written["type"]][0])
    return Attachment(**given)


def _ipam(written: Mapping[str, Any]) -> Ipam:
    return Ipam(
        written.get("type", "none"),
        ranges=tuple(build_range(each) for each in written.get("ranges", ())),
        addresses=tuple(_static(each) for each in written.get("addresses", ())),
        routes=tuple(
            Route(str(ipaddress.ip_network(each["to"])), _plain(each.get("via")))
            for each in written.get("routes", ())
        ),
    )


def build_range(written: Mapping[str, str]) -> Range:
    """Addresses as they are written shortest."""
    bounds = {name: _plain(written.get(name)) for name in ("start", "end", "gateway")}
    return Range(str(ipaddress.ip_network(written["subnet"])), **bounds)


def _static(written: Mapping[str, str]) -> StaticAddress:
    return StaticAddress(str(ipaddress.ip_interface(written["address"])), _plain(written.get("gateway")))


def _plain(written: str | None) -> str | None:
    return None if written is None else str(ipaddress.ip_address(written))
