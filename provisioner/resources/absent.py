"""The module `absent_paths`: files that must not be there, by path or pattern."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping, Sequence

from provisioner.resources.model import Absent, Change, Present, Resource, State
from provisioner.resources.removal import removable
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import glob_word
from provisioner.shell.script import Script


class AbsentPathsKind:
    """Absent when nothing matches; else Present with what was found."""

    name = "absent_paths"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"paths": list}, {})
        patterns = [removable(task, str(path), "paths") for path in task.args["paths"]]
        return [
            Resource("absent_paths", pattern, Absent(), {"pattern": pattern}, writes=(pattern,))
            for pattern in patterns
        ]

    def probe(self, resources: Sequence[Resource]) -> Script:
        lines = []
        for index, each in enumerate(resources):
            word = glob_word(str(each.spec["pattern"]))
            found = f'if [ -e "$f" ] || [ -L "$f" ]; then printf \'{index} %s\\0\' "$f"; fi'
            lines.append(f"for f in {word}; do {found}; done")
        return Script("\n".join(lines) + "\n")

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        found: dict[int, list[str]] = {}
        for record in output.decode(errors="replace").split("\0")[:-1]:
            index, _, path = record.partition(" ")
            found.setdefault(int(index), []).append(path)
        return {
            each.id: Present({"paths": tuple(found[index])}) if index in found else Absent()
            for index, each in enumerate(resources)
        }

    def settle(self, resource: Resource, actual: State, planned: Collection[Change]) -> State:
        """A path that an earlier change of the same plan creates has to go, too."""
        pattern = str(resource.spec["pattern"])
        made = [
            path
            for change in planned
            if change.action != "delete"
            for path in change.resource.writes
            if _finds(pattern, path)
        ]
        if not made or isinstance(actual, Present):
            return actual
        return Present({"paths": tuple(made)})

    def change(self, change: Change) -> Script:
        return Script(f"rm -rf -- {glob_word(str(change.resource.spec['pattern']))}\n")


def _finds(pattern: str, path: str) -> bool:
    """Whether removing what `pattern` finds removes `path`: itself or a folder above it."""
    wanted, parts = pattern.split("/"), path.split("/")
    return len(parts) >= len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))
