"""The scripts of the module `package`."""

from __future__ import annotations

from collections.abc import Sequence

from provisioner.shell.quote import words

READ = """
if command -v dpkg-query >/dev/null; then
  # shellcheck disable=SC2016
  dpkg-query -W -f '${db:Status-Status} ${Package}\\n' -- %(names)s 2>/dev/null | sed -n 's/^installed //p'
elif command -v rpm >/dev/null; then
  for p in %(names)s; do rpm -q --quiet -- "$p" && echo "$p"; done
fi
:
"""

APT = """
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND
# Packages that a run left half installed when it was killed would stop apt. What cannot be configured yet, because what
# it needs is half unpacked, apt mends below.
mend() {
  tries=0
  while ! dpkg --configure -a </dev/null >"$P/mended" 2>&1; do
    tries=$((tries + 1))
    { grep -q 'lock' "$P/mended" && [ "$tries" -lt 60 ]; } || break
    sleep 2
  done
}
# A changed configuration file stays as it is: dpkg would ask, and nobody answers.
apt() {
  apt-get -q -y -o DPkg::Lock::Timeout=120 -o Acquire::Retries=1 \\
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" >"$P/said" 2>&1 && s=0 || s=$?
  cat "$P/said"
  return "$s"
}
"""

# apt does not look at the sources by itself, dnf and yum do: the lists of a fresh host are empty, those of an old one
# name files that are no longer there. They are fetched then, and only then.
OWN_MANAGER = (
    APT
    + """
known() {
  apt-cache policy -- "$1" | grep -q '^  Candidate: [^(]'
}
fetch_lists() { apt-get -q -o Acquire::Retries=1 update; }
ask() {
  if command -v apt-get >/dev/null; then
    mend
    for p in %(unknown)s; do
      known "$p" || { fetch_lists || :; break; }
    done
    apt %(verb)s --no-install-recommends -- %(names)s || {
      grep -q '^E: Unable to fetch some archives' "$P/said" || return 1
      fetch_lists && apt %(verb)s --no-install-recommends -- %(names)s
    }
  elif command -v dnf >/dev/null; then
    dnf -q -y %(verb)s -- %(names)s
  elif command -v yum >/dev/null; then
    yum -q -y %(verb)s -- %(names)s
  else
    echo "this host has neither apt-get nor dnf nor yum" >&2
    return 1
  fi
}
if ! ask; then
  w=%(said)s
  echo "this host cannot %(verb)s the $w: do its package sources have it, and can it reach them?" >&2
  exit 1
fi
"""
)

# Debian's packages start their services at once, with a configuration that nobody asked for. policy-rc.d keeps them
# from it. The file speaks only while a script of ours is at work, so that one which a killed run leaves does no harm; a
# file of the host's own is asked then, and is put back.
_HOLD = """
policy=/usr/sbin/policy-rc.d
release() {
  if [ -e "$policy" ] && grep -q '^# provision' "$policy"; then rm -f "$policy"; fi
  if [ -e "$policy.before-provision" ]; then mv -f "$policy.before-provision" "$policy"; fi
}
hold() {
  [ -d "${policy%/*}" ] && command -v dpkg >/dev/null || return 0
  release
  if [ -e "$policy" ]; then cp -p "$policy" "$policy.before-provision"; fi
  cat >"$policy.new" <<'END'
#!/bin/sh
# provision: services wait for their configuration
l=/run/provision/work.lock
[ ! -e "$l" ] || flock -n "$l" true || exit 101
[ ! -x "$0.before-provision" ] || exec "$0.before-provision" "$@"
END
  chmod 755 "$policy.new"
  mv -f "$policy.new" "$policy"
}
(
trap release EXIT
hold
"""


def holding(script: str) -> str:
    """`script`, during which no service starts by its package."""
    return f"{_HOLD}{script.strip()}\n)\n"


INSTALLED = "/var/lib/provision/installed"
"""Where a host remembers the packages that came because of us, a name a line: those that were asked for and all that
came with them. Beside it lies, while something is being installed, what there was before (`.before`) and what was asked
for (`.asked`): what a killed run installed is told apart by them later."""

# What people installed between a killed run and now is theirs: apt knows it as asked for. Of other package managers'
# only what we asked for counts then.
_COUNT = r"""
note=INSTALLED
there() {
  if command -v dpkg-query >/dev/null; then
    # shellcheck disable=SC2016
    dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p'
  elif command -v rpm >/dev/null; then
    rpm -qa --qf '%{NAME}\n'
  fi | sort -u
}
# count [killed]
count() {
  [ -e "$note.before" ] && [ -e "$note.asked" ] || return 0
  there >"$note.new"
  comm -13 "$note.before" "$note.new" >"$note.came"
  {
    cat "$note.asked"
    if command -v apt-mark >/dev/null; then
      apt-mark showauto
    elif [ -z "${1:-}" ]; then
      cat "$note.came"
    fi
  } | sort -u >"$note.new"
  comm -12 "$note.came" "$note.new" >>"$note"
  rm -f "$note.before" "$note.asked" "$note.came" "$note.new"
}
"""
COUNT = _COUNT.replace("INSTALLED", INSTALLED)
_COUNTED = r"""
mkdir -p -- "${note%%/*}"
count killed
there >"$note.new"
mv -f -- "$note.new" "$note.before"
printf '%%s\n' %s >"$note.new"
mv -f -- "$note.new" "$note.asked"
%s
count
"""


def counting(script: str, names: Sequence[str]) -> str:
    """`script`, which installs `names`; what came by it is remembered."""
    return COUNT + _COUNTED % (words(names), script.strip())
