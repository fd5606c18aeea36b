"""The objects of a pod network that goes: kept in a file first, then taken away, what runs before what it uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.kube.kubectl import KUBECTL, KUBECTL_WAITING
from provisioner.kube.objects import list_json
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script
from provisioner.shell.worklock import locked

Object = dict[str, Any]
_RUNNING = ("DaemonSet", "Deployment")
_SECONDS = 120
# What is of a type whose definition is gone is gone with it.
_GONE = """
gone() { grep -qE "doesn't have a resource type|no matches for kind" "$W/said" || { cat "$W/said" >&2; return 1; }; }
"""


def backup(runner: Runner, objects: Sequence[Object], folder: str) -> None:
    """Writes those of `objects` that are there, as they are, and all that their definitions define, below `folder` on
    the runner's host; a backup that is whole stays. Raises ProvisionError."""
    place = quote(folder)
    script = f"""umask 077
mkdir -p {place}
[ ! -e {place}/objects.yaml ] || exit 0
{asked(objects, "yaml")}cp "$W/all" {place}/objects.yaml.new
mv {place}/objects.yaml.new {place}/objects.yaml
"""
    payload = {"objects.json": Blob.of(list_json(objects))}
    _run(runner, f"set -e\n{script}", "the backup of the former network's objects failed", payload)


def asked(objects: Iterable[Object], form: str) -> str:
    """Commands that write into "$W/all" those of `objects` ("$W/objects.json") that are there, and all that their
    definitions define, as two documents in the form "yaml" or "json"."""
    names = " ".join(map(quote, definitions(objects)))
    row = "{range .items[*]}{.metadata.name}{','}{end}"
    defined = f"""
have=$({KUBECTL} get crd {names} --ignore-not-found -o jsonpath={quote(row)})
[ -z "$have" ] || {{ echo {"---" * (form == "yaml")}; {KUBECTL} get "${{have%,}}" -A -o {form}; }} >>"$W/all"
"""
    return f"""
{KUBECTL} get -f "$W/objects.json" --ignore-not-found -o {form} >"$W/all"
{defined if names else ""}"""


def stop(runner: Runner, objects: Sequence[Object], keep: Sequence[Object] = ()) -> None:
    """Ends what runs of `objects`, and then deletes their definitions, with all that these define, but for those of
    `keep`. What has no life of its own is left. Raises ProvisionError."""
    running = "".join(
        f"{KUBECTL_WAITING}{_in(each)} delete {quote(kubectl_type(each))} {quote(each['metadata']['name'])}"
        f" --ignore-not-found --cascade=foreground --timeout={_SECONDS}s >/dev/null\n"
        for each in objects
        if each["kind"] in _RUNNING
    )
    names = [each for each in definitions(objects) if each not in definitions(keep)]
    gone = " ".join(map(quote, names))
    wait = f"--ignore-not-found --timeout={_SECONDS}s >/dev/null"
    defined = f"{KUBECTL_WAITING} delete crd {gone} {wait}\n" if names else ""
    _run(runner, locked(f"set -e\n{running}{defined}:") + "\n", "the former network's agents do not end")


def remove(runner: Runner, objects: Sequence[Object], keep: Sequence[Object] = ()) -> None:
    """Deletes what is still there of `objects`, but for `keep`; namespaces last, unless others have pods there. Raises
    ProvisionError."""
    kept = {_place(each) for each in keep}
    gone = [each for each in objects if _place(each) not in kept]
    lines = "".join(
        f"{_unless_inhabited(each)}{KUBECTL_WAITING}{_in(each)} delete {quote(kubectl_type(each))}"
        f' {quote(each["metadata"]["name"])} --ignore-not-found --timeout={_SECONDS}s >/dev/null 2>"$W/said" || gone\n'
        for each in sorted(gone, key=lambda each: each["kind"] == "Namespace")
    )
    _run(runner, locked(f"{_GONE}set -e\n{lines}:") + "\n", "the former network's objects do not go")


def definitions(objects: Iterable[Object]) -> list[str]:
    """Names of the custom resource definitions among them."""
    return [each["metadata"]["name"] for each in objects if each["kind"] == "CustomResourceDefinition"]


def kubectl_type(item: Object) -> str:
    """By which kubectl knows its type: "daemonset.apps"."""
    group = str(item["apiVersion"]).rpartition("/")[0]
    return f"{item['kind'].lower()}.{group}" if group else str(item["kind"].lower())


def _unless_inhabited(item: Object) -> str:
    if item["kind"] != "Namespace":
        return ""
    return f'[ -n "$({KUBECTL} -n {quote(item["metadata"]["name"])} get pods -o name)" ] ||\n  '


def _place(item: Object) -> tuple[str, str, str]:
    return item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _in(item: Object) -> str:
    namespace = item["metadata"].get("namespace")
    return f" -n {quote(namespace)}" if namespace else ""


def _run(runner: Runner, script: str, what: str, payload: Mapping[str, Blob] | None = None) -> None:
    result = runner.run(Script(script, payload or {}), deadline=3 * _SECONDS)
    if result.status != 0:
        said = result.stderr.decode(errors="replace").strip()[-400:]
        raise ProvisionError(f"{runner.host}: {what}: {said}", "mend that and run the same command again")
