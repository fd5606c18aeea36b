"""A node that others have set up goes back by itself: when, and to what."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from localhost import SHELLS

from provisioner.kube import kubeconfigserver
from provisioner.kube.kubeconfigserver import HostKubeconfigs, KubeconfigServerKind
from provisioner.resources.model import Absent, Change, Present, Resource

OLD, NEW = "https://192.0.2.11:6443", "https://192.0.2.9:6443"


def kubeconfig(server: str) -> str:
    return f"clusters: [{{name: a, cluster: {{server: '{server}'}}}}]\n"


def taking_back(*paths: str) -> str:
    """The script that the host keeps for it."""
    has = HostKubeconfigs(dict.fromkeys(paths, kubeconfig(OLD)), {OLD: NEW}, "worker1", *paths[:2])
    change = Change(
        Resource("kubeconfig_server", "server", Present(), {"server": NEW, "has": has}), Absent(), "create"
    )
    script = KubeconfigServerKind({}).change(change).main
    return script.partition("<<'END'\n")[2].partition("\nEND\n")[0]


@pytest.mark.parametrize("shell", SHELLS)
def test_only_what_the_switch_has_written_is_taken_back(tmp_path: Path, shell: str) -> None:
    back, bin_ = tmp_path / "switch-back", tmp_path / "bin"
    for each in (back, bin_):
        each.mkdir()
    (bin_ / "systemctl").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/said\n')
    (bin_ / "systemctl").chmod(0o755)
    written, edited, untouched = (tmp_path / name for name in ("kubelet", "proxy", "admin"))
    for number, path in enumerate((written, edited, untouched)):
        (back / str(number)).write_text(kubeconfig(OLD))
        path.write_text(kubeconfig(OLD if path is untouched else NEW))
    edited.write_text(later := kubeconfig("https://192.0.2.8:6443"))
    text = taking_back(str(written), str(edited), str(untouched))
    program = shutil.which(SHELLS[shell])
    assert program
    done = subprocess.run(
        [program, *(["sh"] if shell == "busybox" else []), "-c", text.replace("/run/provision", str(tmp_path))],
        capture_output=True, text=True, check=True, env={**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert [path.read_text() for path in (written, edited, untouched)] == [
        kubeconfig(OLD),
        later,
        kubeconfig(OLD),
    ]
    assert done.stderr == f"{edited} was changed after the switch: it stays as it is\n"
    assert (tmp_path / "said").read_text().splitlines()[-1] == "restart kubelet kube-proxy"
    assert not back.exists()


def test_a_host_waits_longer_than_the_run_before_it_goes_back() -> None:
    run = kubeconfigserver
    longest = run.STOP_SECONDS + run.ASKING_SECONDS + run.READY_SECONDS + 2 * run.ASKING_SECONDS + 1
    assert longest < run.BACK_SECONDS
