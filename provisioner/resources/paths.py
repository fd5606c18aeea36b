"""Files, folders and links: the modules `file`, `copy` and `template`, argumented as Ansible's."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from provisioner.inventory.words import nearest
from provisioner.resources.content import SMALL, file_blob
from provisioner.resources.model import Absent, Change, Plain, Present, Resource, Section, State
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script

_TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
_STATES = ("file", "directory", "link", "absent")
_SHOWN = 256 * 1024


class PathKind:
    """A file, folder or symbolic link: type, mode, owner, group, and the SHA-256 or the link's target."""

    name = "file"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        if task.module == "file":
            return [_plain(task)]
        return [_with_content(task, _rendered(task) if task.module == "template" else _copied(task))]

    def probe(self, resources: Sequence[Resource]) -> Script:
        files = [each.name for each in resources if _wants(each) == "file"]
        script = (
            "xargs -0 -r stat -c '%f %a %U %G %n' -- <\"$P/paths\" 2>/dev/null\necho\n"
            'xargs -0 -r sha256sum -- <"$P/files" 2>/dev/null\necho\n'
            "xargs -0 -r env QUOTING_STYLE=literal stat -c %N -- <\"$P/links\" 2>/dev/null || :\n"
        )
        links = [each.name for each in resources if _wants(each) == "link"]
        payload = {
            "paths": null_list(each.name for each in resources),
            "files": null_list(files),
            "links": null_list(links),
        }
        return Script(script, payload)

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        stats, digests, links = _sections(output)
        return {each.id: _state(each.name, stats, digests, links) for each in resources}

    def change(self, change: Change) -> Script:
        resource, path = change.resource, quote(change.resource.name)
        if isinstance(resource.desired, Absent):
            return Script(f"rm -rf -- {path}\n")
        attrs = resource.desired.attrs if isinstance(resource.desired, Present) else {}
        owner = quote(f"{attrs['owner']}:{attrs['group']}")
        if attrs["type"] == "directory":
            return Script(f"mkdir -p -- {path}\nchown -- {owner} {path}\nchmod -- {attrs['mode']} {path}\n")
        if attrs["type"] == "link":
            return Script(f"ln -sfnT -- {quote(str(attrs['target']))} {path}\n")
        blob = resource.spec.get("content")
        if blob is None:
            script = f'[ -e {path} ] || (umask 077 && : >{path})\nchown -- {owner} {path}\n'
            return Script(script + f"chmod -- {attrs['mode']} {path}\n")
        return put_blob(blob, resource.name, str(attrs["mode"]), str(attrs["owner"]), str(attrs["group"]))

    def show(self, changes: Sequence[Change]) -> Script:
        """Prints the present text of each changed file, each after a line with its size."""
        script = (
            f"while IFS= read -r f; do\n  head -c {_SHOWN} -- \"$f\" >\"$P/text\" 2>/dev/null || : >\"$P/text\"\n"
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


def null_list(paths: Iterable[str]) -> Blob:
    """Paths for `xargs -0`."""
    return Blob.of(b"".join(path.encode() + b"\0" for path in paths))


def put_blob(blob: Blob, path: str, mode: str, owner: str, group: str) -> Script:
    """The script that installs `blob` at `path`, by a temporary name beside it."""
    target = quote(path)
    if blob.size <= SMALL:
        rights = f"{quote(mode)} {quote(owner)} {quote(group)}"
        return Script(f'put "$P/content" {target} {rights}\n', {"content": blob})
    temporary = quote(path + ".provision.new")
    script = (
        f"receive {blob.size} {blob.sha256} {temporary}\nchown -- {quote(owner)}:{quote(group)} {temporary}\n"
        f"chmod -- {mode} {temporary}\nmv -fT -- {temporary} {target}\n"
    )
    return Script(script, {}, (blob,))


def _wants(resource: Resource) -> Plain:
    return resource.desired.attrs["type"] if isinstance(resource.desired, Present) else None


def _rights(task: TaskCall, kind: str, default_mode: str) -> dict[str, Plain]:
    return {
        "type": kind,
        "mode": task.mode(default_mode),
        "owner": str(task.args.get("owner") or "root"),
        "group": str(task.args.get("group") or "root"),
    }


_RIGHTS: dict[str, Any] = {"mode": (str, int), "owner": str, "group": str}


def _plain(task: TaskCall) -> Resource:
    task.check({"path": str}, {"state": str, "src": str, **_RIGHTS})
    path, state = task.path("path"), task.args.get("state") or "file"
    if state not in _STATES:
        near = nearest(str(state), _STATES)
        raise task.error(f"unknown state '{state}'", f"did you mean '{near}'?" if near else "", "state")
    if state == "absent":
        if path.count("/") < 2:
            raise task.error(f"will not remove {path}", "name something inside it", "path")
        return Resource("file", path, Absent(), writes=(path,))
    if state == "link":
        if not task.args.get("src"):
            raise task.error("a link needs 'src'")
        attrs: dict[str, Plain] = {"type": "link", "target": str(task.args["src"])}
        return Resource("file", path, Present(attrs), writes=(path,))
    rights = _rights(task, str(state), "0755" if state == "directory" else "0644")
    return Resource("file", path, Present(rights), writes=(path,))


def _rendered(task: TaskCall) -> Blob:
    task.check({"src": str, "dest": str}, {"secret": bool, **_RIGHTS})
    source = _found(task, "templates")
    return Blob.of(task.render(source).encode(), secret=bool(task.args.get("secret")))


def _copied(task: TaskCall) -> Blob:
    task.check({"dest": str}, {"src": str, "content": str, "secret": bool, **_RIGHTS})
    secret = bool(task.args.get("secret"))
    if (task.args.get("src") is None) == (task.args.get("content") is None):
        raise task.error("needs either 'src' or 'content'")
    if task.args.get("content") is not None:
        return Blob.of(str(task.args["content"]).encode(), secret=secret)
    return file_blob(_found(task, "files"), secret=secret)


def _found(task: TaskCall, folder: str) -> Path:
    path = task.find(folder, str(task.args["src"]))
    if path is None:
        raise task.error(f"'{task.args['src']}' is not below {folder}/", "", "src")
    return path


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


def _sections(output: bytes) -> tuple[dict[str, list[str]], dict[str, str], dict[str, str]]:
    parts = (output.decode(errors="surrogateescape") + "\n\n").split("\n\n", 2)
    stat_part, digest_part, link_part = (parts[0].removeprefix("\n"), *parts[1:])
    stats = {line.split(" ", 4)[4]: line.split(" ", 4)[:4] for line in stat_part.splitlines() if line}
    digests = {line[66:]: line[:64] for line in digest_part.splitlines() if line}
    links = dict(line.split(" -> ", 1) for line in link_part.splitlines() if " -> " in line)
    return stats, digests, links


def _state(path: str, stats: Mapping[str, list[str]], digests: Mapping[str, str], links: Mapping[str, str]) -> State:
    if path not in stats:
        return Absent()
    raw, mode, owner, group = stats[path]
    kind = _TYPES.get(stat.S_IFMT(int(raw, 16)), "special")
    attrs: dict[str, Plain] = {"type": kind, "mode": mode, "owner": owner, "group": group}
    if path in digests and kind == "file":
        attrs["sha256"] = digests[path]
    if path in links:
        attrs["target"] = links[path]
    return Present(attrs)
