"""A whole cluster goes, and its hosts are as they were before it but for what the README names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from lab_cluster import BESIDE, DEFAULT_LAB, is_verified, own_lab, provision
from snapshot import difference, snapshot

KEPT = re.compile(
    r"files [+] . /var/log/kubernetes"  # logs
    r"|(files|contents) [+] .*/root/[.]kube"  # kubectl's cache
    r"|files [+] . (/run/containerd|/opt/containerd|/run/netns|/run/xtables[.]lock)"  # the runtime's own, and iptables'
)
"""Packages are in the lab's image, so that there is no difference by them."""


HA = DEFAULT_LAB.with_name("ha.yaml")
FLANNEL = "        plugin: flannel\n"
_BACKEND = (
    "        flannel:\n          backend: vxlan # or host-gw, when all nodes share one network segment\n"
)


def with_calico(folder: Path) -> Path:
    """The default lab with the rules, sets and routes that Calico makes."""
    return _changed(folder, {FLANNEL: "        plugin: calico\n", _BACKEND: ""})


def with_nftables(folder: Path) -> Path:
    return _changed(folder, {"mode: iptables": "mode: nftables"})


def _changed(folder: Path, changes: dict[str, str]) -> Path:
    text = DEFAULT_LAB.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "changed.yaml"
    path.write_text(text)
    return path


def test_a_cluster_goes_and_comes_back() -> None:
    comes_and_goes(DEFAULT_LAB, back=True)


@pytest.mark.soak
def test_load_balancers_and_control_planes_go() -> None:
    comes_and_goes(HA, back=True)


@pytest.mark.soak
@pytest.mark.parametrize("changed", [with_calico, with_nftables])
def test_what_others_make_goes(tmp_path: Path, changed: Callable[[Path], Path]) -> None:
    comes_and_goes(changed(tmp_path))


def comes_and_goes(source: Path, *, back: bool = False) -> None:
    with own_lab(f"reset-{BESIDE.partition('/')[0].replace('.', '-')}", source, BESIDE) as lab:
        hosts = sorted(lab.on("all", ":"))
        before = {host: snapshot(lab, host) for host in hosts}
        done = lab.apply()
        assert is_verified(done), done
        nodes = lab.ready_nodes()
        asked = provision("reset", lab.inventory, "--json")
        assert asked.status == 1, asked
        assert f"{len(nodes)} nodes" in asked.stdout + asked.stderr, asked
        assert lab.ready_nodes() == nodes, "nothing is done unasked"
        gone = provision("reset", lab.inventory, "--yes", "--json")
        assert gone.status == 0, gone
        left = {host: difference(before[host], snapshot(lab, host)) for host in hosts}
        strange = {host: [line for line in lines if not KEPT.match(line)] for host, lines in left.items()}
        assert not any(strange.values()), strange
        if back:
            again = lab.apply()
            assert is_verified(again), again
            assert lab.plan().status == 0
