"""What hosts have of a cluster that others have built: services with their flags, and the files that those name."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from provisioner.kube.serviceflags import Flags, command, environment, environment_files, flags
from provisioner.playbook.facts import Facts

SERVICES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""Of a control plane."""


class UnusableError(Exception):
    """What is there cannot be used as it is; the message says why, and `hint` what mends it, where that is known."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


@dataclass(frozen=True)
class Service:
    """`unit` is the text of its unit file, `conf` the path of its options, `variable` their name in it."""

    name: str
    unit: str
    conf: str
    variable: str
    binary: str
    flags: Flags

    def flag(self, name: str) -> str:
        """Raises UnusableError when it is not set."""
        value = self.flags.get(name)
        if not value:
            raise UnusableError(f"{self.conf}: {self.name} has no --{name}")
        return value


@dataclass(frozen=True)
class FoundHost:
    """`files` by path; those of units are under "unit:" and their path. `version` is the API server's, "" where there
    is none, and `kubectl` whether there is one at the place where scripts of ours look for it."""

    name: str
    files: Mapping[str, bytes] = field(repr=False)
    version: str = ""
    kubectl: bool = False

    @classmethod
    def of(cls, name: str, facts: Facts, folder: str) -> FoundHost:
        """Lines that are garbled are left out: what was in them is missing then."""
        files: dict[str, bytes] = {}
        for line in (facts.existing.reveal() if facts.existing else "").splitlines():
            path, _, content = line.rpartition(" ")
            try:
                files[path] = base64.b64decode(content, validate=True)
            except ValueError:
                continue
        version = files.pop(f"{folder}/bin/kube-apiserver", b"").decode(errors="replace").split()
        kubectl = files.pop("/opt/kubernetes/bin/kubectl", None) is not None
        return cls(name, files, version[-1] if version else "", kubectl)

    def text(self, path: str) -> str:
        """Raises UnusableError when it is not there, or no text."""
        if path not in self.files:
            raise UnusableError(f"{path} is not there")
        try:
            return self.files[path].decode()
        except UnicodeDecodeError:
            raise UnusableError(f"{path} is no text") from None

    def has(self, service: str) -> bool:
        """Whether a unit of this name is there."""
        return self._unit(service) is not None

    def service(self, name: str) -> Service:
        """Raises UnusableError when there is none, or its files cannot be read as systemd reads them."""
        path = self._unit(name)
        if path is None:
            raise UnusableError(f"there is no unit {name}.service")
        unit = self.text(path)
        where = path.removeprefix("unit:")
        variables: dict[str, tuple[str, str]] = {}
        for conf in environment_files(unit):
            try:
                read = environment(self.text(conf))
            except ValueError as fault:
                raise UnusableError(f"{conf}: {fault}") from None
            variables |= {key: (value, conf) for key, value in read.items()}
        values = {key: value for key, (value, _) in variables.items()}
        used = next((key for key in variables if f"${key}" in unit or f"${{{key}}}" in unit), "")
        if not used:
            raise UnusableError(f"{where}: its flags are in no EnvironmentFile")
        conf = variables[used][1]
        try:
            binary, *words = command(unit, values)
            return Service(name, unit, conf, used, binary, flags(words))
        except ValueError as fault:
            raise UnusableError(f"{conf}: {fault}") from None

    def _unit(self, service: str) -> str | None:
        end = f"/{service}.service"
        return next((path for path in self.files if path.startswith("unit:") and path.endswith(end)), None)
