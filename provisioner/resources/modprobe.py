"""The module `modprobe`: kernel modules, loaded now and at boot (a file in /etc/modules-load.d)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from provisioner.resources.model import Absent, Change, Owned, Present, Resource, State
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote, words
from provisioner.shell.script import Blob, Script

IPVS_MODULES = ("ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh", "nf_conntrack", "nf_conntrack_ipv4")
"""What kube-proxy's mode ipvs may need; the last was merged into the one before it in Linux 4.19."""

# A module that left the playbook is asked for with a dash before its name: it counts while nothing uses it.
_READ = """
k=$(uname -r)
for m in %s; do
  n=$(printf %%s "$m" | tr - _)
  if [ "${m#-}" != "$m" ]; then
    [ "$(cat "/sys/module/${n#_}/refcnt" 2>/dev/null)" != 0 ] || echo "$m"
  elif [ -d "/sys/module/$n" ] || grep -q "^$n " /proc/modules 2>/dev/null ||
    sed 's|.*/||; s|\\.ko.*||; s|-|_|g' "/lib/modules/$k/modules.builtin" 2>/dev/null | grep -qxF "$n"; then
    echo "$m"
  fi
done
:
"""


def modules_of(mode: str) -> tuple[str, ...]:
    """What kube-proxy's `mode` needs that not every kernel has."""
    return IPVS_MODULES if mode == "ipvs" else ()


class ModprobeKind:
    """Present while the module is loaded or built into the kernel."""

    name = "modprobe"
    ours = ()

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"name": (str, list)}, {"persistent": str, "file": str})
        value = task.args["name"]
        names = [str(each) for each in value] if isinstance(value, list) else [str(value)]
        if not names:
            raise task.error("names no module", "", "name")
        for name in names:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise task.error(f"'{name}' is no module name", "", "name")
        modules = [Resource("modprobe", name, Present(), writes=(_module(name),)) for name in names]
        persistent = task.args.get("persistent") or "present"
        if persistent not in {"present", "disabled"}:
            raise task.error(f"unknown word '{persistent}'", "use 'present' or 'disabled'", "persistent")
        if persistent == "disabled":
            return modules
        path = task.absolute(f"/etc/modules-load.d/{task.args.get('file') or 'provision'}.conf", "file")
        blob = Blob.of("".join(f"{name}\n" for name in names).encode())
        rights = {"type": "file", "mode": "644", "owner": "root", "group": "root", "sha256": blob.sha256}
        text = "".join(f"{name}\n" for name in names)
        return [*modules, Resource("file", path, Present(rights), {"content": blob}, text, writes=(path,))]

    def probe(self, resources: Sequence[Resource]) -> Script:
        return Script(_READ % words(_asked(each) for each in resources))

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        there = set(output.decode(errors="replace").split())
        return {each.id: Present() if _asked(each) in there else Absent() for each in resources}

    def change(self, change: Change) -> Script:
        name = quote(change.resource.name)
        if isinstance(change.resource.desired, Absent):
            return Script(f"modprobe -r -- {name}\n")
        told = f'echo "the kernel $(uname -r) of this host cannot load its module {change.resource.name}" >&2'
        return Script(f"modprobe -- {name} || {{\n  {told}\n  exit 1\n}}\n")

    def gone(self, owned: Owned) -> Resource | None:
        """Unloaded, unless something uses it."""
        return owned.wish(Absent(), (_module(owned.name),))


def _module(name: str) -> str:
    """One name for both spellings."""
    return f"/sys/module/{name.replace('-', '_')}"


def _asked(resource: Resource) -> str:
    return f"-{resource.name}" if isinstance(resource.desired, Absent) else resource.name
