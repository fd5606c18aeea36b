"""Packages that this tool brought to a host go again, with what only they needed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from provisioner.resources.packagescripts import APT, COUNT
from provisioner.shell.quote import words
from provisioner.shell.script import Script
from provisioner.shell.worklock import locked

# What came with ours and what people asked for since is theirs (apt-mark). A package whose service runs is somebody's:
# ours have ended by now. Then those leave the list that something outside of it needs, until none does.
_REMOVE = r"""
asked() { printf '%%s\n' %(asked)s | sed '/^$/d' | sort -u; }
count killed
for u in %(units)s; do systemctl stop -- "$u" 2>/dev/null || :; done
touch "$note"
{
  asked
  if command -v apt-mark >/dev/null; then
    apt-mark showauto | sort -u >"$note.auto"
    sort -u "$note" | comm -12 - "$note.auto"
  else
    cat "$note"
  fi
} | sort -u >"$note.all"
there | comm -12 - "$note.all" >"$note.ours"
printf '%%s\n' %(kept)s | sort -u | comm -13 - "$note.ours" >"$note.all"
files() { if command -v dpkg >/dev/null; then dpkg -L "$1"; else rpm -ql -- "$1"; fi; }
runs() {
  files "$1" | sed -nE 's,.*/systemd/system/([^/@]+[.](service|socket))$,\1,p' | while read -r unit; do
    case $(systemctl show --property=SubState --value -- "$unit") in
      running | listening) echo "$unit" && break ;;
    esac
  done
}
: >"$note.ours"
while read -r p; do
  unit=$(runs "$p")
  if [ -z "$unit" ]; then echo "$p" >>"$note.ours"; else echo "stays $p $unit runs"; fi
done <"$note.all"
# Those that cannot go, a line each.
held() {
  if command -v dpkg >/dev/null; then
    # shellcheck disable=SC2046
    dpkg --no-act --purge -- $(cat "$note.ours") 2>&1 |
      sed -nE 's/^dpkg: error processing package ([^ :]+)(:[^ ]+)? \(--purge\):$/\1/p'
  else
    # shellcheck disable=SC2046
    rpm -e --test -- $(cat "$note.ours") 2>&1 | sed -nE 's/^[[:space:]]*(.*) is needed by .installed.*/\1/p' |
      while read -r need; do rpm -q --qf '%%{NAME}\n' --whatprovides "$need"; done
  fi | sort -u | comm -12 - "$note.ours"
}
while [ -s "$note.ours" ]; do
  held >"$note.held"
  [ -s "$note.held" ] || break
  sed 's/.*/stays & needed by others/' "$note.held"
  comm -23 "$note.ours" "$note.held" >"$note.all"
  mv -f "$note.all" "$note.ours"
done
if [ -s "$note.ours" ]; then
  # shellcheck disable=SC2046
  set -- $(cat "$note.ours")
  if command -v dpkg >/dev/null; then
    mend
    apt purge -- "$@" >&2
  elif command -v dnf >/dev/null; then
    dnf -q -y --setopt=clean_requirements_on_remove=False remove -- "$@" >&2
  else
    rpm -e -- "$@" >&2
  fi
  for p in "$@"; do
    echo "gone $p"
    # Its packages leave what it kept: nobody can read that any more.
    case $p in containerd | containerd.io)
      rm -rf --one-file-system /var/lib/containerd /opt/containerd /run/containerd 2>/dev/null || :
      ;;
    esac
  done
fi
rm -f "$note.all" "$note.ours" "$note.held" "$note.auto"
"""


@dataclass(frozen=True)
class PackagesLeft:
    """What went, and what stays, each with why."""

    gone: tuple[str, ...]
    stays: dict[str, str]


def removal_script(asked: Collection[str], kept: Collection[str], units: Collection[str]) -> Script:
    """Removes `asked`, which were not there before, and what came with them, but for what others need or use, and what
    is `kept`. `units` are ours, and end first."""
    values = {"asked": sorted(asked), "kept": sorted(kept), "units": sorted(units)}
    text = _REMOVE % {name: words(each) for name, each in values.items()}
    return Script(f'P="$W"\nLC_ALL=C\nexport P LC_ALL\n{locked(f"set -e{COUNT}{APT}{text}")}\n')


def parse_removal(output: str) -> PackagesLeft:
    """What such a script printed."""
    lines = [line.split(" ", 2) for line in output.splitlines()]
    gone = tuple(words[1] for words in lines if words[0] == "gone")
    return PackagesLeft(gone, {words[1]: words[2] for words in lines if words[0] == "stays"})
