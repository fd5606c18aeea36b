"""The module `displaced_paths`: files that would be read before ours are moved to /var/lib/provision/displaced.

A container runtime takes the first configuration of /etc/cni/net.d in the order of names (containerd: `max_conf_num`,
1 by default), so one that another tool left there wins over the plug-in that was installed last.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from provisioner.resources.model import Absent, Change, Present, Resource, State
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote
from provisioner.shell.script import Script

_READ = """for f in %s/*; do
  if [ -f "$f" ] || [ -L "$f" ]; then printf '%d %%s\\0' "$f"; fi
done
"""
_SUFFIX = re.compile(r"\.[A-Za-z0-9]+")


class DisplacedPathsKind:
    """Present(paths) of the files in a folder that are read before the one that is to be the first, `but` for those
    that may be; else Absent."""

    name = "displaced_paths"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"folder": str, "first": str, "suffixes": list}, {"but": list})
        first = str(task.args["first"])
        if not first or "/" in first:
            raise task.error(f"'{first}' is no name of a file in the folder", "", "first")
        suffixes = tuple(str(each) for each in task.args["suffixes"])
        for each in suffixes:
            if not _SUFFIX.fullmatch(each):
                raise task.error(f"'{each}' is no suffix", "as .conf", "suffixes")
        but = frozenset(str(each) for each in task.args.get("but") or ())
        spec = {"first": first, "suffixes": suffixes, "but": but}
        return [Resource("displaced_paths", task.path("folder"), Absent(), spec)]

    def probe(self, resources: Sequence[Resource]) -> Script:
        return Script("".join(_READ % (quote(each.name), index) for index, each in enumerate(resources)))

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        found: dict[int, list[str]] = {}
        for record in output.decode(errors="surrogateescape").split("\0")[:-1]:
            index, _, path = record.partition(" ")
            if _is_early(path.rpartition("/")[2], resources[int(index)]):
                found.setdefault(int(index), []).append(path)
        return {
            each.id: Present({"paths": tuple(found[index])}) if index in found else Absent()
            for index, each in enumerate(resources)
        }

    def change(self, change: Change) -> Script:
        return Script("".join(f"move_aside {quote(each)}\n" for each in _paths(change)))


def moved(change: Change) -> str:
    """What a change of this kind moves, in words for people; empty for other kinds."""
    names = ", ".join(each.rpartition("/")[2] for each in _paths(change))
    return f"moves aside {names}" if names and change.resource.kind == DisplacedPathsKind.name else ""


def _paths(change: Change) -> tuple[str, ...]:
    paths = change.before.attrs.get("paths") if isinstance(change.before, Present) else None
    return tuple(map(str, paths)) if isinstance(paths, tuple) else ()


def _is_early(name: str, resource: Resource) -> bool:
    """Whether the runtime reads it first: Go sorts names by their bytes."""
    if name in resource.spec["but"]:
        return False
    suffixes = resource.spec["suffixes"]
    return name.endswith(suffixes) and os.fsencode(name) < os.fsencode(resource.spec["first"])
