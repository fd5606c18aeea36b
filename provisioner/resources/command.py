"""The module `command`: a command line with a condition that tells whether it is still needed.

Without `creates` or `unless` a command has no state that could be read, so it is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from provisioner.resources.model import Absent, Change, Present, Resource, State
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote
from provisioner.shell.script import Script


class CommandKind:
    """Present when the file `creates` exists or the command line `unless` ends with 0."""

    name = "command"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"cmd": str}, {"creates": str, "unless": str, "chdir": str})
        if not (task.args.get("creates") or task.args.get("unless")):
            raise task.error(
                "needs 'creates' or 'unless'", "a command whose effect cannot be read cannot be planned"
            )
        creates = task.path("creates") if task.args.get("creates") else ""
        if task.args.get("chdir"):
            task.path("chdir")
        spec = {key: str(task.args.get(key) or "") for key in ("cmd", "unless", "chdir")} | {
            "creates": creates
        }
        digest = hashlib.sha256(repr(sorted(spec.items())).encode()).hexdigest()[:8]
        label = f"{spec['cmd'].split(chr(10))[0][:60]} ({digest})"
        writes = (creates,) if creates else ()
        return [Resource("command", label, Present(), spec, writes=writes)]

    def probe(self, resources: Sequence[Resource]) -> Script:
        lines = [f"if {_done(each)}; then echo {index}; fi" for index, each in enumerate(resources)]
        return Script("\n".join(lines) + "\n")

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        done = {int(line) for line in output.split() if line.isdigit()}
        return {each.id: Present() if index in done else Absent() for index, each in enumerate(resources)}

    def change(self, change: Change) -> Script:
        # Asked again: an orphan of a run that was killed may have done it while this one waited for it.
        resource = change.resource
        return Script(f"if {_done(resource)}; then exit 0; fi\n{_line(resource, 'cmd')}\n")


def _done(resource: Resource) -> str:
    """The condition, as a list of sh, under which the command is not needed."""
    tests = [f"[ -e {quote(resource.spec['creates'])} ]"] if resource.spec["creates"] else []
    tests += [f"{_line(resource, 'unless')} >/dev/null 2>&1"] if resource.spec["unless"] else []
    return " || ".join(tests)


def _line(resource: Resource, key: str) -> str:
    folder = resource.spec["chdir"]
    start = f"cd {quote(folder)} || exit\n" if folder else ""
    return f"/bin/sh -c {quote(start + str(resource.spec[key]))}"
