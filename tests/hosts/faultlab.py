"""Hosts that are broken for real, one case at a time on each, several at once: what `provision apply` says, and whether
the same command completes once the fault is undone.

A host is reached beside the network, as at its console: no fault of its sshd, link or shell is in the way of undoing.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lab_cluster import Done, Event, LabCluster, Running, own_lab, provision

from provisioner.inventory.model import load_inventory
from provisioner.lab.declared import plan_of
from provisioner.lab.host import first_process, inspect
from provisioner.lab.plan import LabPlan
from provisioner.lab.power import power_on

SUBNET = os.environ.get("PROVISION_TEST_FAULTS_SUBNET", "10.97.36.0/24")
"""Not that of the tests of clusters, whose lab may be up at the same time."""
HOSTS = ("a", "b", "c", "d")
PASSWORD = "pa$$ 'word"  # noqa: S105  # of the users that the tests make
LARGE = 6_000_000
"""Bytes of the file `large`: more than the disk that is full has, less than it has when that is undone."""
SLOW = 8
"""Seconds that the command of the stage `second` takes."""
BOOK = """\
- name: first
  hosts: all
  tasks:
    - file: {path: /srv/target, state: directory}
    - copy: {dest: /srv/first, content: "first\\n"}
- name: second
  hosts: all
  tasks:
    - copy: {dest: /srv/target/small, content: "small\\n"}
    - copy: {dest: /srv/target/large, src: large}
    - command: {cmd: "sleep SLOW; echo made >>/srv/target/made", creates: /srv/target/made}
    - copy: {dest: /srv/target/later, content: "later\\n"}
- name: third
  hosts: all
  tasks:
    - copy: {dest: /srv/third, content: "third\\n"}
"""
WHOLE = """\
set -e
cd /srv
sha256sum <target/large | cut -d' ' -f1
cat first target/small target/made target/later third
ls -A /srv/target
ls -d /run/provision.* /tmp/provision.* 2>/dev/null || :
"""
CLEAN = "umount -l /srv/target 2>/dev/null; rm -rf /srv/* /var/lib/provision; mkdir -p /srv"


@dataclass(frozen=True)
class Host:
    """A host with an inventory, a playbook and a folder of its own."""

    plan: LabPlan
    name: str
    folder: Path

    @property
    def address(self) -> str:
        return str(self.plan.hosts[self.name])

    @cached_property
    def inventory(self) -> Path:
        return self.folder / "inventory.yaml"

    @cached_property
    def book(self) -> Path:
        return self.folder / "book.yaml"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def sh(self, script: str, status: int = 0) -> str:
        """What the script prints on the host, run there by nobody's login."""
        done = subprocess.run(
            self.nsenter("/bin/sh", "-c", script), capture_output=True, text=True, check=False
        )
        assert done.returncode == status, f"{script}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def nsenter(self, *words: str) -> list[str]:
        pid = first_process(self.plan, self.name)
        assert pid, f"{self.name} is off"
        path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
        return ["nsenter", "-t", str(pid), "-m", "-n", "-p", "-u", "-i", "-w", "env", path, *words]

    def filter(self, verdict: str) -> None:
        """What reaches the host meets `verdict` (of nftables)."""
        rules = f"add table ip f; add chain ip f i {{ type filter hook input priority 0; }}; add rule ip f i {verdict}"
        if verdict == "drop":  # nothing comes back either
            rules += "; add chain ip f o { type filter hook output priority 0; policy drop; }"
        self.sh(f"nft '{rules}'")

    def unfilter(self) -> None:
        self.sh("nft delete table ip f")

    def write(self, case: Case) -> None:
        """The inventory, the playbook and its file."""
        lab = self.plan.directory
        shutil.copy(self.plan.known_hosts, self.known_hosts)
        (self.folder / "files").mkdir()
        with (self.folder / "files" / "large").open("wb") as large:
            large.truncate(case.size)
        own = {"ansible_user": "root", "ansible_ssh_private_key_file": f"{lab}/id_ed25519", **case.variables}
        lines = "".join(f"    {key}: {value}\n" for key, value in own.items())
        self.inventory.write_text(
            f"all:\n  vars:\n{lines}  hosts:\n    {self.name}: {{ansible_host: {self.address}}}\n"
        )
        book = BOOK.replace("SLOW", str(SLOW if case.command == "slow" else 0))
        if case.command not in ("", "slow"):
            book = book.replace("echo made", f"{case.command}; echo made")
        self.book.write_text(book)

    @property
    def words(self) -> tuple[str, ...]:
        return ("apply", str(self.inventory), "--playbook", str(self.book))


def nothing(_host: Host) -> None:
    """No fault."""


def on_host(script: str) -> Callable[[Host], None]:
    """A fault that is a script there."""

    def run(host: Host) -> None:
        host.sh(script)

    return run


@dataclass(frozen=True)
class Case:
    """A fault that is there from the start (`fault`), or that comes (`later`) when a run begins with the resource whose
    id begins with `at`, and what is said of it. `reason` and `hint` are regular expressions.

    `status` 0: it must not hurt. `stage` None: the run does not get to its first stage. `command` is run by the book's
    second stage ("slow": it takes some seconds), `size` are the bytes of the file that is sent there.
    `left` is what the folder of the second stage holds after the fault, hidden names aside. `seconds` are those within
    which the run has to end, less a margin for a busy machine. `text`: what is said is read as text, too, in a run of
    its own, where the fault is there from the start.
    """

    name: str
    status: int
    reason: str = ""
    hint: str = ""
    stage: str | None = None
    resource: str = ""
    fault: Callable[[Host], None] = nothing
    at: str = ""
    later: Callable[[Host], None] = nothing
    undo: Callable[[Host], None] = nothing
    variables: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    size: int = LARGE
    seconds: float = 30.0
    left: str | None = None
    text: bool = True
    soak: bool = False


@dataclass(frozen=True)
class Told:
    """A case's runs: with the fault, as JSON lines; with it once more, as text, where it was there from the start; and
    the same command when it was undone."""

    host: Host
    faulty: Done
    text: Done | None
    left: str
    again: Done
    whole: str


class FaultLab:
    """The lab's hosts, each given to one case at a time."""

    def __init__(self, lab: LabCluster, folder: Path) -> None:
        self.inventory = lab.inventory
        self.plan = plan_of(load_inventory(lab.inventory))
        self._folder = folder
        self._free: queue.SimpleQueue[str] = queue.SimpleQueue()
        for name in HOSTS:
            self._free.put(name)

    def run_all(self, cases: Sequence[Case]) -> dict[str, Future[Told]]:
        """All cases, as many at a time as there are hosts; those that wait for something first."""
        ordered = sorted(cases, key=lambda case: (bool(case.text), not case.at))
        with ThreadPoolExecutor(len(HOSTS)) as threads:
            return {case.name: threads.submit(self.run, case) for case in ordered}

    def run(self, case: Case) -> Told:
        with self.host(case) as host:
            try:
                case.fault(host)
                faulty = _faulty(case, host)
                at_rest = not case.at and case.status and case.text
                text = provision(*host.words) if at_rest else None
                left = host.sh("ls /srv/target 2>/dev/null || :") if case.left is not None else ""
            finally:
                case.undo(host)
            again = provision(*host.words, "--json")
            return Told(host, faulty, text, left, again, host.sh(WHOLE))

    @contextmanager
    def host(self, case: Case) -> Iterator[Host]:
        """A host for a case alone; as good as new afterwards."""
        name = self._free.get()
        folder = self._folder / "".join(each if each.isalnum() else "-" for each in case.name)
        folder.mkdir()
        host = Host(self.plan, name, folder)
        try:
            host.sh(CLEAN)
            host.write(case)
            yield host
        finally:
            if not inspect(self.plan, name).well:
                power_on(self.plan, name)
            host.sh(CLEAN)
            self._free.put(name)


def _faulty(case: Case, host: Host) -> Done:
    if not case.at:
        return provision(*host.words, "--json")
    running = Running((*host.words, "--json"))
    try:
        running.await_event(lambda event: _begins(event, case.at))
        case.later(host)
        return running.finish(90)
    finally:
        running.abandon()


def _begins(event: Event, resource: str) -> bool:
    found: Any = event.get("resource", "")
    return event["event"] == "HostChanging" and str(found).startswith(resource)


@contextmanager
def fault_lab(folder: Path) -> Iterator[FaultLab]:
    """A lab of its own."""
    source = folder / "source.yaml"
    base = SUBNET.rpartition(".")[0]
    hosts = "".join(f"    {name}: {{ansible_host: {base}.{11 + at}}}\n" for at, name in enumerate(HOSTS))
    source.write_text(
        f"all:\n  vars:\n    lab: {{name: any, subnet: {SUBNET}}}\n    ansible_user: root\n  hosts:\n{hosts}"
    )
    with own_lab(f"test-faults-{base.replace('.', '-')}", source, SUBNET) as lab:
        yield FaultLab(lab, folder)
