"""Ownership of Kubernetes objects: all of a component bear a label, and one that no manifest wants is deleted.

The label in the cluster is the record, with the field manager that put it there: it outlives controllers and control
planes, and nothing without both is touched. A copy that somebody made has the label alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from provisioner.kube.kubectl import FIELD_MANAGER, KUBECTL, KUBECTL_WAITING, PROBING
from provisioner.kube.objects import Object, of_kubernetes
from provisioner.resources.model import Absent, Change, Present, Resource, State
from provisioner.resources.task import TaskCall
from provisioner.shell.quote import quote
from provisioner.shell.script import Script

LABEL = "provision.dev/component"

_LISTED = """
Deployment.apps DaemonSet.apps StatefulSet.apps Job.batch CronJob.batch
MutatingWebhookConfiguration.admissionregistration.k8s.io ValidatingWebhookConfiguration.admissionregistration.k8s.io
APIService.apiregistration.k8s.io Service PodDisruptionBudget.policy NetworkPolicy.networking.k8s.io
ConfigMap Secret RoleBinding.rbac.authorization.k8s.io Role.rbac.authorization.k8s.io
ClusterRoleBinding.rbac.authorization.k8s.io ClusterRole.rbac.authorization.k8s.io ServiceAccount
PriorityClass.scheduling.k8s.io RuntimeClass.node.k8s.io StorageClass.storage.k8s.io
IngressClass.networking.k8s.io CustomResourceDefinition.apiextensions.k8s.io Namespace
"""
_TYPES = tuple(_LISTED.split())
"""What manifests are made of, in the order in which it goes: first what runs, last what other things live in."""

_DEFINITION = "CustomResourceDefinition.apiextensions.k8s.io"
"""Those of Kubernetes' own projects stay: others may have brought them, too."""
_DEFINED = (
    "NetworkAttachmentDefinition.k8s.cni.cncf.io",
    "BGPPeer.crd.projectcalico.org",
    "APIServer.operator.tigera.io",
    "ImageSet.operator.tigera.io",
)
"""What comes and goes with the spec, and is defined by manifests: it is asked for as long as the definition is wanted,
so that the last one goes, too. (Without it the API server knows no such type, and the whole question would fail.)"""

_ROW = (
    r'{range .items[*]}{.kind}{"\t"}{.apiVersion}{"\t"}{.metadata.namespace}{"\t"}{.metadata.name}{"\t"}'
    r'{.metadata.labels.provision\.dev/component}{"\t"}{.metadata.managedFields[*].manager}{"\n"}{end}'
)

# A namespace may have become home to things of others; what every namespace has by itself does not count.
INHABITED = f"""
inhabited() {{
  # What cannot be asked counts as yes.
  types=$({KUBECTL} api-resources --verbs=list --namespaced -o name) && [ -n "$types" ] || return 0
  found=$({KUBECTL} -n "$1" get "$(echo "$types" | paste -s -d , -)" -o name --ignore-not-found) || return 0
  for o in $found; do
    case $o in
      configmap/kube-root-ca.crt | serviceaccount/default) ;;
      event/* | event.events.k8s.io/* | endpoints/* | endpointslice.discovery.k8s.io/*) ;;
      *) return 0 ;;
    esac
  done
  return 1
}}
"""
"""Defines `inhabited`: whether a namespace has anything in it."""
_DELETE = f"""{INHABITED}
used() {{
  found=$({KUBECTL} get "$1" --all-namespaces -o name) || return 0
  [ -n "$found" ]
}}
gone() {{
  if [ "$1" = namespace ] && inhabited "$3"; then
    echo "the namespace $3 stays: others have things in it" >&2
    {KUBECTL} label --overwrite namespace "$3" {LABEL}- >/dev/null
    return 0
  fi
  if [ "$1" = customresourcedefinition.apiextensions.k8s.io ] && used "$3"; then
    echo "the custom resource definition $3 stays: there are objects of it" >&2
    {KUBECTL} label --overwrite "$1" "$3" {LABEL}- >/dev/null
    return 0
  fi
  {KUBECTL_WAITING} delete "$1" --ignore-not-found --cascade=foreground --timeout=90s --namespace="$2" \\
    -l {LABEL} --field-selector="metadata.name=$3" >/dev/null
}}
"""


class ComponentsKind:
    """Present({component: objects}) of labelled objects that no manifest wants; Absent when there are none."""

    name = "components"

    def build(self, task: TaskCall) -> Sequence[Resource]:
        raise task.error("this is not for playbooks: it follows from their manifests")

    def probe(self, resources: Sequence[Resource]) -> Script:
        kinds = dict.fromkeys(kind for each in resources for kind in each.spec["types"])
        types = quote(",".join(kind.lower() for kind in kinds))
        return Script(f"{PROBING}probing get {types} --all-namespaces -l {LABEL} -o jsonpath={quote(_ROW)}\n")

    def parse(self, output: bytes, resources: Sequence[Resource]) -> Mapping[str, State]:
        rows = [line.split("\t") for line in output.decode(errors="replace").splitlines()]
        found = [
            (component, _reference(*row))
            for *row, component, managers in rows
            if _ours(row[0], frozenset(managers.split()))
        ]
        return {each.id: _left(found, each.spec["wanted"]) for each in resources}

    def change(self, change: Change) -> Script:
        groups = change.before.attrs.values() if isinstance(change.before, Present) else ()
        objects = [each for group in groups if isinstance(group, tuple) for each in group]
        order = {kind: place for place, kind in enumerate(_TYPES)}
        objects.sort(key=lambda each: order.get(each.split(" ")[0], -1))
        return Script(_DELETE + "".join(_gone(each) for each in objects))


def _ours(kind: str, managers: frozenset[str]) -> bool:
    """A namespace that somebody else has written, too, may have been there before: it is nobody's to take away."""
    return managers == {FIELD_MANAGER} if kind == "Namespace" else FIELD_MANAGER in managers


def labelled(component: str, objects: Iterable[Object]) -> list[Object]:
    """The objects with the label of their component."""

    def one(item: Object) -> dict[str, Any]:
        metadata = item["metadata"]
        return {
            **item,
            "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), LABEL: component}},
        }

    return [one(item) for item in objects]


def components(objects: Iterable[Object]) -> Resource:
    """The wish that the cluster has no labelled objects but `objects`."""
    items = list(objects)
    wanted = frozenset(reference for item in items for reference in _references(item))
    definitions = [item["spec"] for item in items if item["kind"] == "CustomResourceDefinition"]
    defined = {f"{each['names']['kind']}.{each['group']}" for each in definitions}
    asked = [each for each in _DEFINED if each in defined]
    types = dict.fromkeys([*(each.split(" ")[0] for each in sorted(wanted)), *asked, *_TYPES])
    return Resource("components", "all", Absent(), {"wanted": wanted, "types": tuple(types)})


def _references(item: Object) -> Iterator[str]:
    """With and without its namespace: which kinds have one only the API server knows."""
    metadata = item["metadata"]
    for namespace in (metadata.get("namespace", "default"), ""):
        yield _reference(item["kind"], item["apiVersion"], namespace, metadata["name"])


def _reference(kind: str, version: str, namespace: str, name: str) -> str:
    """ "Kind.group namespace/name", which is the same for all versions of a group."""
    group = version.rpartition("/")[0]
    where = f"{namespace}/{name}" if namespace else name
    return f"{kind}.{group} {where}" if group else f"{kind} {where}"


def _left(found: Iterable[tuple[str, str]], wanted: frozenset[str]) -> State:
    left: dict[str, list[str]] = {}
    for component, reference in found:
        kind, _, name = reference.partition(" ")
        if reference not in wanted and not (kind == _DEFINITION and of_kubernetes(name)):
            left.setdefault(component, []).append(reference)
    return Present({name: tuple(sorted(each)) for name, each in left.items()}) if left else Absent()


def _gone(reference: str) -> str:
    kind, _, where = reference.partition(" ")
    namespace, _, name = where.rpartition("/")
    return f"gone {quote(kind.lower())} {quote(namespace)} {quote(name)}\n"
