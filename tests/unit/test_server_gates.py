"""Gates between API servers that restart, and before nodes are led elsewhere."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from test_preflight import GOOD

from provisioner.action import failovertest, gates
from provisioner.action.prepare import Prepared
from provisioner.errors import ProvisionError
from provisioner.kube import switch
from provisioner.kube.gates import api_started
from provisioner.playbook.facts import Facts
from provisioner.remote.outcome import Result
from provisioner.resources.model import Answer
from provisioner.shell.script import Script


class Host:
    """Carries scripts out on this machine, with the programs of a folder before its own."""

    host = "cp1"

    def __init__(self, folder: Path, **programs: str) -> None:
        self.folder = folder
        for name, text in programs.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)

    def run(self, script: Script, *, deadline: float = 30.0) -> Answer:
        text = script.main.replace("/opt/kubernetes/bin/kubectl", str(self.folder / "kubectl"))
        env = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}", "W": str(self.folder)}
        done = subprocess.run(["sh", "-c", text], env=env, capture_output=True, timeout=deadline, check=False)
        return Result(done.returncode, done.stdout, done.stderr, 0.0)


ASKED = 'echo asked >>"$W/asked"; exit 0'


def started(seconds_ago: int) -> str:
    return f"LC_ALL=C date -u -d '-{seconds_ago} seconds' '+%a %Y-%m-%d %H:%M:%S UTC'"


@pytest.mark.parametrize(
    ("systemctl", "count"),
    [(started(5), "1 started"), (started(500), "0 started"), ("echo", "0 started")],
    ids=["in this run", "long ago", "never"],
)
def test_only_servers_that_this_run_started_are_waited_for(
    tmp_path: Path, systemctl: str, count: str
) -> None:
    host = Host(tmp_path, systemctl=systemctl, kubectl=ASKED)
    assert api_started([host], time.monotonic() - 60).startswith(count)
    assert (tmp_path / "asked").exists() is count.startswith("1")


def test_nodes_that_are_not_ready_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch, "RETURN_SECONDS", 0.0)
    host = Host(tmp_path, kubectl="printf 'a\\tTrue\\nb\\tFalse\\nc\\tUnknown\\n'")
    switch.check_nodes_ready(host, ["a"])
    with pytest.raises(ProvisionError, match="b, c are not Ready before anything changes"):
        switch.check_nodes_ready(host, ["a", "b", "c"])
    switch.check_nodes_ready(Host(tmp_path, kubectl="exit 1"), ["b"])  # what cannot be read does not stop it


BOOTS = """echo x >>"$W/times"
case $(wc -l <"$W/times") in
  1) printf 'a\\tUnknown\\n' ;;
  2) exit 1 ;;
  3) printf 'a\\tFalse\\n' ;;
  *) printf 'a\\tTrue\\n' ;;
esac"""


def test_a_node_that_has_just_booted_is_waited_for(tmp_path: Path) -> None:
    switch.check_nodes_ready(Host(tmp_path, kubectl=BOOTS), ["a"])
    assert (tmp_path / "times").read_text() == "x\n" * 4


def test_a_switch_that_was_cut_off_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[Sequence[str]]()
    monkeypatch.setattr(gates, "endpoint_ready", lambda *_: "")
    monkeypatch.setattr(gates, "check_nodes_ready", lambda _, names: asked.append(names))
    monkeypatch.setattr(failovertest, "gate_of_new", lambda *_: "")
    known = {"a": "https://10.0.0.1:6443", "b": "https://10.0.0.2:6443 switching"}

    def gate(*names: str) -> None:
        cluster = SimpleNamespace(
            control_planes=["cp1"],
            node_names=["cp1", *names],
            spec=SimpleNamespace(endpoint="10.0.0.9:6443", registry=SimpleNamespace(preload=True)),
            switching=names,
        )
        request, groups = SimpleNamespace(limit=None), SimpleNamespace(group=lambda _: ["lb1"])
        loaded = SimpleNamespace(
            hosts=["cp1", *names], inventory=groups, request=request, spec=None, transition=None
        )
        facts = {name: Facts(**{**GOOD, "endpoint": known[name]}) for name in names}
        prepared = cast(Prepared, SimpleNamespace(cluster=cluster, loaded=loaded, facts=facts, desired=()))
        pool = cast(Any, SimpleNamespace(session=lambda host: host))
        ready = gates.gates_of(prepared, pool, lambda _: None, cast(Any, None))["endpoint_ready"]
        assert ready is not None
        ready()

    gate("a", "b")
    gate("b")
    assert asked == [["a"]]
