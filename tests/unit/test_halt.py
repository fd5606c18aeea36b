"""What a host that leaves keeps."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from provisioner.kube.halt import clear_script


def test_nothing_of_a_load_balancer_stays_in_run(tmp_path: Path) -> None:
    text = re.sub(r"(?<![\w/])/(etc|opt|var|run)/", rf"{tmp_path}/\1/", clear_script().main)
    for each in ("run/api-load-balancer/down/10.0.0.1:6443", "run/provision/units/x", "run/others/x"):
        (tmp_path / each).parent.mkdir(parents=True)
        (tmp_path / each).touch()
    (tmp_path / "var/lib/provision").mkdir(parents=True)
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [each.name for each in (tmp_path / "run").iterdir() if each.name != "provision"] == ["others"]
