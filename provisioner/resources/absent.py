"""The module `absent_paths`: files that must not be there, by path or pattern."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping, Sequence

from provisioner.resources.model import Absent, Change, Present, Resource, State
from provisioner.resources.removal import removable
from provisioner.resources.stamps import OURS
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import glob_word
from provisioner.shell.script import Script


class AbsentPathsKind:
    """Absent when nothing matches; else Present with the paths that were found.

    `foreign` are those of them that do not carry the stamp of this tool: somebody else's, which go with consent only
    (engine.danger). A path that the same plan writes is not foreign.
    """

    name = "absent_paths"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"paths": list}, {})
        patterns = [removable(task, str(path), "paths") for path in task.args["paths"]]
        return [
            Resource("absent_paths", pattern, Absent(), {"pattern": pattern}, writes=(pattern,))
            for pattern in patterns
        ]

    def probe(self, resources: Sequence[Resource]) -> Script:
        lines = [OURS + _FOUND]
        for index, each in enumerate(resources):
            word = glob_word(str(each.spec["pattern"]))
            lines.append(f'for f in {word}; do found {index} "$f"; done')
        return Script("\n".join(lines) + "\n")

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        found: dict[int, list[tuple[str, bool]]] = {}
        for record in output.decode(errors="replace").split("\0")[:-1]:
            index, whose, path = record.split(" ", 2)
            found.setdefault(int(index), []).append((path, whose == "foreign"))
        return {
            each.id: _present(found[index]) if index in found else Absent()
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
        if isinstance(actual, Present):
            foreign = paths_of(actual, "foreign")
            return Present({**actual.attrs, "foreign": tuple(path for path in foreign if path not in made)})
        return _present([(path, False) for path in made]) if made else actual

    def change(self, change: Change) -> Script:
        return Script(f"rm -rf -- {glob_word(str(change.resource.spec['pattern']))}\n")


_FOUND = """
found() {
  [ -e "$2" ] || [ -L "$2" ] || return 0
  if ours "$2"; then w=ours; else w=foreign; fi
  printf '%s %s %s\\0' "$1" "$w" "$2"
}
"""


def paths_of(state: Present, key: str) -> tuple[str, ...]:
    """The paths under `key` ("paths", "foreign") of what was found."""
    value = state.attrs.get(key)
    return value if isinstance(value, tuple) else ()


def _present(found: Sequence[tuple[str, bool]]) -> Present:
    return Present(
        {
            "paths": tuple(path for path, _ in found),
            "foreign": tuple(path for path, foreign in found if foreign),
        }
    )


def _finds(pattern: str, path: str) -> bool:
    """Whether removing what `pattern` finds removes `path`: itself or a folder above it."""
    wanted, parts = pattern.split("/"), path.split("/")
    return len(parts) >= len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))
