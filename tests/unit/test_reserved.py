"""What nodes keep back from pods when nobody says: by the host's memory, and by what else runs there."""

from __future__ import annotations

import pytest

from provisioner.kube.reserved import kube_reserved, system_reserved
from provisioner.spec.model import NodeSpec

GIB = 1024**2
NODE = NodeSpec("192.0.2.1", True)


@pytest.mark.parametrize(
    ("memory", "kept"),
    [
        (700 * 1024, "256Mi"),
        (int(3.8 * GIB), "1024Mi"),
        (4 * GIB, "1024Mi"),
        (int(7.7 * GIB), "1843Mi"),
        (16 * GIB, "2662Mi"),
        (64 * GIB, "5612Mi"),
        (256 * GIB, "12165Mi"),
    ],
)
def test_memory_for_kubelet_and_runtime(memory: int, kept: str) -> None:
    """GKE's table; where it says 255 MiB for hosts below 1 GiB, a quarter of 1 GiB."""
    assert kube_reserved(NODE, memory) == {"cpu": "100m", "memory": kept}


@pytest.mark.parametrize(("memory", "kept"), [(GIB, "256Mi"), (2 * GIB, "512Mi"), (64 * GIB, "512Mi")])
def test_memory_for_the_servers_of_the_control_plane(memory: int, kept: str) -> None:
    assert system_reserved(NODE, memory, servers=True) == {"cpu": "200m", "memory": kept}
    assert system_reserved(NODE, memory, servers=False) == {}


def test_a_kernel_that_keeps_a_little_more_is_no_change() -> None:
    assert kube_reserved(NODE, 3_900_000) == kube_reserved(NODE, 3_850_000)


def test_what_is_written_counts() -> None:
    node = NodeSpec(
        "192.0.2.1", True, kube_reserved={"memory": "1Gi"}, system_reserved={"cpu": "1", "pid": "9"}
    )
    assert kube_reserved(node, GIB) == {"cpu": "100m", "memory": "1Gi"}
    assert system_reserved(node, 4 * GIB, servers=True) == {"cpu": "1", "memory": "512Mi", "pid": "9"}
    assert system_reserved(node, 4 * GIB, servers=False) == {"cpu": "1", "pid": "9"}
