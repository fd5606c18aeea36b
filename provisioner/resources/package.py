"""The module `package`: packages of the distribution, by the host's own package manager (apt, dnf or yum) from its own
sources or, where those are not reached, from files that come along (resources.packagefiles)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from provisioner.resources import packagescripts
from provisioner.resources.model import Absent, Change, Owned, Present, Resource, State
from provisioner.resources.packagefiles import PackageFile, PackageFiles, install_script
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote, words
from provisioner.shell.script import Script

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
_THERE, _NOT_THERE = "installed", "not installed"
DENIED = 101
"""As policy_rc_d: nothing starts or stops by a package's own scripts (invoke-rc.d(8))."""


class PackageKind:
    """Present while the packages are installed, in any version. Several that one task wants come in one transaction,
    and are one resource: its attributes tell which of them are there.

    They stay when they leave the playbook, since nobody knows who uses them by now. Those that came by us go when that
    is asked for (resources.packageremoval)."""

    name = "package"
    ours = ()

    def __init__(self, files: Mapping[str, PackageFiles] | None = None) -> None:
        """`files` by host: where packages come from on hosts that do not reach their own sources."""
        self._files = files or {}

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"name": (str, list)}, {"state": str, "policy_rc_d": int})
        value = task.args["name"]
        names = [str(each) for each in value] if isinstance(value, list) else [str(value)]
        state = task.args.get("state") or "present"
        if state not in {"present", "absent"}:
            raise task.error(f"unknown state '{state}'", "use 'present' or 'absent'", "state")
        if not names:
            raise task.error("names no package", "", "name")
        for name in names:
            if not _NAME.fullmatch(name):
                raise task.error(f"'{name}' is no package name", "", "name")
        policy = task.args.get("policy_rc_d")
        if policy not in {None, DENIED}:
            hint = f"{DENIED}: services do not start with their package"
            raise task.error(f"unknown policy_rc_d {policy}", hint, "policy_rc_d")
        if state == "absent":
            return [Resource("package", name, Absent(), {"names": (name,)}) for name in names]
        return [self._wish(task, tuple(dict.fromkeys(names)), hold=policy == DENIED)]

    def _wish(self, task: TaskCall, names: tuple[str, ...], *, hold: bool) -> Resource:
        files = self._files.get(task.host)
        by_name = {name: found for name in names if (found := files(name))} if files else {}
        spec = {"names": names, "hold": hold, "files": by_name}
        wanted = Present(dict.fromkeys(names, _THERE) if len(names) > 1 else {})
        return Resource("package", ", ".join(names), wanted, spec)

    def probe(self, resources: Sequence[Resource]) -> Script:
        names = dict.fromkeys(name for each in resources for name in each.spec["names"])
        return Script(packagescripts.READ % {"names": words(names)})

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        there = set(output.decode(errors="replace").split())
        return {each.id: _state(each.spec["names"], there) for each in resources}

    def change(self, change: Change) -> Script:
        names = _to_change(change)
        by_name: Mapping[str, Sequence[PackageFile]] = change.resource.spec.get("files", {})
        # One that nobody brought along can only come from the host's own sources.
        if by_name and all(name in by_name for name in names):
            files = {each.file: each for name in names for each in by_name[name]}
            install = install_script(names, list(files.values()), hold=change.resource.spec["hold"])
            return replace(install, main=packagescripts.counting(install.main, names))
        verb = "install" if isinstance(change.resource.desired, Present) else "remove"
        said = f"package{'s' if len(names) > 1 else ''} {', '.join(names)}"
        script = packagescripts.OWN_MANAGER % {
            "verb": verb,
            "names": words(names),
            "unknown": words(names if verb == "install" else ()),
            "said": quote(said),
        }
        if verb == "remove":
            return Script(script)
        held = packagescripts.holding(script) if change.resource.spec["hold"] else script
        return Script(packagescripts.counting(held, names))

    def gone(self, owned: Owned) -> Resource | None:  # noqa: ARG002 - none of them goes by itself
        return None


def brought(owned: Owned) -> tuple[str, ...]:
    """The packages of a record that were not there before."""
    return tuple(name for name in owned.name.split(", ") if owned.before.get(name) != _THERE)


def _state(names: Sequence[str], there: set[str]) -> State:
    if not there.intersection(names):
        return Absent()
    if len(names) == 1:
        return Present()
    return Present({name: _THERE if name in there else _NOT_THERE for name in names})


def _to_change(change: Change) -> tuple[str, ...]:
    """Those of the resource's packages that are not as wanted."""
    names: tuple[str, ...] = change.resource.spec["names"]
    if not isinstance(change.before, Present) or not isinstance(change.resource.desired, Present):
        return names
    return tuple(name for name in names if change.before.attrs.get(name) != _THERE)
