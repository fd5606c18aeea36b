"""The objects of a pod network that goes: kept in a file first, then taken away, what runs before what it uses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.kube.kubectl import KUBECTL, KUBECTL_WAITING
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote
from provisioner.shell.script import Script
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
    lines = "".join(
        f"{KUBECTL}{_in(each)} get {quote(kubectl_type(each))} {quote(each['metadata']['name'])}"
        ' --ignore-not-found -o yaml >"$W/one"\n[ ! -s "$W/one" ] || { echo ---; cat "$W/one"; } >>"$W/all"\n'
        for each in objects
    )
    defined = "".join(
        f"! {KUBECTL} get crd {quote(name)} -o name >/dev/null 2>&1 ||\n"
        f'  {{ echo ---; {KUBECTL} get {quote(name)} -A -o yaml; }} >>"$W/all"\n'
        for name in definitions(objects)
    )
    place = quote(folder)
    script = f"""umask 077
mkdir -p {place}
[ ! -e {place}/objects.yaml ] || exit 0
: >"$W/all"
{lines}{defined}cp "$W/all" {place}/objects.yaml.new
mv {place}/objects.yaml.new {place}/objects.yaml
"""
    _run(runner, f"set -e\n{script}", "the backup of the former network's objects failed")


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


def _run(runner: Runner, script: str, what: str) -> None:
    result = runner.run(Script(script), deadline=3 * _SECONDS)
    if result.status != 0:
        said = result.stderr.decode(errors="replace").strip()[-400:]
        raise ProvisionError(f"{runner.host}: {what}: {said}", "mend that and run the same command again")
