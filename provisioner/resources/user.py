"""The module `user`: a local account."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from provisioner.resources.model import Absent, Change, Plain, Present, Resource, State
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote, words
from provisioner.shell.script import Script

_NAME = r"[a-z_][a-z0-9_-]{0,30}\$?"


class UserKind:
    """Attributes: home, shell, and the supplementary groups that are asked for."""

    name = "user"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        optional = {
            "system": bool,
            "shell": str,
            "home": str,
            "groups": list,
            "state": str,
            "create_home": bool,
        }
        task.check({"name": str}, optional)
        name = str(task.args["name"])
        if not re.fullmatch(_NAME, name):
            raise task.error(f"'{name}' is no account name", "", "name")
        state = task.args.get("state") or "present"
        if state not in {"present", "absent"}:
            raise task.error(f"unknown state '{state}'", "use 'present' or 'absent'", "state")
        if state == "absent":
            return [Resource("user", name, Absent())]
        attrs: dict[str, Plain] = {key: task.path(key) for key in ("shell", "home") if task.args.get(key)}
        if any(not re.fullmatch(_NAME, str(group)) for group in task.args.get("groups") or ()):
            raise task.error("'groups' has something in it that is no group name", "", "groups")
        if task.args.get("groups"):
            attrs["groups"] = tuple(sorted(str(group) for group in task.args["groups"]))
        spec = {"system": bool(task.args.get("system")), "create_home": bool(task.args.get("create_home"))}
        return [Resource("user", name, Present(attrs), spec)]

    def probe(self, resources: Sequence[Resource]) -> Script:
        names = words(each.name for each in resources)
        loop = f'for u in {names}; do\n  e=$(getent passwd "$u") && echo "$e:$(id -Gn "$u")"\ndone\n:\n'
        return Script(loop)

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        found = {}
        for line in output.decode(errors="replace").splitlines():
            name, _, _, _, _, home, shell, groups = line.split(":", 7)
            found[name] = (home, shell, set(groups.split()))
        return {each.id: _state(each, found) for each in resources}

    def change(self, change: Change) -> Script:
        resource, name = change.resource, quote(change.resource.name)
        if not isinstance(resource.desired, Present):
            return Script(f"! getent passwd {name} >/dev/null || userdel -- {name}\n")
        attrs = resource.desired.attrs
        options = [f"--{key} {quote(str(attrs[key]))}" for key in ("shell", "home") if key in attrs]
        groups = attrs.get("groups")
        if isinstance(groups, tuple):
            options.append(
                ("--append " if change.action != "create" else "") + f"--groups {quote(','.join(groups))}"
            )
        if change.action != "create":
            return Script(f"usermod {' '.join(options)} -- {name}\n")
        options.append("--create-home" if resource.spec["create_home"] else "--no-create-home")
        if resource.spec["system"]:
            options.append("--system")
        return Script(f"getent passwd {name} >/dev/null || useradd {' '.join(options)} -- {name}\n")


def _state(resource: Resource, found: Mapping[str, tuple[str, str, set[str]]]) -> State:
    if resource.name not in found:
        return Absent()
    home, shell, groups = found[resource.name]
    attrs: dict[str, Plain] = {"home": home, "shell": shell}
    wanted = resource.desired.attrs.get("groups") if isinstance(resource.desired, Present) else None
    if isinstance(wanted, tuple):
        attrs["groups"] = tuple(group for group in wanted if group in groups)
    return Present(attrs)
