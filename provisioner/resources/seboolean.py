"""The module `seboolean`: switches of SELinux's policy, now (/sys/fs/selinux) and after a reboot (the policy's store).

The store lies where semanage.conf(5) says, for the policy that selinux_config(5) names. What was set for good is in
its active/booleans.local, in lines such as `name=1` (libsemanage, src/booleans_file.c); a switch that is not there
starts as the policy has it by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from provisioner.resources.model import LEFT_OVER, Absent, Change, Owned, Plain, Present, Resource, State
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote, words
from provisioner.shell.script import Script

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SWITCHES = "/sys/fs/selinux/booleans"
_FOUND = "/var/lib/provision/booleans"
"""How those were found that came with a package of the same run: nobody could read them before."""
_WORDS = {"0": "off", "1": "on"}
_READ = """
root=/var/lib/selinux
type=targeted
for f in /etc/selinux/config /etc/selinux/semanage.conf; do
  [ -r "$f" ] || continue
  while IFS=' =' read -r key value rest || [ -n "$key" ]; do
    case $key in
      SELINUXTYPE) type=$value ;;
      store-root) root=$value ;;
    esac
  done <"$f"
done
grep -sE '^[A-Za-z0-9_]+=[01]' "$root/$type/active/booleans.local" || :
set -- %s
for n in "$@"; do
  [ ! -e "/var/lib/provision/booleans/$n" ] || echo "$n was found"
done
if cd /sys/fs/selinux/booleans 2>/dev/null; then
  grep -Hs '' %s || :
fi
"""


class SebooleanKind:
    """Present(`value`, and `at_boot`, None for the policy's own) of one switch, both on or off; Absent when the policy
    does not have it.

    Each is a call of its own of setsebool, which builds the policy anew for it (2 s with Debian's): what a host
    remembers of a thing is written down right before that thing is changed.
    """

    name = "seboolean"
    ours = ("value", "at_boot")

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"name": str, "state": bool}, {"persistent": bool})
        name, value = task.args["name"], "on" if task.args["state"] else "off"
        if not _NAME.fullmatch(name):
            raise task.error(f"'{name}' is no SELinux boolean", "as container_use_cephfs", "name")
        wanted: dict[str, Plain] = {"value": value}
        if task.args.get("persistent") is not False:
            wanted["at_boot"] = value
        return [Resource("seboolean", name, Present(wanted), writes=(_switch(name),))]

    def probe(self, resources: Sequence[Resource]) -> Script:
        leaving = words(each.name for each in resources if isinstance(each.desired, Absent))
        return Script(_READ % (leaving, words(each.name for each in resources)))

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        lines = output.decode(errors="replace").splitlines()
        now = dict(line.split(":", 1) for line in lines if ":" in line)
        at_boot = dict(line.split("=", 1) for line in lines if "=" in line)
        return {each.id: _state(each, now, at_boot, lines) for each in resources}

    def change(self, change: Change) -> Script:
        resource, name = change.resource, change.resource.name
        path, note = quote(_switch(name)), quote(f"{_FOUND}/{name}")
        if isinstance(resource.desired, Absent):
            lasting = "-P " if "at_boot" in resource.spec[LEFT_OVER] else ""
            return Script(f'setsebool {lasting}{quote(name)} "$(cat {note})"\nrm -f {note}\n')
        script = _KNOWN % {"path": path, "name": name}
        if not isinstance(change.before, Present):
            script += _REMEMBER % {"path": path, "note": note, "folder": quote(_FOUND)}
        return Script(
            script + (_set(name, resource.desired.attrs) if isinstance(resource.desired, Present) else "")
        )

    def gone(self, owned: Owned) -> Resource | None:
        """The value that it had. setsebool cannot take a switch out of the store: it then lasts by itself."""
        writes = (_switch(owned.name),)
        if not owned.before:
            return owned.wish(Absent(), writes)
        back = {"value": owned.before["value"]}
        if "at_boot" in owned.wanted:
            back["at_boot"] = owned.before.get("at_boot") or owned.before["value"]
        return owned.wish(Present(back), writes)


_KNOWN = """\
[ -e %(path)s ] || {
  echo "the SELinux policy of this host has no boolean %(name)s: is the package installed that brings it" \\
    "(container-selinux has those for containers), and is the name right?" >&2
  exit 1
}
"""
_REMEMBER = """\
[ -e %(note)s ] || {
  mkdir -p %(folder)s
  found=$(cat %(path)s)
  echo "${found%%%% *}" >%(note)s.new
  mv -f %(note)s.new %(note)s
}
"""


def _set(name: str, attrs: Mapping[str, Plain]) -> str:
    """For good first, because that sets it for now, too."""
    value, at_boot = attrs.get("value"), attrs.get("at_boot")
    lasting = f"setsebool -P {quote(name)} {at_boot}\n" if at_boot is not None else ""
    return lasting + (f"setsebool {quote(name)} {value}\n" if value != at_boot else "")


def _state(
    resource: Resource, now: Mapping[str, str], at_boot: Mapping[str, str], lines: Sequence[str]
) -> State:
    """One that leaves counts as gone once nobody knows any more how it was found."""
    value = _WORDS.get(now.get(resource.name, "")[:1])
    if value is None or (isinstance(resource.desired, Absent) and f"{resource.name} was found" not in lines):
        return Absent()
    return Present({"value": value, "at_boot": _WORDS.get(at_boot.get(resource.name, "")[:1])})


def _switch(name: str) -> str:
    return f"{_SWITCHES}/{name}"
