"""What a host that leaves keeps."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from provisioner.kube.halt import clear_script


def test_nothing_of_a_load_balancer_stays_in_run(tmp_path: Path) -> None:
    for each in ("run/api-load-balancer/down/10.0.0.1:6443", "run/provision/units/x", "run/others/x"):
        (tmp_path / each).parent.mkdir(parents=True)
        (tmp_path / each).touch()
    (tmp_path / "var/lib/provision").mkdir(parents=True)
    cleared(tmp_path)
    assert [each.name for each in (tmp_path / "run").iterdir() if each.name != "provision"] == ["others"]


def test_carried_mirrors_go_while_they_are_as_they_were_written(tmp_path: Path) -> None:
    memory = tmp_path / "var/lib/provision/carried-mirrors"
    memory.parent.mkdir(parents=True)
    files = {
        name: tmp_path / f"etc/containerd/certs.d/{name}/hosts.toml" for name in ("same", "edited", "gone")
    }
    for name, path in files.items():
        path.parent.mkdir(parents=True)
        path.write_text(name)
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in files}
    memory.write_text("".join(f"{digests[name]} {path}\n" for name, path in files.items()))
    files["edited"].write_text("by others")
    files["gone"].unlink()
    cleared(tmp_path)
    left = sorted(path.name for path in (tmp_path / "etc/containerd/certs.d").iterdir())
    assert (left, files["edited"].read_text()) == (["edited"], "by others")


def test_what_stays_is_remembered_with_what_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "var/lib/provision"
    for name in ("stamps/a", "archives/a", "state/state.json", "journal", "owned"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("old")
    cleared(tmp_path, memory=["one", "two"])
    assert sorted(path.name for path in folder.iterdir()) == ["archives", "owned", "stamps"]
    assert (folder / "owned").read_text() == "old\none\ntwo\n"


def cleared(root: Path, memory: Sequence[str] = ()) -> None:
    script = clear_script(memory=memory)
    text = re.sub(r"(?<![\w/])/(etc|opt|var|run)/", rf"{root}/\1/", script.main)
    for name, blob in script.payload.items():
        assert blob.data is not None
        (root / name).write_bytes(blob.data)
    environment = {**os.environ, "W": str(root)}
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
