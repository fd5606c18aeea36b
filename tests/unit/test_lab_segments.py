"""A lab of several segments: hosts of one see each other, a router stands between."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from provisioner.lab.network import bridge_of, link_script
from provisioner.lab.plan import LabPlan, faults

HOSTS = {"a": IPv4Address("10.98.0.11"), "b": IPv4Address("10.98.0.140")}
PLAN = LabPlan("lab", IPv4Network("10.98.0.0/24"), HOSTS, Path("/x"), segment=25)


def test_hosts_lie_in_segments() -> None:
    first, second = PLAN.segments
    assert (str(first), str(second)) == ("10.98.0.0/25", "10.98.0.128/25")
    assert (str(PLAN.router(first)), str(PLAN.router(second))) == ("10.98.0.126", "10.98.0.254")
    assert bridge_of(PLAN, first) == PLAN.names.bridge != bridge_of(PLAN, second)
    assert faults(PLAN) == []


def test_the_first_segment_knows_the_way_to_the_second() -> None:
    one, other = link_script(PLAN, "a"), link_script(PLAN, "b")
    assert "addr add 10.98.0.11/25" in one
    assert "route add 10.98.0.128/25 via 10.98.0.126" in one
    assert "route add default via 10.98.0.1\n" in one
    assert "route add default via 10.98.0.254\n" in other
    assert "10.98.0.0/25" not in other


def test_one_segment_is_the_subnet() -> None:
    whole = replace(PLAN, segment=None)
    assert whole.segments == (whole.subnet,)
    assert "/25" not in link_script(whole, "b")


def test_what_cannot_be() -> None:
    (fault,) = faults(replace(PLAN, segment=24))
    assert fault.reason.startswith("lab.segment: 24 is no part of 10.98.0.0/24")
    (fault,) = faults(replace(PLAN, hosts={"a": IPv4Address("10.98.0.126")}))
    assert fault.reason == "a: 10.98.0.126 belongs to its segment's router already"
