"""The module `unarchive`: an archive of the controller unpacked into a folder of the host.

Compared by the members' stat of the moment of unpacking; the archive itself does not stay on the host. Of folders only
their being there, their mode and their owner count, because whatever is written into one changes its times.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from provisioner.resources.content import file_blob
from provisioner.resources.model import Absent, Change, Owned, Plain, Present, Resource, State
from provisioner.resources.paths import account
from provisioner.resources.printed import lines_of
from provisioner.resources.remembered import remembered
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script

_FOLDER = "/var/lib/provision/archives"

_GZIP = (b"\x1f\x8b",)
_FOREIGN = (b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
"""How bzip2, xz and zstd files begin."""

_STATS = """
stats() {
  xargs -0 -r stat -c '%n %f %s %i %.9Z' -- <"$1.members" 2>/dev/null || :
  [ ! -s "$1.folders" ] || xargs -0 -r stat -c '%n %f %u %g' -- <"$1.folders" 2>/dev/null || :
}
"""

# The members one by one: sha256sum writes names in a form of its own, and a link's target is not what is meant.
_CONTENTS = """
contents() {
  tr '\\0' '\\n' <"$1.members" | while IFS= read -r m; do
    if [ -L "$m" ]; then echo "to $(readlink -- "$m")"; else sha256sum <"$m" 2>/dev/null || echo gone; fi
  done | sha256sum | { read -r digest rest; echo " $digest"; }
}
"""
_NO_CONTENTS = """
contents() { :; }
"""
_READ = """
while IFS= read -r n; do
  { [ -f "$n.stat" ] && IFS= read -r was <"$n.stat" && IFS= read -r said <"$n.archive"; } || continue
  IFS= read -r d <"$n.dest" || [ -n "$d" ] || continue
  cd "$d" 2>/dev/null && [ "$(stats "$n" | sha256sum)" = "$was" ] && echo "$said$(contents "$n")  ${n##*/}"
done <"$P/names"
:
"""

# Members that other things of ours stand for by now stay; what they were written over comes back. Folders go only when
# they are empty.
_REMOVE = """
r=%s
IFS= read -r d <"$r.dest" || [ -n "$d" ]
cd "$d"
tr '\\0' '\\n' <"$r.members" | while IFS= read -r m; do
  if grep -qxF -- "$d/$m" "$P/keep"; then continue; fi
  put_back "$d/$m" 2>/dev/null || rm -f -- "$m"
done
xargs -0 -r rmdir --ignore-fail-on-non-empty -p -- <"$r.folders" 2>/dev/null || :
rm -f -- "$r.members" "$r.folders" "$r.dest" "$r.stat" "$r.archive"
"""
# The first unpacking may write over files of others.
_ASIDE = """
[ -e %s.archive ] || tr '\\0' '\\n' <"$P/members" | while IFS= read -r m; do displace %s/"$m"; done
"""


class ArchiveKind:
    """Present(sha256 of the archive, owner) while every member is as it was unpacked, by its stat.

    With `deep` the members are read, too: `contents` is the digest of what they hold.
    """

    name = "unarchive"
    ours = ("sha256",)

    def __init__(self, *, deep: bool = False) -> None:
        self._deep = deep

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"src": str, "dest": str}, {"owner": (str, int), "group": (str, int)})
        source = task.source("files")
        if _starts(source, _FOREIGN):
            hint = "hosts need no other tool than gzip: `gzip -9` the tar"
            raise task.error(f"'{source.name}' is compressed by something other than gzip", hint, "src")
        try:
            members = file_members(source, source.stat().st_mtime_ns)
        except (tarfile.TarError, OSError, EOFError) as fault:
            raise task.error(f"'{source.name}' is no readable tar archive: {fault}", "", "src") from None
        owner = f"{account(task, 'owner')}:{account(task, 'group')}"
        return [unpacked(source.name, file_blob(source), task.path("dest"), members, owner, deep=self._deep)]

    def probe(self, resources: Sequence[Resource]) -> Script:
        names = "".join(f"{_record(each)}\n" for each in resources)
        contents = _CONTENTS if any("contents" in _wanted(each) for each in resources) else _NO_CONTENTS
        return Script(_STATS + contents + _READ, {"names": Blob.of(names.encode())})

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        lines = (line.partition("  ") for line in lines_of(output))
        found = {record: said.split(" ") for said, _, record in lines}
        names = {each.id: _record(each).rpartition("/")[2] for each in resources}
        return {
            rid: Present(dict(zip(("sha256", "owner", "contents"), found[name], strict=False)))
            if name in found
            else Absent()
            for rid, name in names.items()
        }

    def change(self, change: Change) -> Script:
        resource = change.resource
        if isinstance(resource.desired, Absent):
            keep = "".join(f"{path}\n" for path in resource.spec.get("keep", ()))
            return Script(_REMOVE % quote(_record(resource)), {"keep": Blob.of(keep.encode())})
        blob, members, owner = (resource.spec[key] for key in ("archive", "members", "owner"))
        dest, record = quote(str(resource.spec["dest"])), quote(_record(resource))
        new = quote(f"{resource.spec['dest']}/.provision.archive")
        unpack = "-xzf" if _starts(blob.path, _GZIP) else "-xf"
        script = (
            _STATS
            + _ASIDE % (record, dest)
            + (
                f"mkdir -p -- {_FOLDER} {dest}\nrm -f -- {record}.stat\nreceive {blob.size} {blob.sha256} {new}\n"
                f"tar -C {dest} --no-same-owner {unpack} {new}\nrm -f -- {new}\npartial=\ncd {dest} || exit 1\n"
                f'cat "$P/members" "$P/folders" | xargs -0 -r chown -h -- {quote(owner)}\n'
                f"relabel -R {dest}\n"
                f'cp -- "$P/members" {record}.members\ncp -- "$P/folders" {record}.folders\n'
                f"printf %s {dest} >{record}.dest\necho {blob.sha256} {quote(owner)} >{record}.archive\n"
                f"stats {record} | sha256sum >{record}.stat\n"
            )
        )
        files = [name for name in members if not name.endswith("/")]
        payload = {
            "members": _nulls(files),
            "folders": _nulls([name for name in members if name.endswith("/")]),
        }
        return Script(script, payload, (blob,))

    def gone(self, owned: Owned) -> Resource | None:
        return owned.wish(Absent())


def unpacked(
    name: str, blob: Blob, dest: str, members: tuple[str, ...], owner: str, *, deep: bool = False
) -> Resource:
    """The wish that `members` of the tar `blob` lie below `dest`. Only gzip or no compression reaches a host.

    `deep`: that they hold what the archive does, too. Raises tarfile.TarError, OSError then.
    """
    spec = {"archive": blob, "dest": dest, "members": members, "owner": owner}
    writes = tuple(f"{dest}/{member}".rstrip("/") for member in members)
    attrs: dict[str, Plain] = {"sha256": blob.sha256, "owner": owner}
    path = blob.path
    if deep and path is not None:
        attrs["contents"] = str(remembered(path, "contents 1", lambda: _contents(path, members)))
    return Resource("unarchive", f"{dest}/{name}", Present(attrs), spec, writes=writes)


@lru_cache(maxsize=64)
def file_members(path: Path, _mtime_ns: int) -> tuple[str, ...]:
    """Names of the members of a tar; those of folders end with a slash. Raises tarfile.TarError, OSError."""
    return tuple(remembered(path, "members 1", lambda: _members(path)))


def _members(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        members = [(member.name, member) for member in archive if member.name not in {".", "./"}]
    names = []
    for name, member in members:
        if name.startswith("/") or ".." in name.split("/") or "\n" in name:
            raise tarfile.TarError(f"the member '{name}' leaves the folder")
        if not (member.isfile() or member.issym() or member.islnk() or member.isdir()):
            raise tarfile.TarError(f"the member '{name}' is neither file, link nor folder")
        names.append(name.removeprefix("./") + ("/" if member.isdir() else ""))
    return list(dict.fromkeys(names))


def _contents(path: Path, members: Sequence[str]) -> str:
    """What the probe prints of members that are as in the tar at `path`."""
    said = hashlib.sha256()
    with tarfile.open(path) as archive:
        infos = {each.name.removeprefix("./").rstrip("/"): each for each in archive}
        for name in members:
            if name.endswith("/"):
                continue
            info = infos[name]
            if info.issym():
                said.update(f"to {info.linkname}\n".encode(errors="surrogateescape"))
                continue
            stream = archive.extractfile(info)
            if stream is None:
                raise tarfile.TarError(f"the member '{name}' cannot be read")
            said.update(f"{hashlib.file_digest(stream, 'sha256').hexdigest()}  -\n".encode())  # type: ignore[arg-type]
    return said.hexdigest()


def _wanted(resource: Resource) -> Mapping[str, Plain]:
    return resource.desired.attrs if isinstance(resource.desired, Present) else {}


def _starts(path: Path, magic: tuple[bytes, ...]) -> bool:
    with path.open("rb") as stream:
        return stream.read(6).startswith(magic)


def _nulls(names: Sequence[str]) -> Blob:
    return Blob.of("\0".join([*names, ""]).encode(errors="surrogateescape") if names else b"")


def _record(resource: Resource) -> str:
    """The path of what is remembered about an unpacking; the digest keeps two folders' names apart."""
    digest = hashlib.sha256(resource.name.encode()).hexdigest()[:8]
    return f"{_FOLDER}/{re.sub('[^A-Za-z0-9.-]+', '_', resource.name.strip('/'))[-150:]}.{digest}"
