"""The module `manifest`: Kubernetes objects, by server-side apply from a control-plane host.

One resource is one component; its attributes are its objects, each with a digest, so that the diff names exactly the
objects that differ. What differs is decided by the API server (`kubectl diff --server-side`), not by us.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import yaml

from provisioner.kube.components import labelled
from provisioner.kube.kubectl import FIELD_MANAGER, KUBECTL, PROBING
from provisioner.kube.objects import Object, diff_file, list_json, object_digest, object_key, split_first
from provisioner.resources.model import Absent, Change, Plain, Present, Resource, Section, State, Unknown
from provisioner.resources.task import TaskCall
from provisioner.shell.script import Blob, Script

_SIDE = f"--server-side --force-conflicts --field-manager={FIELD_MANAGER}"

# kubectl reads the live object and asks for the merged one in two requests. Whoever writes the object in between (a
# controller its status) makes them differ by no doing of ours; the merged one then stems from another resourceVersion.
_COLLECT = """#!/bin/sh
# Called by kubectl diff with the folders LIVE and MERGED: prints what differs, with sizes.
version() { sed -n 's/^  resourceVersion: //p' "$1" | tail -n 1; }
for m in "$2"/*; do
  [ -f "$m" ] || continue
  n=${m##*/}
  l="$1/$n"
  if [ ! -s "$l" ]; then s=absent; elif cmp -s "$l" "$m"; then s=same; else s=differs; fi
  if [ "$s" = same ]; then
    [ -n "${PROVISION_TEXTS:-}" ] || echo "same $n -"
    continue
  fi
  [ "$s" = absent ] || [ "$(version "$l")" = "$(version "$m")" ] || : >"$PROVISION_RACED"
  a=$(wc -c <"$m")
  b=0
  [ ! -f "$l" ] || b=$(wc -c <"$l")
  if [ -z "${PROVISION_TEXTS:-}" ]; then
    echo "$s $n $(cat "$l" 2>/dev/null | sha256sum | cut -c1-16)"
  else
    echo "$s $n $b $a"
    [ "$b" = 0 ] || cat "$l"
    cat "$m"
  fi
done
exit 0
"""

# ask NAME -f FILE ...: what kubectl says of the files. Starting it costs 0.15 s of CPU, so a probe asks once for all
# manifests; only when that fails (a namespace or kind that is not there yet) is each asked for by itself.
_ASK = f"""{PROBING}
chmod 755 "$P/collect"
export KUBECTL_EXTERNAL_DIFF="$P/collect" PROVISION_RACED="$P/raced"
ask() {{
  name=$1
  shift
  tries=10
  while :; do
    rm -f "$P/raced"
    probing diff {_SIDE} "$@" >"$P/answer" 2>"$P/fault" || return 1
    tries=$((tries - 1))
    if [ ! -e "$P/raced" ] || [ "$tries" = 0 ]; then break; fi
    sleep 0.1
  done
  echo "manifest $name $(wc -c <"$P/answer")"
  cat "$P/answer"
}}
"""
_TOGETHER = """
for f in "$P"/*.json; do set -- "$@" -f "$f"; done
[ "$#" -le 2 ] || ! ask all "$@" || exit 0
"""
_APART = """
for f in "$P"/*.json; do
  n=${f##*/}
  ask "${n%.json}" -f "$f" && continue
  echo "fault ${n%.json} $(tail -n 1 "$P/fault" | wc -c)"
  tail -n 1 "$P/fault"
done
:
"""


# Fields that another manager owns with another value are taken from it; an apply without force is what names it. One by
# one, because what kubectl says of a conflict does not name the object.
_OWNERS = f"""
for f in "$P"/*.object; do
  [ -e "$f" ] || continue
  {KUBECTL} apply --server-side --dry-run=server --field-manager={FIELD_MANAGER} -f - <"$f" >/dev/null 2>"$P/fault" &&
    continue
  n=${{f##*/}}
  echo "owners ${{n%.object}} $(wc -c <"$P/fault")"
  cat "$P/fault"
done
:
"""


class ManifestKind:
    """Attributes: one per object ("DaemonSet kube-flannel/kube-flannel-ds"), its digest when it is as wanted."""

    name = "manifest"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"name": str}, {"objects": list, "src": str})
        objects = _given(task)
        for item in objects:
            if (
                not isinstance(item, dict)
                or not item.get("kind")
                or not (item.get("metadata") or {}).get("name")
            ):
                raise task.error("every object needs apiVersion, kind and metadata.name")
        objects = labelled(str(task.args["name"]), objects)
        attrs: dict[str, Plain] = {object_key(item): object_digest(item) for item in objects}
        return [Resource("manifest", str(task.args["name"]), Present(attrs), {"objects": objects}, text="")]

    def probe(self, resources: Sequence[Resource]) -> Script:
        return _diff_script(resources, _ASK + "set --\n" + _TOGETHER + _APART)

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        states: dict[str, State] = {}
        for word, name, body in _answers(output):
            fault = word == "fault"
            lines = [] if fault else [line.split(" ") for line in body.decode(errors="replace").splitlines()]
            seen = {file: (state, digest) for state, file, digest in lines}
            for resource in resources if name == "all" else [resources[int(name)]]:
                said = Unknown(body.decode(errors="replace").strip()) if fault else _state(resource, seen)
                states[resource.id] = said
        return states

    def change(self, change: Change) -> Script:
        objects = change.resource.spec["objects"]
        if change.keys:
            objects = [item for item in objects if object_key(item) in change.keys]
        first, rest = split_first(objects)
        lines, payload = [], {}
        for name, group in (("first", first), ("rest", rest)):
            if group:
                payload[f"{name}.json"] = Blob.of(list_json(group))
                lines.append(f'{KUBECTL} apply {_SIDE} -f "$P/{name}.json" >/dev/null')
            if name == "first" and any(item["kind"] == "CustomResourceDefinition" for item in first):
                lines.append(
                    f'{KUBECTL} wait --for=condition=Established --timeout=60s -f "$P/first.json" >/dev/null'
                )
        return Script("\n".join(lines) + "\n", payload)

    def show(self, changes: Sequence[Change]) -> Script:
        """Prints live and wanted text of every object that differs, and who owns fields that will be taken."""
        main = "PROVISION_TEXTS=1\nexport PROVISION_TEXTS\n" + _ASK + _APART + _OWNERS
        script = _diff_script([change.resource for change in changes], main)
        objects = {
            f"{index}-{number}.object": Blob.of(list_json([item]))
            for index, change in enumerate(changes)
            for number, item in enumerate(change.resource.spec["objects"])
            if _differs(change, item)
        }
        return replace(script, payload={**script.payload, **objects})

    def parse_shown(self, output: bytes, changes: Sequence[Change]) -> Mapping[str, tuple[Section, ...]]:
        answers = _answers(output)
        taken: dict[int, dict[str, str]] = {}
        for word, name, body in answers:
            if word == "owners":
                index, number = map(int, name.split("-"))
                file = diff_file(changes[index].resource.spec["objects"][number])
                taken.setdefault(index, {})[file] = taken_fields(body.decode(errors="replace"))
        return {
            changes[int(name)].resource.id: _texts(body, taken.get(int(name), {}))
            for word, name, body in answers
            if word == "manifest"
        }


def _given(task: TaskCall) -> list[Object]:
    if (task.args.get("objects") is None) == (task.args.get("src") is None):
        raise task.error("needs either 'objects' or 'src' (a template)")
    if task.args.get("objects") is not None:
        return list(task.args["objects"])
    path = task.source("templates")
    try:
        return [item for item in yaml.load_all(task.render(path), Loader=yaml.CSafeLoader) if item]
    except yaml.YAMLError as fault:
        raise task.error(f"{path.name} gives no readable YAML: {fault}", "", "src") from None


def _diff_script(resources: Sequence[Resource], main: str) -> Script:
    payload = {
        f"{index}.json": Blob.of(list_json(each.spec["objects"])) for index, each in enumerate(resources)
    }
    payload["collect"] = Blob.of(_COLLECT.encode())
    return Script(main, payload)


def _differs(change: Change, item: Object) -> bool:
    """Whether the object is there and not as wanted."""
    before = change.before.attrs if isinstance(change.before, Present) else {}
    return str(before.get(object_key(item), "")).startswith("differs")


_CONFLICT = re.compile(
    r'conflicts? with "(?P<who>[^"]*)"(?: with subresource "[^"]*")? using .*?:(?:\s+(?P<field>\..*))?$'
)


def taken_fields(said: str) -> str:
    """Which fields belong to whom, from what kubectl says of conflicts; "" when it speaks of something else."""
    fields: dict[str, list[str]] = {}
    own: list[str] = []
    for line in said.splitlines():
        if found := _CONFLICT.search(line):
            own = fields.setdefault(found["who"], [])
            own += [found["field"]] if found["field"] else []
        elif line.startswith("- ") and fields:
            own.append(line[2:])
        elif fields:
            break
    return "; ".join(f"{', '.join(those)} from {who}" for who, those in fields.items())


def _answers(output: bytes) -> list[tuple[str, str, bytes]]:
    """(word, name, body) of each part: "manifest" or "fault" with the number of the resource or "all", or "owners"."""
    answers = []
    while output:
        head, _, rest = output.partition(b"\n")
        word, number, size = head.split()
        answers.append((word.decode(), number.decode(), rest[: int(size)]))
        output = rest[int(size) :]
    return answers


def _state(resource: Resource, seen: Mapping[str, tuple[str, str]]) -> State:
    attrs: dict[str, Plain] = {}
    for item in resource.spec["objects"]:
        state, digest = seen.get(diff_file(item), ("unseen", ""))
        if state == "same":
            attrs[object_key(item)] = object_digest(item)
        elif state in {"differs", "unseen"}:
            attrs[object_key(item)] = f"{state} {digest}".strip()
    return Present(attrs) if attrs else Absent()


def _texts(body: bytes, taken: Mapping[str, str]) -> tuple[Section, ...]:
    sections = []
    while body:
        head, _, rest = body.partition(b"\n")
        state, name, live, merged = head.decode().split(" ")
        before, after = rest[: int(live)], rest[int(live) : int(live) + int(merged)]
        body = rest[int(live) + int(merged) :]
        if state != "same":
            title = f"{name}  (takes {taken[name]})" if taken.get(name) else name
            sections.append(Section(title, before.decode(errors="replace"), after.decode(errors="replace")))
    return tuple(sections)


def digest_of_text(text: str) -> str:
    """Digest of a configuration text for a pod template's annotation: a new text rolls the pods."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
