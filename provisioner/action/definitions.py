"""What the spec hands on to a plug-in's own resources and pods, held against the release in the bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provisioner.bundle.layout import Bundle
from provisioner.errors import InputError, Problem
from provisioner.inventory.model import Inventory
from provisioner.inventory.words import nearest
from provisioner.network.crd import misfits, schema_of
from provisioner.network.felixvariables import misread
from provisioner.network.podnetwork import PodNetwork
from provisioner.network.podsettings import pod_misfits
from provisioner.spec.felixwords import PREFIX, variable_of, variables_of
from provisioner.spec.model import ClusterSpec

_AT = ("network", "calico")


def check_definitions(inventory: Inventory, spec: ClusterSpec, bundle: Bundle) -> None:
    """Raises InputError with each field that the release has not, or not with such a value, where it is written."""
    read = PodNetwork(spec, lambda name: bundle.artifact(name).path.read_text(encoding="utf-8"))
    problems = [
        *(
            each
            for path, (kind, said) in _handed(spec).items()
            if said
            for each in _problems(inventory, read, path, kind, said)
        ),
        *_unread(inventory, read, _variables(spec)),
        *(_pod_problems(inventory, spec, read) if spec.network.pods.containers else ()),
    ]
    if problems:
        raise InputError(problems)


def _handed(spec: ClusterSpec) -> dict[tuple[str, ...], tuple[str, Mapping[str, object]]]:
    """By its place, the kind of object that it is a part of, and what is said."""
    network = spec.network
    if network.plugin not in ("calico", "canal"):
        return {}
    handed: dict[tuple[str, ...], tuple[str, Mapping[str, object]]] = {
        (*_AT, "felix"): ("FelixConfiguration", network.calico.felix)
    }
    if network.calico.operated:
        further = network.calico.operator.installation
        handed[*_AT, "operator", "installation"] = ("Installation", further)
    return handed


def _pod_problems(inventory: Inventory, spec: ClusterSpec, read: PodNetwork) -> Iterator[Problem]:
    for each in pod_misfits(spec.network.pods, read.upstream):
        where = inventory.origin(None, "cluster", "network", "pods", *each.path, key=each.key)
        yield Problem(*where, f"{each.reason} ({read.artifact})", each.hint)


def _variables(spec: ClusterSpec) -> dict[str, str]:
    """Those of Felix."""
    env = spec.network.calico.env if spec.network.plugin in ("calico", "canal") else {}
    return {name: value for name, value in env.items() if name.upper().startswith(PREFIX)}


def _unread(inventory: Inventory, read: PodNetwork, variables: Mapping[str, str]) -> Iterator[Problem]:
    """Felix passes over a variable that it does not know, and over most values that it cannot read."""
    if not variables:
        return
    fields = schema_of(read.upstream, "FelixConfiguration", read.artifact)["properties"]["spec"]["properties"]
    known = {each.removeprefix(PREFIX): each for each in variables_of(fields)}
    known = {**{each.upper(): variable_of(each) for each in fields}, **known}
    for name in variables:
        if name not in known.values():
            near = nearest(name[len(PREFIX) :], sorted(known))
            hint = (
                f"did you mean '{known[near]}'?"
                if near
                else f"{PREFIX}, and a field's name in capital letters"
            )
            where = inventory.origin(None, "cluster", *_AT, "env", name, key=True)
            yield Problem(*where, f"{name}: Felix of {read.artifact} reads no such variable", hint)
    for name, hint in misread(variables, fields):
        where = inventory.origin(None, "cluster", *_AT, "env", name)
        yield Problem(*where, f"{name}: Felix of {read.artifact} cannot read {variables[name]!r}", hint)


def _problems(
    inventory: Inventory, read: PodNetwork, path: tuple[str, ...], kind: str, said: Mapping[str, object]
) -> Iterator[Problem]:
    """Of a part of an object: what is missing in it may be in the rest."""
    schema = schema_of(read.upstream, kind, read.artifact)["properties"]["spec"]
    for each in misfits(dict(said), schema, path[-1]):
        partial = each.missing and kind == "Installation"
        if not partial:
            where = inventory.origin(None, "cluster", *path[:-1], *each.path, key=each.unknown)
            yield Problem(*where, f"{each.reason} ({kind} of {read.artifact})", each.hint)
