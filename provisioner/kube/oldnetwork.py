"""The objects of a pod network that goes: kept in a file first, then taken away, what runs before what it uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.kube.components import INHABITED
from provisioner.kube.kubectl import KUBECTL, KUBECTL_WAITING
from provisioner.kube.objects import list_json, of_kubernetes
from provisioner.resources.model import Runner
from provisioner.shell.quote import quote
from provisioner.shell.script import Blob, Script
from provisioner.shell.worklock import locked

Object = dict[str, Any]
_RUNNING = ("DaemonSet", "Deployment")
_DEFINITION = "CustomResourceDefinition"
_SECONDS = 120
_NOTES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "flannel": (
        "flannel.alpha.coreos.com",
        ("backend-data", "backend-type", "backend-v6-data", "kube-subnet-manager", "public-ip", "public-ipv6"),
    ),
    "calico": (
        "projectcalico.org",
        (
            "IPv4Address", "IPv6Address", "IPv4IPIPTunnelAddr", "IPv4VXLANTunnelAddr", "IPv6VXLANTunnelAddr",
            "VXLANTunnelMACAddr", "VXLANTunnelMACAddrV6", "IPv4WireguardInterfaceAddr", "IPv6WireguardInterfaceAddr",
            "WireguardPublicKey", "WireguardPublicKeyV6", "Interfaces",
        ),
    ),
}  # fmt: skip
"""By plug-in the annotations of nodes that its agents write (flannel 0.28, pkg/subnet/kube/annotations.go; Calico 3.28,
libcalico-go/lib/backend/k8s/resources/node.go). Those that users write, such as public-ip-overwrite, ASNumber or
RouteReflectorClusterID, are not among them: they stay."""


def backup(runner: Runner, objects: Sequence[Object], folder: str) -> None:
    """Writes those of `objects` that are there, as they are, and all that their definitions define, below `folder` on
    the runner's host; a backup that is whole stays. Raises ProvisionError."""
    place = quote(folder)
    script = f"""set -e
umask 077
mkdir -p {place}
[ ! -e {place}/objects.yaml ] || exit 0
{asked(objects, "yaml")}cp "$W/all" {place}/objects.yaml.new
mv {place}/objects.yaml.new {place}/objects.yaml
"""
    payload = {"objects.json": Blob.of(list_json(plain(objects)))}
    _run(runner, script, "the backup of the former network's objects failed", payload)


def plain(objects: Sequence[Object]) -> list[Object]:
    """Those that no definition among them defines."""
    own = {name.partition(".")[2] for name in definitions(objects)}
    return [each for each in objects if str(each["apiVersion"]).partition("/")[0] not in own]


def asked(objects: Iterable[Object], form: str) -> str:
    """Commands that write into "$W/all" those of the plain ones ("$W/objects.json") that are there, and all that
    definitions among `objects` define, as documents in the form "yaml" or "json". In few calls: each costs an API
    server on the same two cores as much as a request of a pod may wait."""
    names = " ".join(map(quote, definitions(objects)))
    mark = "---" if form == "yaml" else ""
    defined = f"""{KUBECTL} get crd {names} --ignore-not-found -o name >"$W/names"
kinds=$(sed 's|.*/||' "$W/names" | paste -s -d , -)
if [ -n "$kinds" ]; then
  echo {mark} >>"$W/all"
  {KUBECTL} get "$kinds" -A -o {form} >>"$W/all"
fi
"""
    return f"""{KUBECTL} get -f "$W/objects.json" --ignore-not-found -o {form} >"$W/all"
{defined if names else ""}"""


def stop(runner: Runner, objects: Sequence[Object], keep: Sequence[Object] = ()) -> bool:
    """Ends what runs of `objects`, and then deletes their definitions, with all that these define, but for those of
    `keep`. What has no life of its own is left. Whether anything was there. Raises ProvisionError."""
    running = "".join(
        f"{KUBECTL_WAITING}{_in(each)} delete {quote(_type(each))} {quote(each['metadata']['name'])}"
        f" --ignore-not-found --cascade=foreground --timeout={_SECONDS}s\n"
        for each in objects
        if each["kind"] in _RUNNING
    )
    names = [each for each in definitions(objects) if each not in definitions(keep)]
    gone = " ".join(map(quote, names))
    wait = f"--ignore-not-found --timeout={_SECONDS}s"
    defined = f"{KUBECTL_WAITING} delete crd {gone} {wait}\n" if names else ""
    script = locked(f"set -e\n{running}{defined}:") + "\n"
    return bool(_run(runner, script, "the former network's agents do not end").strip())


def remove(runner: Runner, objects: Sequence[Object], keep: Sequence[Object] = ()) -> list[str]:
    """Deletes what is still there of `objects`, but for `keep`, once they are stopped; namespaces last. Returns those
    that stay, because others have things there, or what is there cannot be asked. Raises ProvisionError."""
    kept = {_place(each) for each in keep}
    gone = [each for each in plain(objects) if _place(each) not in kept and each["kind"] != _DEFINITION]
    spaces = [quote(each["metadata"]["name"]) for each in gone if each["kind"] == "Namespace"]
    delete = f"{KUBECTL_WAITING} delete --ignore-not-found --timeout={_SECONDS}s"
    lines = f'{delete} -f "$W/objects.json" >/dev/null\n' + "".join(
        f"if inhabited {each}; then echo {each}; else {delete} namespace {each} >/dev/null; fi\n"
        for each in spaces
    )
    payload = {"objects.json": Blob.of(list_json([each for each in gone if each["kind"] != "Namespace"]))}
    script = locked(f"set -e\n{INHABITED if spaces else ''}{lines}:") + "\n"
    return _run(runner, script, "the former network's objects do not go", payload).split()


def forget_notes(runner: Runner, plugin: str) -> None:
    """Takes away what the plug-in's agents, which have ended, have written into annotations of nodes. Raises
    ProvisionError."""
    if plugin not in _NOTES:
        return
    group, names = _NOTES[plugin]
    keys = " ".join(f"{group}/{name}-" for name in names)
    script = locked(f"{KUBECTL} annotate nodes --all {keys} >/dev/null") + "\n"
    _run(runner, script, "annotations of nodes do not go")


def definitions(objects: Iterable[Object]) -> list[str]:
    """Names of the custom resource definitions among them that are the network's own: Kubernetes' own may be there
    because of others, who have objects of them, and stay."""
    names = [each["metadata"]["name"] for each in objects if each["kind"] == _DEFINITION]
    return [each for each in names if not of_kubernetes(each)]


def _type(item: Object) -> str:
    """By which kubectl knows its type: "daemonset.apps"."""
    group = str(item["apiVersion"]).rpartition("/")[0]
    return f"{item['kind'].lower()}.{group}" if group else str(item["kind"].lower())


def _place(item: Object) -> tuple[str, str, str]:
    return item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _in(item: Object) -> str:
    namespace = item["metadata"].get("namespace")
    return f" -n {quote(namespace)}" if namespace else ""


def _run(runner: Runner, script: str, what: str, payload: Mapping[str, Blob] = MappingProxyType({})) -> str:
    """What it prints."""
    result = runner.run(Script(script, payload), deadline=3 * _SECONDS)
    if result.status != 0:
        said = result.stderr.decode(errors="replace").strip()[-400:]
        raise ProvisionError(f"{runner.host}: {what}: {said}", "mend that and run the same command again")
    return result.stdout.decode(errors="replace")
