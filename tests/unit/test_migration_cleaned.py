"""What a network has left goes once the sandboxes of pods are down that have ended for the API before."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from provisioner.action.migration import beside
from provisioner.action.migration.running import Run
from provisioner.kube.remains import Remain
from provisioner.shell.script import Script

CLEAN, LOOK = Script("clean\n"), Script("look\n")
HELD = "there\tlease\t/var/lib/cni/results/x\tcontainer x runs\n"
LEFT = "left\tfile\t/opt/cni/bin/loopback\tother plug-ins use it, too\n"


@pytest.mark.parametrize(
    ("looks", "cleans", "there"),
    [
        (["", ""], [["a", "b"]], False),
        ([HELD, HELD, ""], [["a", "b"], ["a"], ["a"]], False),
        ([HELD], [["a", "b"], ["a"]], True),  # to the end
    ],
)
def test_who_is_held_up_is_cleaned_again(
    monkeypatch: pytest.MonkeyPatch, looks: list[str], cleans: list[list[str]], there: bool
) -> None:
    cleaned: list[list[str]] = []
    told: list[Sequence[str]] = []

    def each(_: object, hosts: Sequence[str], script: Script, __: str) -> dict[str, str]:
        if script is CLEAN:
            cleaned.append([*hosts])
            return {}
        said = looks[min(len(cleaned), len(looks)) - 1]
        return {"a": said + LEFT, "b": LEFT}

    monkeypatch.setattr(beside, "each", each)
    monkeypatch.setattr(beside, "_ENDING", 0.02 if there else 60.0)
    monkeypatch.setattr(beside, "_PAUSE", 0.03 if there else 0.0)
    run = SimpleNamespace(
        nodes=["a", "b"],
        pool=None,
        change=SimpleNamespace(begun=False),
        tell=lambda hosts, *_: told.append(hosts),
    )
    found = beside.cleaned(cast("Run", run), "calico", CLEAN, LOOK)
    assert cleaned == cleans
    assert [each for each in found["a"] if not each.left] == (
        [Remain("lease", "/var/lib/cni/results/x", "container x runs")] if there else []
    )
    assert told == [["a", "b"]]
