"""This machine as a host: the engine's scripts run for real, framed as over SSH, below a temporary folder.

Only paths are replaced in the scripts: the folders under /run and /var/lib that belong to the tool, and the shell.
"""

from __future__ import annotations

import grp
import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from provisioner.action.kinds import base_modules
from provisioner.engine.events import Event, Failed
from provisioner.engine.hostwork import HostWork
from provisioner.engine.plan import Desired, Plan
from provisioner.engine.planner import Planner
from provisioner.playbook.compile import Compiler
from provisioner.playbook.load import load_playbook
from provisioner.remote import frame
from provisioner.remote.outcome import Result
from provisioner.resources.model import AnyKind, Change
from provisioner.shell.script import Blob, Script

SHELLS = {"dash": "dash", "busybox": "busybox"}
OWNER = pwd.getpwuid(os.geteuid()).pw_name
GROUP = grp.getgrgid(os.getegid()).gr_name
_OWNED = ("file", "copy", "template", "unarchive")


@dataclass
class LocalSession:
    """Runs scripts as remote.session.Session does, in `shell`, with the tool's folders below `root`."""

    root: Path
    shell: str
    host: str = "here"
    execs: int = 0
    sent: list[Script] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    def __post_init__(self) -> None:
        program = shutil.which(SHELLS[self.shell])
        assert program is not None, f"{self.shell} is not installed"
        (self.root / "bin").mkdir()
        (self.root / "bin" / "sh").symlink_to(program)

    def session(self, host: str) -> LocalSession:
        return self

    def run(
        self,
        script: Script,
        *,
        deadline: float = 60.0,
        on_stdout: Callable[[bytes], object] | None = None,
        what: str = "",
    ) -> Result:
        self.execs += 1
        self.sent.append(script)
        moved = self._moved(script)
        head = frame.archive(moved)
        body = head + b"".join(chunk for blob in moved.streams for chunk in frame.chunks(blob))
        word = secrets.token_hex(8)
        command = frame.command(len(head), word).replace("/bin/sh", f"{self.root}/bin/sh")
        done = subprocess.run(
            ["/bin/sh", "-c", command], input=body, capture_output=True, timeout=60, check=False
        )
        mark = f"{word}\n".encode()
        stdout, stderr = (text.split(mark, 1)[1] for text in (done.stdout, done.stderr))
        if on_stdout is not None:
            on_stdout(stdout)
        self.results.append(Result(done.returncode, stdout, stderr, 0.0))
        return self.results[-1]

    def _moved(self, script: Script) -> Script:
        payload = {name: self._moved_blob(name, blob) for name, blob in script.payload.items()}
        return replace(script, main=self._text(script.main), payload=payload)

    def _moved_blob(self, name: str, blob: Blob) -> Blob:
        if blob.data is None or name.rpartition("/")[2] not in {"run", "prelude", "names"}:
            return blob
        return Blob.of(self._text(blob.data.decode()).encode())

    def _text(self, text: str) -> str:
        for path in ("/run/provision", "/var/lib/provision"):
            text = text.replace(path, f"{self.root}/own{path}")
        return text.replace("/bin/sh", f"{self.root}/bin/sh")


class Here:
    """A folder `target` as a host: tasks go in, plans and failures come out."""

    def __init__(self, root: Path, shell: str, modules: Mapping[str, AnyKind] | None = None) -> None:
        self.target = root / "target"
        self.target.mkdir()
        (root / "own").mkdir()
        self.book = root / "book"
        self.book.mkdir()
        self.session = LocalSession(root / "own", shell)
        self.modules = dict(modules or base_modules())
        self.kinds = {kind.name: kind for kind in self.modules.values()}
        self.events: list[Event] = []

    def desired(self, tasks: Sequence[Mapping[str, Any]], **variables: Any) -> Desired:
        """The tasks, compiled; files belong to who runs the tests unless they say otherwise."""
        adapted = [_adapted(task) for task in tasks]
        path = self.book / "book.yaml"
        stage = {"name": "stage", "hosts": "all", "tasks": adapted}
        path.write_text(yaml.safe_dump([stage], allow_unicode=True, sort_keys=False))
        playbook = load_playbook(path, set(self.modules))
        known = {"root": str(self.target), "me": OWNER, "mine": GROUP, **variables}
        resources = Compiler(playbook, self.modules).stage(playbook.stages[0], "here", known)
        return Desired("stage", {"here": resources})

    def plan(self, desired: Desired, *, texts: bool = False) -> Plan:
        planner = Planner(self.session, self.kinds)  # type: ignore[arg-type]
        return planner.plan([desired], inventory="", inputs="", texts=texts)

    def changes(self, desired: Desired) -> list[Change]:
        return [change for _, _, change in self.plan(desired).changes()]

    def carry_out(self, changes: Sequence[Change]) -> Failed | None:
        work = HostWork(self.session, self.kinds, self.events.append, "run")  # type: ignore[arg-type]
        failure, _ = work.carry_out("here", "stage", changes)
        return failure

    def apply(self, desired: Desired) -> Failed | None:
        """Reads, changes and reads again; then nothing may be left to do, if all went well."""
        failure = self.carry_out(self.changes(desired))
        if failure is None:
            assert self.changes(desired) == [], "the second plan is not empty"
        return failure

    def shell(self, commands: str, folder: str = ".") -> None:
        """What somebody else does in (a folder of) the target."""
        subprocess.run(["/bin/sh", "-euc", commands], cwd=self.target / folder, check=True, timeout=30)


def _adapted(task: Mapping[str, Any]) -> dict[str, Any]:
    own = {"owner": OWNER, "group": GROUP}
    return {
        key: {**own, **value} if key in _OWNED and _takes_owner(value) else value
        for key, value in task.items()
    }


def _takes_owner(args: Any) -> bool:
    return isinstance(args, dict) and args.get("state") not in {"link", "absent"}
