"""Why a node cannot pull: what containerd 1.6, 1.7 and 2.x said when it was so, and what a user is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from provisioner.errors import ProvisionError, UnreachableError
from provisioner.registry.pulltest import judge, pull_test, told
from provisioner.remote.causes import cause_of
from provisioner.remote.outcome import Result

SEEN = yaml.safe_load((Path(__file__).parents[1] / "data/pulls.yaml").read_text())
CASES = {f"{name}, {each['containerd']}": each for name, found in SEEN.items() for each in found}
IMAGE = f"r:5000/pause@sha256:{'1' * 64}"


@pytest.mark.parametrize("case", CASES)
def test_what_was_seen(case: str) -> None:
    each = CASES[case]
    reason, hint = told("n1", each["said"])
    assert reason.startswith(f"n1: {each['cause']} (")
    assert hint
    assert cause_of(f"ctr: {each['said']}", "n1") == (each["cause"], hint)


def test_each_cause_has_its_words_in_every_version() -> None:
    for name, found in SEEN.items():
        assert [each["containerd"] for each in found] == ["1.6.20", "1.7.24", "2.1.9"]
        assert len({each["cause"].partition(", by the clock")[0] for each in found}) == 1, name


def answer(status: int, said: str = "") -> Result:
    return Result(status, b"", said.encode(), 0.0)


def test_all_nodes_that_cannot_are_named() -> None:
    refused, unknown = SEEN["refused"][0]["said"], "ctr: something new"
    with pytest.raises(ProvisionError) as caught:
        judge(IMAGE, {"n1": answer(1, refused), "n2": answer(0), "n3": answer(1, unknown), "n4": answer(1)})
    first, *rest = caught.value.reason.splitlines()
    assert first == f"3 of 4 nodes cannot pull {IMAGE}:"
    assert rest[0].startswith("  n1: TCP: nothing listens at 10.99.0.1:5000")
    assert rest[1:] == ["  n3: something new", "  n4: it said nothing"]
    assert "journalctl -u containerd` on n3" in caught.value.hint


def test_a_host_that_is_lost_is_told_as_that() -> None:
    with pytest.raises(UnreachableError):
        judge(IMAGE, {"n1": answer(1), "n2": UnreachableError("n2: lost")})
    assert judge(IMAGE, {"n1": answer(0), "n2": answer(0)}) == "2 nodes pull r:5000/pause"


def test_the_script_ends_by_itself() -> None:
    assert "timeout -k 5 45 ctr --namespace k8s.io images pull $local" in pull_test(IMAGE).main
