"""The lab's place in every cgroup hierarchy, and with it the truth about which processes are the lab's.

Each host has two groups: `watch` (its supervisor, outside the host) and `box` (the host; inside, it is the
root). Version 1 controllers beside an empty unified hierarchy, and version 2 alone, are both served.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from provisioner.errors import ProvisionError

WATCH = "watch"
BOX = "box"
_KILL_SECONDS = 15.0


def hierarchies(mountinfo: str | None = None) -> tuple[Path, ...]:
    """Where the machine's hierarchies are mounted, whole. Raises ProvisionError when there is none."""
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    found: dict[str, None] = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if right.split()[0] in ("cgroup", "cgroup2") and fields[3] == "/":
            found[fields[4]] = None
    if not found:
        raise ProvisionError("no cgroup hierarchy is mounted", "mount cgroup2 on /sys/fs/cgroup")
    return tuple(Path(path) for path in found)


def prepare(lab: str, host: str) -> None:
    """Makes the groups of a host in every hierarchy."""
    for mount in hierarchies():
        _delegate(mount)
        for group in (mount / lab, mount / lab / host, mount / lab / host / WATCH, mount / lab / host / BOX):
            group.mkdir(exist_ok=True)
            _inherit_cpuset(group)
            if group.name not in (WATCH, BOX):
                _delegate(group)


def _inherit_cpuset(group: Path) -> None:
    # A version 1 cpuset starts empty and takes no process until it has both values.
    for name in ("cpuset.cpus", "cpuset.mems"):
        own = group / name
        if (group / "cpuset.sched_load_balance").exists() and not own.read_text().strip():
            own.write_text((group.parent / name).read_text())


def _delegate(group: Path) -> None:
    # Version 2 only: controllers reach a child when its parent hands them on.
    control = group / "cgroup.subtree_control"
    if control.exists():
        for controller in (group / "cgroup.controllers").read_text().split():
            with suppress(OSError):
                control.write_text(f"+{controller}")


def groups(lab: str, host: str, part: str) -> tuple[Path, ...]:
    """The directory of a host's part in each hierarchy."""
    return tuple(mount / lab / host / part for mount in hierarchies())


def hosts(lab: str) -> tuple[str, ...]:
    """The hosts that have a group, alive or not."""
    found = {path.name for mount in hierarchies() for path in (mount / lab).glob("*/") if path.is_dir()}
    return tuple(sorted(found))


def processes(tops: Sequence[Path]) -> frozenset[int]:
    """Every process in these groups and below."""
    found: set[int] = set()
    for group in _walk(tops):
        with suppress(OSError):
            found.update(int(pid) for pid in (group / "cgroup.procs").read_text().split())
    return frozenset(found - {0})


def _walk(tops: Sequence[Path]) -> Iterator[Path]:
    """Groups, children before parents."""
    for top in tops:
        for path, _directories, _files in os.walk(top, topdown=False):
            yield Path(path)


def kill(tops: Sequence[Path]) -> None:
    """Kills every process in the groups and waits until none is left.

    Raises ProvisionError when some stay.
    """
    deadline = time.monotonic() + _KILL_SECONDS
    while alive := processes(tops):
        if time.monotonic() > deadline:
            raise ProvisionError(f"processes of the lab do not die: {sorted(alive)}", "look at them with ps")
        for group in _walk(tops):
            with suppress(OSError):  # a frozen process of version 1 is killed only when it thaws
                (group / "freezer.state").write_text("THAWED")
        for pid in alive:
            _kill_one(pid, tops)
        time.sleep(0.02)


def _kill_one(pid: int, tops: Sequence[Path]) -> None:
    # The descriptor pins the process: between reading the group and killing, its number cannot go to another.
    # One that is ending may be told of by either error (Linux 6.9, kernel/pid.c).
    with suppress(ProcessLookupError, FileNotFoundError):
        descriptor = os.pidfd_open(pid)
        try:
            if pid in processes(tops):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)


def remove(tops: Sequence[Path]) -> None:
    """Removes the groups and everything below; their processes must be gone."""
    deadline = time.monotonic() + _KILL_SECONDS
    while True:
        for group in _walk(tops):
            with suppress(OSError):  # a dying process holds its group for a moment
                group.rmdir()
        left = [str(top) for top in tops if top.exists()]
        if not left:
            return
        if time.monotonic() > deadline:
            raise ProvisionError(f"cgroups stay busy: {', '.join(left)}", "look at their cgroup.procs")
        time.sleep(0.02)
