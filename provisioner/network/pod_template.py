"""Edits of one container of a workload in an upstream manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.kube.objects import object_key
from provisioner.network.patches import Edit, Path

_POD: Path = ("spec", "template", "spec")


@dataclass(frozen=True)
class Container:
    """`target` is the workload's key, `path` the container's in it, `variables` its own, in order."""

    target: str
    path: Path
    variables: tuple[Mapping[str, Any], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the variables."""
        return tuple(variable["name"] for variable in self.variables)

    @classmethod
    def of(
        cls, objects: Sequence[dict[str, Any]], target: str, name: str, group: str = "containers"
    ) -> Container:
        """Raises ProvisionError when there is none of the name."""
        for item in objects:
            if object_key(item) != target:
                continue
            for index, each in enumerate(item["spec"]["template"]["spec"].get(group) or []):
                if each["name"] == name:
                    return cls(target, (*_POD, group, index), tuple(each.get("env") or ()))
        raise ProvisionError(f"the upstream manifest has no container {name} in {target}")

    def env(self, name: str, value: str, why: str) -> Iterator[Edit]:
        """The variable has the value, whether it was there or not."""
        yield self._variable({"name": name, "value": value}, why)

    def env_of_pod(self, name: str, field: str, why: str) -> Iterator[Edit]:
        """The variable has what stands in a field of the pod ("status.hostIP")."""
        yield self._variable({"name": name, "valueFrom": {"fieldRef": {"fieldPath": field}}}, why)

    def _variable(self, variable: dict[str, Any], why: str) -> Edit:
        name = variable["name"]
        where = self.names.index(name) if name in self.names else "+"
        return Edit(self.target, (*self.path, "env", where), variable, why)

    def without(self, names: Iterable[str], why: str) -> Iterator[Edit]:
        """Those of the variables that are there go. After all other edits of variables, whose places change by it."""
        unwanted = set(names)
        for variable in self.variables:
            if variable["name"] in unwanted:
                yield Edit(self.target, (*self.path, "env", "-"), dict(variable), why)

    def removed(self, below: Path, value: Any, why: str) -> Edit:
        """`value` is taken out of a list, where it has to be."""
        return Edit(self.target, (*self.path, *below, "-"), value, why)
