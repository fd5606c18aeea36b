"""Packages out of files that travel with the script, for hosts that do not reach their own package sources.

The host's apt decides: the files become a source of their own, the only one for that one call, so that what is there
already, or is newer, stays, and all that is missing comes in one transaction. Nothing else is trusted; nothing stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from provisioner.resources.packagescripts import APT, holding
from provisioner.shell.quote import quote, words
from provisioner.shell.script import Blob, Script

_FOLDER = "/var/lib/provision/packages"

_RECEIVE = f"""
d={_FOLDER}
rm -rf -- "$d"
(umask 077 && mkdir -p -- "$d/lists/partial" "$d/cache/archives/partial")
"""
# The sandbox user of apt cannot read below /var/lib/provision. Without the host's preferences, because a pin for its
# own sources may forbid all others.
_INSTALL = """
partial=
cp -- "$P/Packages" "$d/Packages"
echo "deb [trusted=yes] file:$d ./" >"$d/sources"
only() {
  apt -o Dir::Etc::sourcelist="$d/sources" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferences=/dev/null \\
    -o Dir::Etc::preferencesparts=/dev/null -o Dir::State::lists="$d/lists" -o Dir::Cache="$d/cache" \\
    -o APT::Sandbox::User=root -o Acquire::Languages=none "$@"
}
mend
only update
# What a killed run has unpacked may want what it had not yet unpacked; apt mends that only when it is asked for nothing
# else.
only check >/dev/null 2>&1 || only install -f --no-install-recommends --no-remove || :
if ! only install --no-install-recommends --no-remove -- %(names)s; then
  w=%(said)s
  echo "the bundle's $w cannot be installed on this host: see what apt says" >&2
  exit 1
fi
rm -rf -- "$d"
"""


@dataclass(frozen=True)
class PackageFile:
    """One package's file; `paragraph` is what a list of packages says of it, `file` its name."""

    name: str
    file: str
    paragraph: str
    blob: Blob


PackageFiles = Callable[[str], Sequence[PackageFile]]
"""By a package's name: its file and those of all that it needs; none when there is no such package."""


def install_script(names: Sequence[str], files: Sequence[PackageFile], *, hold: bool) -> Script:
    """Installs `names` out of `files`. With `hold` no service starts by its package."""
    receive = "".join(
        f'receive {each.blob.size} {each.blob.sha256} "$d"/{quote(each.file)}\n' for each in files
    )
    said = f"package{'s' if len(names) > 1 else ''} {', '.join(names)}"
    install = APT + _INSTALL % {"names": words(names), "said": quote(said)}
    index = "\n".join(each.paragraph for each in files)
    main = _RECEIVE + receive + (holding(install) if hold else install)
    return Script(main, {"Packages": Blob.of(index.encode())}, tuple(each.blob for each in files))
