"""`lab down`: from any state to nothing. Only the cached root stays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from provisioner.engine.events import Emit, Note, Step
from provisioner.inventory.labs import lab_directory, lab_names
from provisioner.lab import cgroups, host, network, outer
from provisioner.lab.locks import lab_lock, locked
from provisioner.lab.names import Names
from provisioner.lab.plan import LabPlan
from provisioner.lab.requirements import require_machine


def down(lab: LabPlan | str, emit: Emit) -> bool:
    """Takes the lab (its plan, or its name) away completely; says whether anything was there.

    Needs no lab.json: every name follows from the directory. Raises ProvisionError when processes do not die.
    """
    require_machine()
    directory = lab.directory if isinstance(lab, LabPlan) else lab_directory(lab)
    names = Names.of(directory)
    started = time.monotonic()
    waiting = Note(message=f"another run changes the lab {directory.name}; waiting for it")
    with locked(lab_lock(names.key), waiting=lambda: emit(waiting)):
        found = remains(directory)
        if found:
            _remove(directory, names)
        outer.release(names.key)
    if not found:
        emit(Note(message=no_lab(directory.name)))
        return False
    emit(Step(task="lab down", subject=directory.name, seconds=time.monotonic() - started, changed=True))
    return True


def no_lab(name: str) -> str:
    """What to say about a lab that is not there."""
    return f"there is no lab {name} (labs: {', '.join(lab_names()) or 'none'})"


def remains(directory: Path) -> list[str]:
    """Everything of the lab that is on the machine now, in words."""
    names = Names.of(directory)
    found = [f"network namespace {name}" for name in network.namespaces(names)]
    found += [f"interface {names.uplink}"] if network.interface(names.uplink) else []
    found += [
        f"cgroup {mount / names.cgroup}" for mount in cgroups.hierarchies() if (mount / names.cgroup).exists()
    ]
    found += [f"process {pid}" for pid in strays(directory)]
    found += [f"mount {mount}" for mount in _mounts_below(directory)]
    found += [f"directory {directory}"] if directory.exists() else []
    return found


def _remove(directory: Path, names: Names) -> None:
    network.remove_namespace(names.switch)  # every link of the lab is cut by this
    network.remove_uplink(names)
    hosts = cgroups.hosts(names.cgroup)
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda name: host.kill(names.cgroup, name), hosts))
    cgroups.remove([mount / names.cgroup for mount in cgroups.hierarchies()])
    for pid in strays(directory):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for name in network.namespaces(names):
        network.remove_namespace(name)
    for mount in _mounts_below(directory):
        subprocess.run(["umount", "--lazy", mount], check=True, capture_output=True)
    if directory.exists():
        shutil.rmtree(directory)
    with suppress(OSError):  # other labs, and files of the user, keep it
        directory.parent.rmdir()


def strays(directory: Path) -> list[int]:
    """Processes that were started for the lab and are in none of its cgroups: a start killed at once."""
    found = []
    hosts = f"{directory}/hosts/"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        supervisor = (
            words[0] == "sh" and words[1:2] and words[1].startswith(hosts) and words[1].endswith("/supervise")
        )
        machine = words[0].endswith("systemd-nspawn") and any(
            w.startswith(f"--directory={hosts}") for w in words
        )
        if supervisor or machine:
            found.append(int(process.name))
    return found


def _mounts_below(directory: Path) -> list[str]:
    """Mount points under the lab's directory in this mount namespace, deepest first."""
    prefix = f"{directory}/"
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in reversed(points) if point.startswith(prefix)]
