"""Gates between API servers that restart, and before nodes are led elsewhere."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from provisioner.errors import ProvisionError
from provisioner.kube.gates import api_started
from provisioner.kube.switch import check_nodes_ready
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


def test_nodes_that_are_not_ready_are_named(tmp_path: Path) -> None:
    host = Host(tmp_path, kubectl="printf 'a\\tTrue\\nb\\tFalse\\nc\\tUnknown\\n'")
    check_nodes_ready(host, ["a"])
    with pytest.raises(ProvisionError, match="b, c are not Ready before anything changes"):
        check_nodes_ready(host, ["a", "b", "c"])
    check_nodes_ready(Host(tmp_path, kubectl="exit 1"), ["b"])  # what cannot be read does not stop it
