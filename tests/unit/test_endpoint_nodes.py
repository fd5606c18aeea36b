"""Which nodes of a cluster that others have built have to be Ready in the end."""

from __future__ import annotations

import pytest

from provisioner.errors import ProvisionError
from provisioner.kube.endpointnodes import SeenNode, judged, parsed

BEGAN = 1000.0


@pytest.mark.parametrize(
    ("nodes", "missing", "left_out"),
    [
        ([SeenNode("a", True, 1.0), SeenNode("b", True, 2000.0)], [], []),
        ([SeenNode("a", True, 1.0), SeenNode("old", False, 999.0)], [], ["old"]),
        ([SeenNode("a", True, 1.0), SeenNode("old", False, 1001.0)], ["old"], []),
        ([SeenNode("a", True, 1.0), SeenNode("old", False, float("inf"))], ["old"], []),
        ([SeenNode("a", False, 1.0), SeenNode("old", False, 1.0)], ["a"], ["old"]),
        ([SeenNode("old", True, 1.0)], ["a"], []),
    ],
    ids=["all well", "dead before", "died meanwhile", "new", "ours, dead before", "ours is gone"],
)
def test_only_strangers_that_were_not_ready_before_are_left_out(
    nodes: list[SeenNode], missing: list[str], left_out: list[str]
) -> None:
    assert judged(nodes, ["a"], BEGAN) == (missing, left_out)


def test_what_kubectl_says_of_them() -> None:
    text = "1767225600\na\tTrue\t2026-01-01T00:00:00Z\nb\tUnknown\t2025-12-31T23:59:50Z\nc\t\t\n"
    assert parsed(text) == (
        1767225600.0,
        [
            SeenNode("a", True, 1767225600.0),
            SeenNode("b", False, 1767225590.0),
            SeenNode("c", False, float("inf")),
        ],
    )


@pytest.mark.parametrize("text", ["", "now\n", "1\na\n", "1\na\tTrue\tyesterday\n"])
def test_other_words_are_told(text: str) -> None:
    with pytest.raises(ProvisionError, match="not understood"):
        parsed(text)
