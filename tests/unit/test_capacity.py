"""What nodes keep back is held against what hosts have, before a kubelet finds that it cannot start."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from broken import said, slipped
from test_preflight import GOOD, PARTS

from provisioner.action.capacity import check_capacity
from provisioner.errors import InputError
from provisioner.inventory.model import load_inventory
from provisioner.playbook.facts import Facts
from provisioner.playbook.factsread import parse_facts
from provisioner.spec.model import load_spec
from provisioner.spec.quantities import part_of

NODES = "      registry: {"
WORKER = "worker1: {"
SMALL: dict[str, Any] = {"memory": 2 * 1024**2, "cpus": 2}
"""2 GiB and two CPUs, of which 512Mi and 100m are kept back where nothing is written, and 100Mi before eviction."""


def told(folder: Path, nodes: str, worker: str, host: dict[str, Any]) -> str:
    """What is said of the spec with these defaults of nodes and these variables of worker1, all hosts being alike."""
    (folder / "i.yaml").write_text(
        slipped({NODES: f"      nodes: {{{nodes}}}\n{NODES}", WORKER: f"{WORKER}{worker}"})
    )
    inventory = load_inventory(folder / "i.yaml")
    facts = {name: Facts(**{**GOOD, **SMALL, **host}) for name in inventory.hosts}
    try:
        check_capacity(inventory, load_spec(inventory), facts)
    except InputError as fault:
        return said(fault).replace(f"{folder}/", "")
    return ""


LESS = "(keep back less than 2048Mi in all)"
CASES = [
    ("", "", {}, ""),
    ("", "", {"memory": 700 * 1024, "cpus": 1}, ""),
    ("kube_reserved: {memory: 1400Mi}", "node_system_reserved: {memory: 500Mi}, ", {}, ""),
    (
        "",
        "node_kube_reserved: {memory: 4Gi}, ",
        {},
        (
            "i.yaml:23:48: worker1 has 2048Mi of memory, and 4196Mi are kept back (kube_reserved 4Gi, "
            f"eviction_hard 100Mi): the kubelet would not start {LESS}\n"
        ),
    ),
    (
        "",
        "node_kube_reserved: {memory: 948Mi}, node_system_reserved: {memory: 1000Mi}, ",
        {},
        (
            "i.yaml:23:87: worker1 has 2048Mi of memory, and 2048Mi are kept back (kube_reserved 948Mi,"
            f" system_reserved 1000Mi, eviction_hard 100Mi): nothing would be left to pods {LESS}\n"
        ),
    ),
    (
        "eviction_hard: {memory.available: 76%}",
        "",
        {},
        (
            f"i.yaml:10:49: cp1 has 2048Mi of memory, and 2580Mi are kept back (kube_reserved 512Mi, "
            f"system_reserved 512Mi, eviction_hard 76%): the kubelet would not start {LESS}\n"
            f"i.yaml:10:49: worker1 has 2048Mi of memory, and 2068Mi are kept back (kube_reserved 512Mi,"
            f" eviction_hard 76%): the kubelet would not start {LESS}\n"
            f"i.yaml:10:49: worker2 has 2048Mi of memory, and 2068Mi are kept back (kube_reserved 512Mi,"
            f" eviction_hard 76%): the kubelet would not start {LESS}\n"
            "3 problems\n"
        ),
    ),
    (
        "kube_reserved: {cpu: 1500m}",
        "node_system_reserved: {cpu: '1'}, ",
        {},
        (
            "i.yaml:10:36: worker1 has 2 of CPU, and 2500m are kept back (kube_reserved 1500m, system_reserved 1):"
            " the kubelet would not start (keep back less than 2 in all)\n"
        ),
    ),
    ("kube_reserved: {cpu: '64'}", "", {"cpus": 0}, ""),
    (
        "",
        "",
        {"memory": 300 * 1024},
        (
            "i.yaml:17:15: cp1 has 300Mi of memory, and 612Mi are kept back (kube_reserved 256Mi, "
            "system_reserved 256Mi, eviction_hard 100Mi): the kubelet would not start "
            "(keep back less than 300Mi in all)\n"
            "i.yaml:23:9: worker1 has 300Mi of memory, and 356Mi are kept back (kube_reserved 256Mi, "
            "eviction_hard 100Mi): the kubelet would not start (keep back less than 300Mi in all)\n"
            "i.yaml:24:9: worker2 has 300Mi of memory, and 356Mi are kept back (kube_reserved 256Mi, "
            "eviction_hard 100Mi): the kubelet would not start (keep back less than 300Mi in all)\n"
            "3 problems\n"
        ),
    ),
]


@pytest.mark.parametrize(("nodes", "worker", "host", "expected"), CASES, ids=range(len(CASES)))
def test_what_is_said(nodes: str, worker: str, host: dict[str, Any], expected: str, tmp_path: Path) -> None:
    assert told(tmp_path, nodes, worker, host) == expected


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1.5", "1.5"), ("250m", "0.25"), ("1k", "1000"), ("2Ki", "2048"), ("1Gi", "1073741824"), ("3G", "3000000000"),
        ("25%", "2"), ("0.5%", "0.04"),
    ],
)  # fmt: skip
def test_quantities(text: str, size: str) -> None:
    assert part_of(text, Decimal(8)) == Decimal(size)


@pytest.mark.parametrize(("online", "count"), [("0", 1), ("0-3,6", 5), ("0-1,4-7", 6), ("", 0)])
def test_facts_count_the_cpus_that_are_online(online: str, count: int) -> None:
    parts = {**PARTS, "resolver": "", "cpus": online}
    output = "".join(f"={name}\n{body}\n" for name, body in parts.items())
    assert parse_facts("a", output.encode(), 1.0).cpus == count
