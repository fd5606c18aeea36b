"""Policies and sets that users have made of a plug-in's own kinds: they go with its definitions when it leaves, are
kept in a file on the control plane, and are created again when it is back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.kube.atstake import OWN, is_users, kinds_there
from provisioner.kube.kubectl import KUBECTL
from provisioner.kube.marks import ask
from provisioner.kube.objects import list_json, object_key
from provisioner.kube.othersnetwork import as_made
from provisioner.kube.podmoves import FOLDER
from provisioner.resources.model import Runner
from provisioner.shell.quote import words
from provisioner.shell.script import Blob, Script
from provisioner.shell.worklock import locked

Object = dict[str, Any]
_LAST = "HostEndpoint"
"""It closes a host to all that no policy allows: policies come first."""


def keep_own(runner: Runner, plugin: str) -> None:
    """Writes those of `plugin`, which is about to leave, beside what still waits for it to be back; where it has no
    such kinds, nothing. To be called while its definitions are there. Raises ProvisionError."""
    if not OWN.get(plugin):
        return
    kinds, there = _there(runner, plugin)
    users = [
        as_made(each)
        for each in there
        if each["kind"] in kinds and is_users(each["kind"], each["metadata"]["name"])
    ]
    every = {object_key(each): each for each in (*kept_own(runner, plugin), *users)}
    script = f"""set -e
umask 077
mkdir -p {FOLDER}
cp "$W/own" {_file(plugin)}.new
mv {_file(plugin)}.new {_file(plugin)}
"""
    payload = {"own": Blob.of(list_json([*every.values()]))}
    _run(runner, Script(locked(script) + "\n", payload), "objects of users cannot be kept")


def kept_own(runner: Runner, plugin: str) -> list[Object]:
    """What waits for `plugin` to be back. Raises ProvisionError for a damaged file."""
    if not OWN.get(plugin):
        return []
    file = _file(plugin)
    said = _run(runner, Script(f"[ ! -e {file} ] || cat {file}\n"), f"{file} cannot be read")
    try:
        return [*json.loads(said)["items"]] if said.strip() else []
    except (ValueError, KeyError, TypeError) as fault:
        raise ProvisionError(
            f"{runner.host}: {file} is damaged: {fault}", "mend it, or move it away"
        ) from None


def restore_own(runner: Runner, plugin: str) -> list[str]:
    """Creates what was kept of `plugin`, whose definitions are there again, and forgets it. What is there by now stays
    as it is. Returns what is not created ("KIND NAMESPACE/NAME"), because its kind or its namespace is gone. Raises
    ProvisionError."""
    kept = kept_own(runner, plugin)
    if not kept:
        return []
    kinds, there = _there(runner, plugin)
    keys = {object_key(each) for each in there}
    missing = [each for each in kept if object_key(each) not in keys]
    wanted = [each for each in missing if each["kind"] in kinds and _space(each) in {"", *keys}]
    wanted.sort(key=lambda each: each["kind"] == _LAST)
    create = f'{KUBECTL} create -f "$W/own" >/dev/null\n' if wanted else ""
    script = f"set -e\n{create}rm -f {_file(plugin)}\n"
    payload = {"own": Blob.of(list_json(wanted))}
    _run(runner, Script(locked(script) + "\n", payload), "what users have made cannot be created again")
    return [object_key(each) for each in missing if each not in wanted]


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
