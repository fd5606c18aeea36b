"""The module `package`: packages of the distribution, by the host's own package manager (apt, dnf or yum)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from provisioner.resources.model import Absent, Change, Present, Resource, State
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote, words
from provisioner.shell.script import Script

_READ = """
if command -v dpkg-query >/dev/null; then
  # shellcheck disable=SC2016
  dpkg-query -W -f '${db:Status-Status} ${Package}\\n' -- %(names)s 2>/dev/null | sed -n 's/^installed //p'
elif command -v rpm >/dev/null; then
  for p in %(names)s; do rpm -q --quiet -- "$p" && echo "$p"; done
fi
:
"""

_CHANGE = """
ask() {
  if command -v apt-get >/dev/null; then
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    # A changed configuration file stays as it is: dpkg would ask, and nobody answers.
    apt-get -q -y %(verb)s --no-install-recommends -o DPkg::Lock::Timeout=120 -o Acquire::Retries=1 \\
      -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -- %(name)s
  elif command -v dnf >/dev/null; then
    dnf -q -y %(verb)s -- %(name)s
  elif command -v yum >/dev/null; then
    yum -q -y %(verb)s -- %(name)s
  else
    echo "this host has neither apt-get nor dnf nor yum" >&2
    return 1
  fi
}
if ! ask; then
  echo "this host cannot %(verb)s the package %(name)s: do its package sources have it, and can it reach them?" >&2
  exit 1
fi
"""


class PackageKind:
    """Present while the package is installed, in any version."""

    name = "package"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"name": (str, list)}, {"state": str})
        value = task.args["name"]
        names = [str(each) for each in value] if isinstance(value, list) else [str(value)]
        state = task.args.get("state") or "present"
        if state not in {"present", "absent"}:
            raise task.error(f"unknown state '{state}'", "use 'present' or 'absent'", "state")
        if not names:
            raise task.error("names no package", "", "name")
        for name in names:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9+._-]*", name):
                raise task.error(f"'{name}' is no package name", "", "name")
        return [Resource("package", name, Present() if state == "present" else Absent()) for name in names]

    def probe(self, resources: Sequence[Resource]) -> Script:
        return Script(_READ % {"names": words(each.name for each in resources)})

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        there = set(output.decode(errors="replace").split())
        return {each.id: Present() if each.name in there else Absent() for each in resources}

    def change(self, change: Change) -> Script:
        verb = "install" if isinstance(change.resource.desired, Present) else "remove"
        return Script(_CHANGE % {"verb": verb, "name": quote(change.resource.name)})
