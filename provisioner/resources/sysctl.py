"""The module `sysctl`: kernel settings, now (/proc/sys) and after a reboot (a file in /etc/sysctl.d)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from provisioner.resources.model import Absent, Change, Present, Resource, State
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script

_KEY = re.compile(r"[a-z0-9_]+([./][A-Za-z0-9_@-]+)+")


class SysctlKind:
    """Present(value) of one key; Absent when the kernel does not have it."""

    name = "sysctl"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({}, {"name": str, "value": (str, int), "values": dict, "sysctl_file": str})
        values = dict(task.args.get("values") or {})
        if task.args.get("name"):
            values[str(task.args["name"])] = task.args.get("value")
        if not values:
            raise task.error("needs 'values', or 'name' with 'value'")
        for key in values:
            if not _KEY.fullmatch(str(key)):
                raise task.error(f"'{key}' is no kernel setting", "as net.ipv4.ip_forward")
        wanted = {str(key): " ".join(str(value).split()) for key, value in sorted(values.items())}
        path = str(task.args.get("sysctl_file") or "/etc/sysctl.d/90-provision.conf")
        blob = Blob.of("".join(f"{key} = {value}\n" for key, value in wanted.items()).encode())
        rights = {"type": "file", "mode": "644", "owner": "root", "group": "root", "sha256": blob.sha256}
        text = blob.data.decode() if blob.data else ""
        file = Resource("file", path, Present(rights), {"content": blob}, text, writes=(path,))
        return [file, *(Resource("sysctl", key, Present({"value": wanted[key]})) for key in wanted)]

    def probe(self, resources: Sequence[Resource]) -> Script:
        # grep, because sh reads byte by byte and /proc/sys gives nothing after the first.
        loop = 'for f in %s; do\n  [ ! -r "$f" ] || grep -H "" "$f" 2>/dev/null || :\ndone\n'
        return Script(loop % " ".join(quote(_path(each.name)) for each in resources))

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        lines = (line.partition(":") for line in output.decode(errors="replace").splitlines())
        values = {path: " ".join(value.split()) for path, _, value in lines}
        return {
            each.id: Present({"value": values[_path(each.name)]}) if _path(each.name) in values else Absent()
            for each in resources
        }

    def change(self, change: Change) -> Script:
        desired = change.resource.desired
        value = str(desired.attrs["value"]) if isinstance(desired, Present) else ""
        path = quote(_path(change.resource.name))
        return Script(f"printf '%s\\n' {quote(value)} >{path}\n")


def _path(key: str) -> str:
    return "/proc/sys/" + (key if "/" in key else key.replace(".", "/"))
