"""Files, folders and links: the modules `file`, `copy` and `template`, argumented as Ansible's."""

from __future__ import annotations

import re
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.inventory.words import nearest
from provisioner.resources.content import SMALL, file_blob
from provisioner.resources.model import (
    LEFT_OVER,
    Absent,
    Change,
    Owned,
    Plain,
    Present,
    Resource,
    Section,
    State,
    Unknown,
)
from provisioner.resources.printed import sections
from provisioner.resources.removal import removable
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script

_TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
_STATES = ("file", "directory", "link", "absent")
_SHOWN = 256 * 1024

# Folders are read through links, too: a data folder may well be a link to another disk. Only regular files are hashed,
# because reading a pipe waits for ever.
# Paths are arguments of the shell's own functions, not input of xargs: a program costs a millisecond a host.
_PROBE = """
stats() { stat "$@" 2>/dev/null || :; }
linked() {
  for f do shift; [ ! -L "$f" ] || set -- "$@" "$f"; done
  [ "$#" -eq 0 ] || stats -L -c '%f:%a:%U:%G:%u:%g:%n' -- "$@"
}
hashed() {
  for f do shift; [ ! -f "$f" ] || set -- "$@" "$f"; done
  [ "$#" -eq 0 ] || sha256sum -- "$@" 2>/dev/null || :
}
targets() { for f do [ ! -L "$f" ] || { echo "$f"; readlink -- "$f"; }; done; }
"""
_AT_ONCE = 200
"""Paths in one call: far below the kernel's limit for a program's arguments."""


class PathKind:
    """A file, folder or symbolic link: type, mode, owner, group, and the SHA-256 or the link's target."""

    name = "file"
    ours = ("type", "sha256", "target")

    def build(self, task: TaskCall) -> Sequence[Resource]:
        if task.module == "file":
            return [_plain(task)]
        return [_with_content(task, _rendered(task) if task.module == "template" else _copied(task))]

    def probe(self, resources: Sequence[Resource]) -> Script:
        everything = [each.name for each in resources]
        folders, files, links = (
            [each.name for each in resources if _wants(each) == kind]
            for kind in ("directory", "file", "link")
        )
        parts = (
            _calls("stats -c '%f:%a:%U:%G:%u:%g:%n' --", everything),
            _calls("linked", folders),
            _calls("hashed", files),
            _calls("targets", links),
        )
        return Script(_PROBE + "echo '=='\n".join(parts))

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        stats, followed, digests, links = sections(output, 4)
        found = _Found(
            _stats(stats),
            _stats(followed),
            _digests(digests),
            dict(zip(links[::2], links[1::2], strict=False)),
        )
        return {each.id: _state(each, found) for each in resources}

    def settle(self, resource: Resource, actual: State, planned: Collection[Change]) -> State:
        """A file that a unit writes when it starts (spec "rewritten_by") is not known until the unit was changed."""
        writer = resource.spec.get("rewritten_by")
        if isinstance(actual, Present) and any(
            change.resource.id == f"systemd:{writer}" for change in planned
        ):
            return Unknown(f"{writer} writes it anew")
        return actual

    def change(self, change: Change) -> Script:
        resource, path = change.resource, quote(change.resource.name)
        if isinstance(resource.desired, Absent):
            options = "-f" if LEFT_OVER in resource.spec else "-rf"
            return Script(f"rm {options} -- {path}\n{_reload(resource)}")
        attrs = resource.desired.attrs if isinstance(resource.desired, Present) else {}
        if LEFT_OVER in resource.spec:
            return Script(f"put_back {path}\n{_reload(resource)}")
        aside = (
            f"displace {path}\n" if change.foreign and {"type", "sha256", "target"} & set(change.keys) else ""
        )
        room = f"{aside}make_room {path} {attrs['type']}\n"
        if attrs["type"] == "link":
            return Script(f"{room}ln -sfnT -- {quote(str(attrs['target']))} {path}\n")
        blob = resource.spec.get("content")
        if blob is not None:
            rights = (str(attrs[key]) for key in ("mode", "owner", "group"))
            put = put_blob(blob, resource.name, *rights)
            return Script(aside + put.main, put.payload, put.streams)
        make = (
            f"mkdir -p -- {path}"
            if attrs["type"] == "directory"
            else f"[ -e {path} ] || (umask 077 && : >{path})"
        )
        owner = quote(f"{attrs['owner']}:{attrs['group']}")
        # Five digits: GNU chmod leaves a folder's setgid bit alone unless the number says 0 for it.
        mode = str(attrs["mode"]).zfill(5)
        return Script(f"{room}{make}\nchown -- {owner} {path}\nchmod -- {mode} {path}\nrelabel {path}\n")

    def gone(self, owned: Owned) -> Resource | None:
        """Absent, or the original that was moved aside. A folder stays: others may have put things into it."""
        before = {key: owned.before[key] for key in self.ours if key in owned.before}
        if "directory" in (owned.wanted.get("type"), before.get("type")):
            return None
        if not before:
            return owned.wish(Absent())
        same = before == {key: owned.wanted[key] for key in self.ours if key in owned.wanted}
        return None if same else owned.wish(Present(before))

    def show(self, changes: Sequence[Change]) -> Script:
        """Prints the present text of each changed file, each after a line with its size; not of one that is closed to
        others, which may hold a key."""
        script = (
            f'while IFS= read -r f; do\n  case $(stat -c %A -- "$f" 2>/dev/null) in\n'
            f'    ???????r*) head -c {_SHOWN} -- "$f" >"$P/text" ;;\n'
            '    ?*) echo "(closed to others, not shown)" >"$P/text" ;;\n'
            '    *) : >"$P/text" ;;\n  esac\n'
            '  wc -c <"$P/text"\n  cat "$P/text"\ndone <"$P/paths"\n'
        )
        return Script(script, {"paths": Blob.of("".join(f"{c.resource.name}\n" for c in changes).encode())})

    def parse_shown(self, output: bytes, changes: Sequence[Change]) -> Mapping[str, tuple[Section, ...]]:
        texts: dict[str, tuple[Section, ...]] = {}
        for change in changes:
            size, _, rest = output.partition(b"\n")
            before, output = rest[: int(size or 0)], rest[int(size or 0) :]
            section = Section("", before.decode(errors="replace"), change.resource.text or "")
            texts[change.resource.id] = (section,)
        return texts


def _calls(words: str, paths: Sequence[str]) -> str:
    chunks = (paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE))
    return "".join(f"{words} {' '.join(map(quote, chunk))}\n" for chunk in chunks)


def _reload(resource: Resource) -> str:
    """systemd has to see that a unit's file is gone, or another one."""
    unit = resource.name.startswith("/etc/systemd/system/") and LEFT_OVER in resource.spec
    return "systemctl daemon-reload\n" if unit else ""


def null_list(paths: Iterable[str]) -> Blob:
    """Paths for `xargs -0`."""
    return Blob.of(b"".join(path.encode() + b"\0" for path in paths))


def put_blob(blob: Blob, path: str, mode: str, owner: str, group: str) -> Script:
    """The script that installs `blob` at `path`, by a temporary name beside it."""
    words = f"{quote(path)} {quote(mode)} {quote(owner)} {quote(group)}\n"
    if blob.size <= SMALL:
        return Script(f'put "$P/content" {words}', {"content": blob})
    return Script(f"put_stream {blob.size} {blob.sha256} {words}", {}, (blob,))


def _wants(resource: Resource) -> Plain:
    if isinstance(resource.desired, Present):
        return resource.desired.attrs["type"]
    return _former_type(resource)


def _former_type(resource: Resource) -> Plain:
    """Of what left the playbook: what it was when it was put there."""
    wanted: Mapping[str, Plain] = resource.spec.get(LEFT_OVER, {})
    return wanted.get("type")


def _rights(task: TaskCall, kind: str, default_mode: str) -> dict[str, Plain]:
    return {
        "type": kind,
        "mode": task.mode(default_mode),
        "owner": account(task, "owner"),
        "group": account(task, "group"),
    }


_RIGHTS: dict[str, Any] = {"mode": (str, int), "owner": (str, int), "group": (str, int)}


def _plain(task: TaskCall) -> Resource:
    task.check({"path": str}, {"state": str, "src": str, **_RIGHTS})
    path, state = task.path("path"), task.args.get("state") or "file"
    if state not in _STATES:
        near = nearest(str(state), _STATES)
        raise task.error(f"unknown state '{state}'", f"did you mean '{near}'?" if near else "", "state")
    if state == "absent":
        removable(task, str(task.args["path"]), "path")
        return Resource("file", path, Absent(), writes=(path,))
    if state == "link":
        target = str(task.args.get("src") or "")
        if not target or "\n" in target:
            raise task.error(
                "a link needs 'src', what it leads to, in one line", "", "src" if target else None
            )
        attrs: dict[str, Plain] = {"type": "link", "target": target}
        return Resource("file", path, Present(attrs), writes=(path,))
    if task.args.get("src"):
        raise task.error(
            f"'src' is for links, not for state '{state}'", "the module 'copy' sends files", "src"
        )
    rights = _rights(task, str(state), "0755" if state == "directory" else "0644")
    return Resource("file", path, Present(rights), writes=(path,))


def _rendered(task: TaskCall) -> Blob:
    task.check({"src": str, "dest": str}, {"secret": bool, **_RIGHTS})
    source = task.source("templates")
    return Blob.of(task.render(source).encode(), secret=bool(task.args.get("secret")))


def _copied(task: TaskCall) -> Blob:
    task.check({"dest": str}, {"src": str, "content": str, "secret": bool, **_RIGHTS})
    secret = bool(task.args.get("secret"))
    if (task.args.get("src") is None) == (task.args.get("content") is None):
        raise task.error("needs either 'src' or 'content'")
    if task.args.get("content") is not None:
        return Blob.of(str(task.args["content"]).encode(), secret=secret)
    return file_blob(task.source("files"), secret=secret)


def _with_content(task: TaskCall, blob: Blob) -> Resource:
    path = task.path("dest")
    attrs = _rights(task, "file", "0600" if blob.secret else "0644") | {"sha256": blob.sha256}
    spec = {"content": blob}
    return Resource("file", path, Present(attrs), spec, _text(blob), blob.secret, writes=(path,))


def _text(blob: Blob) -> str | None:
    if blob.secret or blob.size > _SHOWN:
        return None
    data = blob.data if blob.data is not None else blob.path.read_bytes() if blob.path else b""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def account(task: TaskCall, key: str) -> str:
    """A user or group by name or number; root by default. Raises InputError."""
    value = str(task.args.get(key) if task.args.get(key) is not None else "root")
    if not _ACCOUNT.fullmatch(value):
        raise task.error(f"'{value}' is no name of a user or group", "", key)
    return value


_ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\ -]*\$?")


@dataclass(frozen=True)
class _Found:
    """What the probe printed, by path."""

    stats: Mapping[str, list[str]]
    followed: Mapping[str, list[str]]
    digests: Mapping[str, str]
    links: Mapping[str, str]


def _stats(lines: Iterable[str]) -> dict[str, list[str]]:
    fields = (line.split(":", 6) for line in lines)
    return {each[6]: each[:6] for each in fields if len(each) == 7}


def _digests(lines: Iterable[str]) -> dict[str, str]:
    return {line[66:]: line[:64] for line in lines if line}


def _state(resource: Resource, found: _Found) -> State:
    path, desired = resource.name, resource.desired
    line = found.stats.get(path)
    if line is None:
        return Absent()
    if _kind(line) == "link" and _kind(found.followed.get(path)) == "directory":
        line = found.followed[path]
    if _former_type(resource) not in {None, _kind(line)}:
        return Absent()  # somebody else's thing is there by now
    wanted = desired.attrs if isinstance(desired, Present) else {}
    attrs: dict[str, Plain] = {"type": _kind(line), "mode": line[1]}
    for key, name, number in (("owner", line[2], line[4]), ("group", line[3], line[5])):
        attrs[key] = number if str(wanted.get(key, "")).isdigit() else name
    if path in found.digests and attrs["type"] == "file":
        attrs["sha256"] = found.digests[path]
    if path in found.links and attrs["type"] == "link":
        attrs["target"] = found.links[path]
    return Present(attrs)


def _kind(line: Sequence[str] | None) -> str:
    return _TYPES.get(stat.S_IFMT(int(line[0], 16)), "special") if line else ""
