"""Regular expressions that Go reads: what it refuses is refused, what it finds is found (checked against Go 1.22)."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.spec.goregexp import compiled
from provisioner.spec.values import RefusedError

FOUND = [
    ("^(eth|en)", "eth0 ens3"),
    ("th", "eth0"),
    ("(?i)ETH", "eth0"),
    ("(?i:ETH)0", "eth0"),
    ("(?P<n>e)th", "eth0"),
    (r"eth0\z", "eth0"),
    ("[[:alpha:]]+[0-9]$", "eth0 ens3"),
    ("^[^[:digit:]]+$", ""),
    (r"^bond[0-9]+\.7$", "bond0.7"),
    ("^(?:bond|ens)", "ens3 bond0.7"),
    (r"e+?", "eth0 ens3"),
    ("[(?=+]", ""),
    (r"\(\?=|\++", ""),
    ("e{1000}|[+]+", ""),
    ("[]o]", "bond0.7"),
]
REFUSED = {
    "^(?!docker)": "looks around",
    "(?<=e)th": "looks around",
    r"(e)\1": "looks back",
    "(?P=n)": "has '(?P', which Go does not know",
    "(?>a)": "has '(?>', which Go does not know",
    "(?#x)a": "has '(?#', which Go does not know",
    "(?x) e": "has '(?x', which Go does not know",
    r"eth0\Z": r"has \Z, which Go does not know",
    r"\u0065": r"has \u, which Go does not know",
    "a++": "repeats what is repeated (++)",
    "a***": "repeats what is repeated (**)",
    "e{2}+": "repeats what is repeated ({2}+)",
    "e{1001}": "repeats 1001 times",
    "[[:foo:]]": "has [:foo:], which is not read here",
    "[a": "is no regular expression that is read here: unterminated character set",
    "(" * 5000: "is no regular expression that is read here",
    "(": "is no regular expression that is read here: missing )",
}


@pytest.mark.parametrize(("text", "names"), FOUND)
def test_what_go_finds_is_found(text: str, names: str) -> None:
    links = ("eth0", "ens3", "bond0.7")
    assert [each for each in links if compiled(text).search(each)] == names.split()


@pytest.mark.parametrize("text", REFUSED, ids=[each[:20] for each in REFUSED])
def test_what_go_refuses_is_refused(text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        compiled(text)
    assert REFUSED[text] in caught.value.reason


@given(st.text(max_size=20) | st.from_regex(r"[][(){}?*+\\a-c:^,0-9|<P=!-]{0,20}", fullmatch=True))
def test_any_text_is_one_or_told(text: str) -> None:
    with suppress(RefusedError):
        compiled(text)
