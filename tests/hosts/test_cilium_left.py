"""What Cilium leaves in the kernel goes: its rules of routing and what it has pinned, in namespaces of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from nodespace import Node, node

from provisioner.kube.remains import clean_script

# As the agent leaves them (pkg/datapath/linux/linux_defaults): without the rule that leads to local addresses nothing
# on the host could be reached.
LEFT = """
set -eu
mkdir -p /run/cilium /sys/fs/bpf/cilium/devices /sys/fs/bpf/tc/globals
: >/sys/fs/bpf/tc/globals/cilium_lxc
: >/sys/fs/bpf/tc/globals/others
ip link set lo up
ip rule add pref 9 fwmark 0x200/0xf00 lookup 2004
ip rule add pref 10 fwmark 0xa00/0xf00 lookup 2005
ip rule add pref 50 fwmark 0x1/0xff lookup 77
ip rule add pref 100 lookup local
ip rule delete pref 0
ip route add local 0.0.0.0/0 dev lo table 2004
"""
SEEN = """
ip rule show
ip route show table 2004 2>/dev/null || :
find /sys/fs/bpf -type f
[ ! -e /sys/fs/bpf/cilium ] || echo pinned
"""
CLEAN = clean_script("cilium").main


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path) as one:
        yield one


def told(here: Node, script: str) -> list[str]:
    return [line.replace("\t", " ").strip() for line in here.run(script).splitlines()]


def test_rules_and_pins_go_and_others_stay(here: Node) -> None:
    here.run(LEFT)
    before = told(here, SEEN)
    assert "9: from all fwmark 0x200/0xf00 lookup 2004" in before
    assert "0: from all lookup local" not in before
    assert "pinned" in before
    here.run(CLEAN)
    assert told(here, SEEN) == [
        "0: from all lookup local",
        "50: from all fwmark 0x1/0xff lookup 77",
        "32766: from all lookup main",
        "32767: from all lookup default",
        "/sys/fs/bpf/tc/globals/others",
    ]


def test_where_it_was_not_tables_by_number_are_not_touched(here: Node) -> None:
    here.run(LEFT.replace("/run/cilium ", "/run/other "))
    here.run(CLEAN)
    after = told(here, SEEN)
    assert "100: from all lookup local" in after
    assert "local default dev lo scope host" in after
