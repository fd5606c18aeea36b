"""Whole clusters of other sorts go, and their hosts are as they were before, but for what the README names. The default
one is in test_reset_beside.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lab_cluster import BESIDE, DEFAULT_LAB, is_verified, own_lab, provision
from resets import changed
from snapshot import snapshot, strange_of

pytestmark = pytest.mark.soak
HA = DEFAULT_LAB.with_name("ha.yaml")
FLANNEL = "        plugin: flannel\n"
_BACKEND = (
    "        flannel:\n          backend: vxlan # or host-gw, when all nodes share one network segment\n"
)


def with_calico(folder: Path) -> Path:
    """The default lab with the rules, sets and routes that Calico makes."""
    return changed(folder, {FLANNEL: "        plugin: calico\n", _BACKEND: ""})


def with_nftables(folder: Path) -> Path:
    return changed(folder, {"mode: iptables": "mode: nftables"})


def test_load_balancers_and_control_planes_go() -> None:
    comes_and_goes(HA, back=True)


@pytest.mark.parametrize("made", [with_calico, with_nftables])
def test_what_others_make_goes(tmp_path: Path, made: Callable[[Path], Path]) -> None:
    comes_and_goes(made(tmp_path))


def comes_and_goes(source: Path, *, back: bool = False) -> None:
    with own_lab(f"reset-{BESIDE.partition('/')[0].replace('.', '-')}", source, BESIDE) as lab:
        hosts = sorted(lab.on("all", ":"))
        bare = {host: snapshot(lab, host) for host in hosts}
        done = lab.apply()
        assert is_verified(done), done
        gone = provision("reset", lab.inventory, "--yes", "--json")
        assert gone.status == 0, gone
        assert not strange_of(lab, bare)
        if back:
            again = lab.apply()
            assert is_verified(again), again
            assert lab.plan().status == 0
