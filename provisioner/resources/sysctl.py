"""The module `sysctl`: kernel settings, now (/proc/sys) and after a reboot (a file in /etc/sysctl.d)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from provisioner.resources.model import Absent, Change, Owned, Present, Resource, State
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script

_KEY = re.compile(r"[a-z0-9_]+([./][A-Za-z0-9_@-]+)+")


class SysctlKind:
    """Present(value) of one key; Absent when the kernel does not have it."""

    name = "sysctl"
    ours = ("value",)

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({}, {"name": str, "value": (str, int), "values": dict, "sysctl_file": str})
        values = dict(task.args.get("values") or {})
        if task.args.get("name"):
            values[str(task.args["name"])] = task.args.get("value")
        if not values:
            raise task.error("needs 'values', or 'name' with 'value'")
        wanted = {str(key): _value(task, key, value) for key, value in sorted(values.items(), key=str)}
        path = task.path("sysctl_file") if task.args.get("sysctl_file") else "/etc/sysctl.d/90-provision.conf"
        blob = Blob.of("".join(f"{key} = {value}\n" for key, value in wanted.items()).encode())
        rights = {"type": "file", "mode": "644", "owner": "root", "group": "root", "sha256": blob.sha256}
        text = blob.data.decode() if blob.data else ""
        file = Resource("file", path, Present(rights), {"content": blob}, text, writes=(path,))
        settings = (
            Resource("sysctl", key, Present({"value": value}), writes=(setting_path(key),))
            for key, value in wanted.items()
        )
        return [file, *settings]

    def probe(self, resources: Sequence[Resource]) -> Script:
        # grep, because sh reads byte by byte and /proc/sys gives nothing after the first.
        loop = 'for f in %s; do\n  [ ! -r "$f" ] || grep -H "" "$f" 2>/dev/null || :\ndone\n'
        return Script(loop % " ".join(quote(setting_path(each.name)) for each in resources))

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        lines = (line.partition(":") for line in output.decode(errors="replace").splitlines())
        values = {path: " ".join(value.split()) for path, _, value in lines}
        return {
            each.id: Present({"value": values[setting_path(each.name)]})
            if setting_path(each.name) in values
            else Absent()
            for each in resources
        }

    def change(self, change: Change) -> Script:
        desired = change.resource.desired
        value = str(desired.attrs["value"]) if isinstance(desired, Present) else ""
        path, key = quote(setting_path(change.resource.name)), change.resource.name
        told = f'echo "the kernel $(uname -r) of this host has no setting {key}: is its module loaded?" >&2'
        return Script(f"[ -e {path} ] || {{\n  {told}\n  exit 1\n}}\nprintf '%s\\n' {quote(value)} >{path}\n")

    def gone(self, owned: Owned) -> Resource | None:
        """The value that it had."""
        return owned.wish(Present(owned.before), (setting_path(owned.name),)) if owned.before else None


def _value(task: TaskCall, key: object, value: object) -> str:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise task.error(f"'{key}' is no kernel setting", "as net.ipv4.ip_forward")
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise task.error(f"'{key}' must be a number or a text, not {value!r}")
    if "\n" in str(value).strip():
        raise task.error(f"the value of '{key}' has more than one line")
    return " ".join(str(value).split())


def setting_path(key: str) -> str:
    """As sysctl(8): the first separator decides, behind it dots and slashes have changed places or not."""
    first = next((char for char in key if char in "./"), ".")
    return "/proc/sys/" + (key if first == "/" else key.translate(_SWAP))


_SWAP = str.maketrans("./", "/.")
