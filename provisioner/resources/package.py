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

# apt does not look at the sources by itself, dnf and yum do: the lists of a fresh host are empty, those of an old one
# name files that are no longer there. They are fetched then, and only then.
_CHANGE = """
known() {
  apt-cache policy -- "$1" | grep -q '^  Candidate: [^(]'
}
apt() {
  # A changed configuration file stays as it is: dpkg would ask, and nobody answers.
  apt-get -q -y "$1" --no-install-recommends -o DPkg::Lock::Timeout=120 -o Acquire::Retries=1 \\
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -- "$2" >"$P/said" 2>&1 && s=0 || s=$?
  cat "$P/said"
  return "$s"
}
fetch_lists() { apt-get -q -o Acquire::Retries=1 update; }
ask() {
  if command -v apt-get >/dev/null; then
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
%(lists)s    apt %(verb)s %(name)s || {
      grep -q '^E: Unable to fetch some archives' "$P/said" || return 1
      fetch_lists && apt %(verb)s %(name)s
    }
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
        name = quote(change.resource.name)
        lists = f"    known {name} || fetch_lists || :\n" if verb == "install" else ""
        return Script(_CHANGE % {"verb": verb, "name": name, "lists": lists})
