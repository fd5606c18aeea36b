"""Calico's selectors are read before Calico passes over them."""

from __future__ import annotations

import pytest

from provisioner.spec.selectors import selector
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
