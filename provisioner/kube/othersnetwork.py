"""The objects of a pod network that others have installed: found where they lie, and kept as they were made, so that
they can be made again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.kube.atstake import OWN, is_users
from provisioner.kube.kubectl import KUBECTL
from provisioner.kube.marks import ask
from provisioner.kube.objects import list_json, object_key
from provisioner.kube.oldnetwork import asked, plain
from provisioner.resources.model import Runner
from provisioner.shell.script import Blob, Script

Object = dict[str, Any]
_DEFINITION = "CustomResourceDefinition"
_SHARED = ("kube-system", "default")
"""Namespaces that are no network's own."""
_BY_AGENTS = (
    "IPAMBlock",
    "IPAMHandle",
    "BlockAffinity",
    "ClusterInformation",
    "CalicoNodeStatus",
)
"""Custom resources that agents write by themselves."""
_OF_SERVER = (
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "selfLink",
    "ownerReferences",
)
_NOTES_OF_SERVER = ("deprecated.daemonset.template.generation", "deployment.kubernetes.io/revision")


@dataclass(frozen=True)
class Agents:
    """A plug-in's agents: the DaemonSets, all of one `namespace`."""

    namespace: str
    daemon_sets: tuple[Object, ...]


def agents_of(runner: Runner, plugin: str) -> list[Agents]:
    """By namespace; none where the plug-in is not there. They are known by what their containers run, whatever they are
    called. Raises ProvisionError when the API server does not answer."""
    found: dict[str, list[Object]] = {}
    for each in json.loads(ask(runner, f"{KUBECTL} get daemonsets.apps -A -o json\n"))["items"]:
        if {_agent(one) for one in each["spec"]["template"]["spec"]["containers"]} - {""} == {plugin}:
            found.setdefault(each["metadata"]["namespace"], []).append(each)
    return [Agents(namespace, tuple(sets)) for namespace, sets in sorted(found.items())]


def _agent(container: Object) -> str:
    """The plug-in whose agent runs in it, in all of upstream's manifests (flannel 0.7 to 0.28, Calico 3, Cilium 1); ""
    for all else."""
    program = str((container.get("command") or [""])[0]).rpartition("/")[2]
    image = str(container.get("image", "")).partition("@")[0].rpartition("/")[2].partition(":")[0]
    if program == "flanneld" or image == "flannel":
        return "flannel"
    if program == "cilium-agent":
        return "cilium"
    return "calico" if image == "node" and container["name"] == "calico-node" else ""


def read_made(runner: Runner, agents: Agents, upstream: Sequence[Object]) -> list[Object]:
    """The agents, and those of `upstream`'s objects that are there, in the agents' namespace where they have one; and
    what their definitions define, but for what users have made of it: that is theirs to change meanwhile, and is kept
    as it is when the network leaves (ownobjects). As somebody made them. Raises ProvisionError when the API server does
    not answer."""
    own = {("DaemonSet", each["metadata"]["name"]) for each in agents.daemon_sets}
    wanted = [
        moved
        for each in upstream
        if (moved := _in_namespace(each, agents.namespace)) and _key(moved) not in own
    ]
    script = f'set -e\n{asked(wanted, "json")}cat "$W/all"\n'
    result = runner.run(Script(script, {"objects.json": Blob.of(list_json(plain(wanted)))}), deadline=120)
    if result.status != 0:
        said = result.stderr.decode(errors="replace").strip()[-400:]
        raise ProvisionError(f"{runner.host}: the network's objects cannot be read: {said}")
    found = [item for each in _documents(result.stdout) for item in _items(each)]
    users = _kinds_of_users(found)
    its = {object_key(each) for each in wanted}
    made = [
        as_made(each)
        for each in (*found, *map(_whole, agents.daemon_sets))
        if each["kind"] not in _BY_AGENTS
        and not (
            _typed(each) in users
            and is_users(each["kind"], each["metadata"]["name"])
            and object_key(each) not in its
        )
    ]
    return sorted(made, key=lambda each: each["kind"] == "DaemonSet")


def _kinds_of_users(found: Sequence[Object]) -> set[tuple[str, str]]:
    """(group, kind) of those that the definitions among `found` define."""
    names = {name for kinds in OWN.values() for name in kinds}
    specs = [
        each["spec"] for each in found if each["kind"] == _DEFINITION and each["metadata"]["name"] in names
    ]
    return {(each["group"], each["names"]["kind"]) for each in specs}


def _typed(item: Object) -> tuple[str, str]:
    return str(item["apiVersion"]).rpartition("/")[0], item["kind"]


def as_made(item: Mapping[str, Any]) -> Object:
    """Without what the API server has written into it."""
    made = {name: each for name, each in item.items() if name != "status"}
    metadata = {name: each for name, each in item["metadata"].items() if name not in _OF_SERVER}
    notes = {
        name: each for name, each in metadata.pop("annotations", {}).items() if name not in _NOTES_OF_SERVER
    }
    made["metadata"] = {**metadata, **({"annotations": notes} if notes else {})}
    if item["kind"] == "ServiceAccount":
        made.pop("secrets", None)
    if item["kind"] == "Namespace":
        made.pop("spec", None)
    return made


def _in_namespace(item: Object, namespace: str) -> Object | None:
    """As it is called there; None for a namespace that is not the network's own."""
    if item["kind"] == "Namespace":
        if namespace in _SHARED:
            return None
        return {**item, "metadata": {"name": namespace}}
    if "namespace" in item["metadata"]:
        return {**item, "metadata": {**item["metadata"], "namespace": namespace}}
    return item


def _key(item: Object) -> tuple[str, str]:
    return item["kind"], item["metadata"]["name"]


def _whole(daemon_set: Object) -> Object:
    """What is in a list has no kind of its own."""
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", **daemon_set}


def _documents(output: bytes) -> Iterator[Object]:
    text, decoder = output.decode(errors="replace").strip(), json.JSONDecoder()
    while text:
        item, end = decoder.raw_decode(text)
        yield item
        text = text[end:].lstrip()


def _items(item: Object) -> Iterable[Object]:
    return item["items"] if item["kind"].endswith("List") and "items" in item else [item]
