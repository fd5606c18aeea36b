"""Which faults are tried on load balancers before nodes are pointed at them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from provisioner.action.failoversite import GATE
from provisioner.action.failovertest import due
from provisioner.action.prepare import Prepared
from provisioner.resources.model import Owned

TRIED, WORKS = ("file", "/var/lib/provision/fail-over-tried"), ("systemd", "api-load-balancer.service")
OLD, DONE, NONE = (WORKS,), (WORKS, TRIED), ()


@pytest.mark.parametrize(
    ("established", "known", "faults"),
    [
        (False, {"lb1": NONE, "lb2": NONE}, GATE),
        (False, {"lb1": DONE, "lb2": DONE}, GATE),
        (True, {"lb1": NONE, "lb2": NONE}, GATE),
        (True, {"lb1": DONE, "lb2": DONE}, ()),
        (True, {"lb1": DONE, "lb2": NONE}, GATE[:1]),
        (True, {"lb1": OLD, "lb2": OLD}, GATE[:1]),
        (True, {"lb1": OLD, "lb2": NONE}, GATE[:1]),
    ],
    ids=[
        "nobody uses the address yet",
        "nor after a run that ended early",
        "the first load balancers of a cluster",
        "all were tried",
        "one comes to others",
        "at work since an earlier version",
        "one comes to those",
    ],
)
def test_what_is_broken_depends_on_who_is_at_work(
    established: bool, known: dict[str, tuple[tuple[str, str], ...]], faults: tuple[str, ...]
) -> None:
    owned = {
        host: {f"{kind}:{name}": Owned(kind, name, frozenset(), {}, {}) for kind, name in each}
        for host, each in known.items()
    }
    prepared = SimpleNamespace(
        established=established,
        cluster=SimpleNamespace(balancers=list(known)),
        memory=SimpleNamespace(owned=owned),
    )
    assert due(cast(Prepared, prepared)) == faults
