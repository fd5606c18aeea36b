"""The module `ethtool`: queues, rings and offloads of network links, now (ethtool) and whenever a link comes up (a file
of udev rules that call ethtool).

Not .link files, although systemd.link(5) has much of it (RxChannels and RxBufferSize by version 239 and 244): of all
such files only the first that matches a link is applied, so that one of ours would take the place of the host's own,
and of 99-default.link, which gives links their lasting names. A rule is added to what others say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.resources.model import Absent, Change, Owned, Present, Resource, State, Unknown
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script

_RULES = "/etc/udev/rules.d/90-provision.rules"
_LINK = re.compile(r"[A-Za-z0-9_.@-]{1,15}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SHOW = {"channels": "-l", "rings": "-g", "offloads": "-k"}
_SET = {"channels": "-L", "rings": "-G", "offloads": "-K"}
_READ = """
if command -v ethtool >/dev/null; then
%s
else
  echo '!'
fi
"""
_TOLD = """\
[ -e /sys/class/net/%(link)s ] || { echo "this host has no link %(link)s" >&2; exit 1; }
ethtool %(option)s %(link)s %(word)s %(value)s >/dev/null || {
  echo "the driver of %(link)s does not take that: \\`ethtool %(show)s %(link)s\\` tells what it has" >&2
  exit 1
}
"""


@dataclass(frozen=True)
class _Setting:
    """A resource's name taken apart: "eth0 rings rx"."""

    link: str
    group: str
    word: str

    @classmethod
    def of(cls, name: str) -> _Setting:
        link, group, word = name.split(" ")
        return cls(link, group, word)

    @property
    def path(self) -> str:
        """What a change of it touches."""
        return f"/sys/class/net/{self.link}"

    @property
    def call(self) -> str:
        """What ethtool is called with to set it, but for the value."""
        return f"{_SET[self.group]} {self.link} {self.word}"


class EthtoolKind:
    """Present(`value`: a number, or on or off) of one setting of one link; Absent when there is no such link, or its
    driver has no such setting."""

    name = "ethtool"
    ours = ("value",)

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"links": list}, {"file": str})
        wanted = dict(_settings(task))
        if not wanted:
            raise task.error("sets nothing", "", "links")
        path = task.path("file") if task.args.get("file") else _RULES
        text = "".join(_rules(wanted))
        blob = Blob.of(text.encode())
        rights = {"type": "file", "mode": "644", "owner": "root", "group": "root", "sha256": blob.sha256}
        file = Resource("file", path, Present(rights), {"content": blob}, text, writes=(path,))
        return [file, *(_resource(name, value) for name, value in wanted.items())]

    def probe(self, resources: Sequence[Resource]) -> Script:
        pairs = dict.fromkeys(
            (each.link, each.group) for each in (_Setting.of(each.name) for each in resources)
        )
        lines = (
            f"  echo '={link} {group}'; ethtool {_SHOW[group]} {link} 2>/dev/null || :"
            for link, group in pairs
        )
        return Script(_READ % "\n".join(lines))

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        text = output.decode(errors="replace")
        if text.strip() == "!":
            return {each.id: Unknown("ethtool is not installed") for each in resources}
        found: dict[str, Mapping[str, str]] = {}
        for part in ("\n" + text).split("\n=")[1:]:
            head, _, body = part.partition("\n")
            found[head] = _offloads(body) if head.endswith(" offloads") else _numbers(body)
        return {each.id: _state(_Setting.of(each.name), found) for each in resources}

    def change(self, change: Change) -> Script:
        desired, setting = change.resource.desired, _Setting.of(change.resource.name)
        value = str(desired.attrs["value"]) if isinstance(desired, Present) else ""
        filled = {
            "link": setting.link,
            "word": setting.word,
            "value": quote(value),
            "option": _SET[setting.group],
            "show": _SHOW[setting.group],
        }
        return Script(_TOLD % filled)

    def gone(self, owned: Owned) -> Resource | None:
        """The value that it had. An offload of a link that was not there has its other one: it has two."""
        setting = _Setting.of(owned.name)
        before = dict(owned.before)
        if not before and setting.group == "offloads":
            before = {"value": "off" if owned.wanted.get("value") == "on" else "on"}
        return owned.wish(Present(before), (setting.path,)) if before else None


def _resource(name: str, value: str) -> Resource:
    return Resource("ethtool", name, Present({"value": value}), writes=(_Setting.of(name).path,))


def _settings(task: TaskCall) -> Iterator[tuple[str, str]]:
    """Names and values, in the order in which they are set: what a link has two wishes for has the last one."""
    for link in task.args["links"]:
        if not isinstance(link, Mapping) or not _LINK.fullmatch(str(link.get("link", ""))):
            raise task.error("a link needs the name 'link'", "as {link: eth0, rings: {rx: 1024}}", "links")
        for group in _SHOW:
            for word, value in (link.get(group) or {}).items():
                if not _WORD.fullmatch(str(word)):
                    raise task.error(f"'{word}' is no word of ethtool", "", "links")
                yield f"{link['link']} {group} {word}", _value(task, group, word, value)


def _value(task: TaskCall, group: str, word: str, value: Any) -> str:
    if group == "offloads" and isinstance(value, bool):
        return "on" if value else "off"
    if group != "offloads" and isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return str(value)
    wanted = "true or false" if group == "offloads" else "a number"
    raise task.error(f"'{word}' must be {wanted}, not {value!r}", "", "links")


def _rules(wanted: Mapping[str, str]) -> Iterator[str]:
    """A link that gets its lasting name moves to it (udev(7): ACTION), and is known by that then. The program is looked
    for, because its folder is not the same everywhere."""
    yield "# By provision: settings of network links whenever they come up. udev(7), ethtool(8).\n"
    for name, value in wanted.items():
        setting = _Setting.of(name)
        call = f"/bin/sh -c 'PATH=/usr/sbin:/usr/bin:/sbin:/bin; ethtool {setting.call} {value}'"
        yield f'ACTION=="add|move", SUBSYSTEM=="net", KERNEL=="{setting.link}", RUN+="{call}"\n'


def _offloads(text: str) -> dict[str, str]:
    """Lines as "tx-checksum-ip-generic: on", and behind that [fixed] or what was asked for."""
    lines = (line.strip().partition(": ") for line in text.splitlines())
    return {name: value.split()[0] for name, _, value in lines if value.split()}


def _numbers(text: str) -> dict[str, str]:
    """The second block, behind the maximums. ethtool writes "RX Mini" where it is told rx-mini."""
    now = text.partition("Current hardware settings:")[2]
    lines = (line.partition(":") for line in now.splitlines())
    return {name.strip().lower().replace(" ", "-"): value.strip() for name, _, value in lines}


def _state(setting: _Setting, found: Mapping[str, Mapping[str, str]]) -> State:
    value = found.get(f"{setting.link} {setting.group}", {}).get(setting.word, "n/a")
    return Absent() if value == "n/a" else Present({"value": value})
