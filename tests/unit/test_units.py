"""Services that are to run for ever are started again for ever."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEMPLATES = Path(__file__).parents[2] / "templates"
UNITS = [path for path in sorted(TEMPLATES.rglob("*.service.j2")) if "Restart=always" in path.read_text()]
LIMIT_SECONDS, LIMIT_STARTS = 10, 5
"""systemd starts a unit no more once it was started LIMIT_STARTS times in so many seconds
(systemd-system.conf(5): DefaultStartLimitIntervalSec, DefaultStartLimitBurst)."""


def test_there_are_some() -> None:
    assert {"kubelet.service.j2", "etcd.service.j2", "kube-apiserver.service.j2"} <= {
        each.name for each in UNITS
    }


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.stem))
def test_a_service_that_dies_at_once_is_not_given_up(unit: Path) -> None:
    """Whatever it died of may pass without anybody's help: a wrong clock at boot, a full disk, a peer that is late."""
    text = unit.read_text()
    unlimited = re.search(r"(?m)^\[Unit\]\n(?:(?!\[).*\n)*StartLimitIntervalSec=0$", text)
    pauses = re.findall(r"(?m)^RestartSec=(\d+)$", text)
    assert unlimited or int(*pauses) * LIMIT_STARTS >= LIMIT_SECONDS
