"""One host of a lab: whether it is well, and taking it from any state to off or to running."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provisioner.errors import UnreachableError
from provisioner.lab import boot, cgroups, host_files, network
from provisioner.lab.plan import LabPlan

BOOT_SECONDS = 60.0
_BANNER_SECONDS = 1.0


@dataclass(frozen=True)
class HostStatus:
    """`pid` is the host's first process as the machine sees it, 0 when it is off; `uptime` is in seconds."""

    name: str
    address: str
    running: bool
    linked: bool
    ssh: bool
    pid: int = 0
    uptime: float = 0.0

    @property
    def well(self) -> bool:
        return self.running and self.linked and self.ssh


def inspect(plan: LabPlan, host: str) -> HostStatus:
    """Reads the host's state; changes nothing, and takes at most about a second."""
    address = str(plan.hosts[host])
    watched = cgroups.processes(cgroups.groups(plan.names.cgroup, host, cgroups.WATCH))
    pid = first_process(plan, host) if watched else 0
    if not pid:
        return HostStatus(host, address, running=False, linked=False, ssh=False)
    ssh = answers(address)
    return HostStatus(host, address, True, _linked(plan, host), ssh, pid, _age(pid))


def _linked(plan: LabPlan, host: str) -> bool:
    segment = plan.segment_of(plan.hosts[host])
    wanted = f"{plan.hosts[host]}/{segment.prefixlen}"
    inside = network.interface("eth0", plan.names.namespace(host))
    port = network.ports(plan.names).get(plan.names.port(plan.offset(host)))
    return (
        bool(inside.get("up")) and wanted in inside["addresses"] and port == network.bridge_of(plan, segment)
    )


def first_process(plan: LabPlan, host: str) -> int:
    """The host's process 1 as the machine numbers it; 0 when there is none."""
    for pid in sorted(cgroups.processes(cgroups.groups(plan.names.cgroup, host, cgroups.BOX))):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        numbers = next(line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
        if len(numbers) == 2 and numbers[1] == "1":
            return pid
    return 0


def _age(pid: int) -> float:
    """Seconds since the process started (proc(5): field 22 of stat, in clock ticks since boot)."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def answers(address: str, timeout: float = _BANNER_SECONDS) -> bool:
    """Whether an SSH server greets at port 22 within `timeout` seconds."""
    try:
        with socket.create_connection((address, 22), timeout) as connection:
            connection.settimeout(timeout)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def stop(plan: LabPlan, host: str) -> None:
    """Takes the host from any state, half-dead or whole, to off, as a power cut does. Its disk stays."""
    network.cut(plan, host)
    names = plan.names
    kill(names.cgroup, host)
    network.remove_namespace(names.namespace(host))


def kill(cgroup: str, host: str) -> None:
    """Ends every process of the host, the supervisor first (it would start it again), and its groups."""
    watch = cgroups.groups(cgroup, host, cgroups.WATCH)
    box = cgroups.groups(cgroup, host, cgroups.BOX)
    cgroups.kill(watch)
    cgroups.kill(box)
    cgroups.remove([group.parent for group in watch])


def start(plan: LabPlan, host: str, layers: Sequence[Path]) -> None:
    """Takes a host that is off to running; returns when SSH answers.

    Raises UnreachableError when it does not.
    """
    host_files.lay(plan, host)
    boot.start(plan, host, layers)
    wait(plan, host)


def wait(plan: LabPlan, host: str) -> None:
    """Returns when SSH answers. Raises UnreachableError when the host dies, or after 60 s."""
    deadline = time.monotonic() + BOOT_SECONDS
    watch = cgroups.groups(plan.names.cgroup, host, cgroups.WATCH)
    while not answers(str(plan.hosts[host])):
        if not cgroups.processes(watch):
            raise UnreachableError(
                f"{host} died while it booted\n{_last_words(plan, host)}", plan.command("up")
            )
        if time.monotonic() > deadline:
            raise UnreachableError(
                f"{host} has no SSH after {BOOT_SECONDS:.0f} s\n{_last_words(plan, host)}",
                f"see {plan.host_directory(host) / 'log'}",
            )
        time.sleep(0.05)


def _last_words(plan: LabPlan, host: str) -> str:
    lines: list[str] = []
    for name in ("supervisor", "console"):
        path = plan.host_directory(host) / "log" / name
        if path.exists():
            lines += path.read_text(errors="replace").splitlines()[-5:]
    return "\n".join(lines)
