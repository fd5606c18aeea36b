"""The module `unarchive`: an archive of the controller unpacked into a folder of the host.

Compared by the members' stat of the moment of unpacking; the archive itself does not stay on the host.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from provisioner.resources.content import file_blob
from provisioner.resources.model import Absent, Change, Present, Resource, State
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script

_FOLDER = "/var/lib/provision/archives"

_READ = """
while IFS= read -r n; do
  s=""
  if [ -f "$n.stat" ] && d=$(cat "$n.dest") && cd "$d" 2>/dev/null; then
    s=$(xargs -0 -r stat -c '%n %f %s %i %.9Z' -- <"$n.members" 2>/dev/null | sha256sum)
    [ "$s" = "$(cat "$n.stat")" ] && echo "$(cat "$n.archive")  $n"
  fi
done <"$P/names"
:
"""


class ArchiveKind:
    """Present(sha256 of the archive) while every member is as it was unpacked."""

    name = "unarchive"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"src": str, "dest": str}, {"owner": str, "group": str})
        source = task.find("files", str(task.args["src"]))
        if source is None:
            raise task.error(f"'{task.args['src']}' is not below files/", "", "src")
        try:
            members = file_members(source, source.stat().st_mtime_ns)
        except (tarfile.TarError, OSError, EOFError) as fault:
            raise task.error(f"'{source.name}' is no readable tar archive: {fault}", "", "src") from None
        owner = f"{task.args.get('owner') or 'root'}:{task.args.get('group') or 'root'}"
        return [unpacked(source.name, file_blob(source), task.path("dest"), members, owner)]

    def probe(self, resources: Sequence[Resource]) -> Script:
        names = "".join(f"{_record(each)}\n" for each in resources)
        return Script(_READ, {"names": Blob.of(names.encode())})

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        lines = (line.partition("  ") for line in output.decode(errors="replace").splitlines())
        found = {record: digest for digest, _, record in lines}
        return {
            each.id: Present({"sha256": found[_record(each)]}) if _record(each) in found else Absent()
            for each in resources
        }

    def change(self, change: Change) -> Script:
        resource = change.resource
        blob, members, owner = (resource.spec[key] for key in ("archive", "members", "owner"))
        dest, record = quote(str(resource.spec["dest"])), quote(_record(resource))
        new = quote(f"{resource.spec['dest']}/.provision.archive")
        script = (
            f"mkdir -p -- {_FOLDER} {dest}\nrm -f -- {record}.stat\nreceive {blob.size} {blob.sha256} {new}\n"
            f"tar -C {dest} --no-same-owner -xf {new}\nrm -f -- {new}\ncd {dest}\n"
            f'xargs -0 -r chown -h -- {quote(owner)} <"$P/members"\n'
            f'cp -- "$P/members" {record}.members\nprintf %s {dest} >{record}.dest\n'
            f"echo {blob.sha256} >{record}.archive\n"
            f"xargs -0 -r stat -c '%n %f %s %i %.9Z' -- <{record}.members | sha256sum >{record}.stat\n"
        )
        return Script(script, {"members": Blob.of("\0".join([*members, ""]).encode())}, (blob,))


def unpacked(name: str, blob: Blob, dest: str, members: tuple[str, ...], owner: str) -> Resource:
    """The wish that `members` of the tar `blob` lie below `dest`. Only gzip or no compression reaches a host."""
    spec = {"archive": blob, "dest": dest, "members": members, "owner": owner}
    writes = tuple(f"{dest}/{member}" for member in members)
    return Resource("unarchive", f"{dest}/{name}", Present({"sha256": blob.sha256}), spec, writes=writes)


@lru_cache(maxsize=64)
def file_members(path: Path, _mtime_ns: int) -> tuple[str, ...]:
    """Names of the files and links in a tar, safe ones only. Raises tarfile.TarError, OSError."""
    with tarfile.open(path) as archive:
        names = [member.name for member in archive if member.isfile() or member.issym() or member.islnk()]
    for name in names:
        if name.startswith("/") or ".." in name.split("/") or "\n" in name:
            raise tarfile.TarError(f"the member '{name}' leaves the folder")
    return tuple(name.removeprefix("./") for name in names)


def _record(resource: Resource) -> str:
    return f"{_FOLDER}/{resource.name.strip('/').replace('/', '_')}"
