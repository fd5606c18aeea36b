"""Policies and sets that users have made of a plug-in's own kinds: they go with its definitions when it leaves, are
kept in a file on all control planes, and are created again when it is back.

Of `planes` the first one is asked of the cluster."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.kube.atstake import OWN, is_users, kinds_there
from provisioner.kube.kubectl import KUBECTL
from provisioner.kube.marks import ask
from provisioner.kube.objects import list_json, object_key
from provisioner.kube.othersnetwork import as_made
from provisioner.kube.podcopies import FOLDER
from provisioner.resources.model import Runner
from provisioner.shell.quote import words
from provisioner.shell.script import Blob, Script
from provisioner.shell.worklock import locked

Object = dict[str, Any]
_CLOSING = "HostEndpoint"
"""It closes a host to all that no policy allows."""


def keep_own(planes: Sequence[Runner], plugin: str, made: Container[str] = ()) -> None:
    """Writes those of `plugin`, which is about to leave, but for `made` ("KIND NAME"), beside what still waits for it
    to be back; where it has no such kinds, nothing. To be called while its definitions are there. Raises
    ProvisionError."""
    if not OWN.get(plugin):
        return
    kinds, there = _there(planes[0], plugin)
    users = [
        as_made(each)
        for each in there
        if each["kind"] in kinds
        and is_users(each["kind"], each["metadata"]["name"])
        and object_key(each) not in made
    ]
    serial, kept = _newest(planes, plugin)
    every = {object_key(each): each for each in (*kept, *users)}
    if every:
        _write(planes, plugin, serial + 1, every)


def kept_own(planes: Sequence[Runner], plugin: str) -> list[Object]:
    """What waits for `plugin` to be back. Raises ProvisionError for a damaged file."""
    return _newest(planes, plugin)[1] if OWN.get(plugin) else []


def lost_own(runner: Runner, plugin: str, kept: Iterable[str]) -> list[str]:
    """What was once kept of `plugin` and is not among those `kept` by now, all as "KIND NAMESPACE/NAME"; `runner` asks
    the cluster. Raises ProvisionError."""
    if not OWN.get(plugin):
        return []
    noted = ask(runner, f"{_noted('get', plugin)} -o jsonpath='{{.data.names}}'\n")
    return sorted({*noted.decode(errors="replace").splitlines()} - {*kept})


def restore_own(planes: Sequence[Runner], plugin: str, *, hosts: bool = True) -> list[str]:
    """Creates what was kept of `plugin`, whose definitions are there again, and forgets that. What is there by now
    stays as it is. Without `hosts` host endpoints wait on, since they close a host to all that no policy allows, such
    as the packets of a network that is there beside. Returns what waits because its kind or its namespace is gone
    ("KIND NAMESPACE/NAME"). Raises ProvisionError."""
    if not OWN.get(plugin):
        return []
    serial, kept = _newest(planes, plugin)
    if not kept:
        _run(planes[0], _forgotten(plugin), "what was kept cannot be forgotten")
        return []
    kinds, there = _there(planes[0], plugin)
    keys = {object_key(each) for each in there}
    missing = [each for each in kept if object_key(each) not in keys]
    homeless = [each for each in missing if each["kind"] not in kinds or _space(each) not in {"", *keys}]
    closing = [each for each in missing if each["kind"] == _CLOSING and not hosts]
    waiting = {object_key(each): each for each in (*homeless, *closing)}
    _create(planes[0], [each for each in missing if object_key(each) not in waiting])
    if waiting:
        _write(planes, plugin, serial + 1, waiting)
    else:
        _run(planes[0], _forgotten(plugin), "what was kept cannot be forgotten")
        for plane in planes:
            _run(plane, Script(locked(f"rm -f {_file(plugin)}") + "\n"), f"{_file(plugin)} does not go")
    return [object_key(each) for each in homeless]


def _create(runner: Runner, items: Sequence[Object]) -> None:
    """Policies first."""
    if items:
        inorder = sorted(items, key=lambda each: each["kind"] == _CLOSING)
        script = Script(
            locked(f'{KUBECTL} create -f "$W/own" >/dev/null') + "\n", {"own": Blob.of(list_json(inorder))}
        )
        _run(runner, script, "what users have made cannot be created again")


def _newest(planes: Sequence[Runner], plugin: str) -> tuple[int, list[Object]]:
    """The serial and the objects of the newest file: one is older where a run was killed that wrote them."""
    file = _file(plugin)
    found: list[tuple[int, list[Object]]] = [(0, [])]
    for plane in planes:
        said = _run(plane, Script(f"[ ! -e {file} ] || cat {file}\n"), f"{file} cannot be read")
        try:
            kept = json.loads(said) if said.strip() else {"items": []}
            found.append((int(kept.get("metadata", {}).get("resourceVersion", 0)), [*kept["items"]]))
        except (ValueError, KeyError, TypeError, AttributeError) as fault:
            hint = "restore it from another control plane, or move it away"
            raise ProvisionError(f"{plane.host}: {file} is damaged: {fault}", hint) from None
    return max(found, key=lambda each: (each[0], len(each[1])))


def _write(planes: Sequence[Runner], plugin: str, serial: int, every: Mapping[str, Object]) -> None:
    script = f"""set -e
umask 077
mkdir -p {FOLDER}
cp "$W/own" {_file(plugin)}.new
mv {_file(plugin)}.new {_file(plugin)}
"""
    meta = {"resourceVersion": str(serial)}
    text = json.dumps({"apiVersion": "v1", "kind": "List", "metadata": meta, "items": [*every.values()]})
    for plane in planes:
        payload = {"own": Blob.of(text.encode())}
        _run(plane, Script(locked(script) + "\n", payload), "objects of users cannot be kept")
    apply = f'{KUBECTL} apply --server-side --force-conflicts --field-manager=provision-migrate -f "$W/note"'
    payload = {"note": Blob.of(json.dumps(_note(plugin, every)).encode())}
    _run(planes[0], Script(locked(f"{apply} >/dev/null") + "\n", payload), "what is kept cannot be noted")


def _noted(verb: str, plugin: str) -> str:
    return f"{KUBECTL} -n kube-system {verb} configmap provision-own-{plugin} --ignore-not-found"


def _forgotten(plugin: str) -> Script:
    return Script(locked(f"{_noted('delete', plugin)} >/dev/null") + "\n")


def _note(plugin: str, names: Iterable[str]) -> Object:
    """What tells, when control planes and their files are gone, that there was something."""
    meta = {"name": f"provision-own-{plugin}", "namespace": "kube-system"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": meta,
        "data": {"names": "\n".join(sorted(names))},
    }


def _there(runner: Runner, plugin: str) -> tuple[set[str], Sequence[Object]]:
    """Which of the kinds of `plugin`'s that users make are defined; and all objects of these, and namespaces."""
    columns = "--no-headers -o custom-columns=KIND:.spec.names.kind"
    script = f"""set -e
{kinds_there(OWN[plugin])}defined=$({KUBECTL} get crd {words(OWN[plugin])} --ignore-not-found {columns})
echo "$defined" | paste -s -d , -
{KUBECTL} get "namespaces${{kinds:+,$kinds}}" -A -o json
"""
    defined, _, items = ask(runner, script).decode(errors="replace").partition("\n")
    return {each.strip() for each in defined.split(",")}, json.loads(items)["items"]


def _space(item: Object) -> str:
    namespace = item["metadata"].get("namespace")
    return f"Namespace {namespace}" if namespace else ""


def _file(plugin: str) -> str:
    return f"{FOLDER}/own-{plugin}.json"


def _run(runner: Runner, script: Script, what: str) -> str:
    result = runner.run(script, deadline=120)
    if result.status != 0:
        said = result.stderr.decode(errors="replace").strip()[-400:]
        raise ProvisionError(f"{runner.host}: {what}: {said}", "mend that and run the same command again")
    return result.stdout.decode(errors="replace")
