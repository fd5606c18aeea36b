"""Calico's selectors are read before Calico passes over them."""

from __future__ import annotations

import pytest

from provisioner.spec.selectors import Labels, chooses, selector
from provisioner.spec.values import RefusedError


@pytest.mark.parametrize(
    "text",
    [
        "all()",
        "global( )",
        "has(kubernetes.io/hostname)",
        "!has(rack)",
        "rack == 'a'",
        'rack != "a"',
        "rack in {'a', 'b'}",
        "rack not in { 'a' }",
        "rack notin {}",
        "zone contains 'eu' && zone starts with 'x' || zone ends with 'y'",
        "(rack == 'a' || rack == 'b') && !(has(spare))",
        "! (has(a))",
    ],
)
def test_what_calico_reads(text: str) -> None:
    selector(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("all", "'all' is no selector of Calico's"),
        ("rack = 'a'", "'rack = 'a'' is no selector of Calico's"),
        ("rack == a", "'rack == a' is no selector of Calico's"),
        ("rack=a", "'rack=a' is no selector of Calico's"),
        ("rack in ('a')", "is no selector of Calico's"),
        ("has(rack) &&", "nothing is no selector of Calico's"),
        ("has(rack) and has(b)", "'and has(b)' is too much"),
        ("(has(rack)", "'(has(rack)' lacks a closing bracket"),
        ("", "nothing is no selector of Calico's"),
    ],
)
def test_what_it_does_not(text: str, reason: str) -> None:
    with pytest.raises(RefusedError) as caught:
        selector(text)
    assert reason in caught.value.reason
    assert "rack == 'a'" in caught.value.hint


NODE = Labels({"rack": "a1", "spare": ""}, lambda key: "/" in key)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("all()", True),
        ("!global()", False),
        ("has(rack)", True),
        ("has(nothing)", False),
        ("!has(nothing)", True),
        ("!!has(nothing)", False),
        ("rack == 'a1'", True),
        ("rack == 'a'", False),
        ("rack != 'a'", True),
        ("nothing != 'a'", True),
        ("nothing == ''", False),
        ("spare == ''", True),
        ("rack in {'a', \"a1\"}", True),
        ("rack not in {'a1'}", False),
        ("nothing notin {'a1'}", True),
        ("rack in {}", False),
        ("rack contains '1'", True),
        ("rack starts with 'a'", True),
        ("rack ends with 'a'", False),
        ("nothing contains ''", False),
        ("has(nothing) && has(rack) || has(rack)", True),
        ("has(rack) || has(rack) && has(nothing)", True),
        ("(has(rack) || has(rack)) && has(nothing)", False),
        ("!(has(rack) && has(nothing))", True),
        ("has(topology.kubernetes.io/zone)", None),
        ("has(topology.kubernetes.io/zone) || has(rack)", True),
        ("!has(topology.kubernetes.io/zone) && has(nothing)", False),
        ("topology.kubernetes.io/zone != 'a'", None),
    ],
)
def test_whom_it_chooses(text: str, chosen: bool | None) -> None:
    """None where labels decide that others may set."""
    assert chooses(text, NODE) is chosen
