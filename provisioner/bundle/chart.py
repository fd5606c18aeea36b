"""Renders a Helm chart that a Go module carries. Helm itself is built once, and kept beside what it made."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from provisioner.bundle import golang, oci
from provisioner.bundle.catalogue import Component, Module
from provisioner.bundle.store import Store
from provisioner.engine.events import Emit
from provisioner.errors import ProvisionError

HELM = Module("helm.sh/helm/v3", directory="helm", packages=("helm.sh/helm/v3/cmd/helm",))
_TAIL = 15


def render(component: Component, workspace: Path, store: Store, emit: Emit) -> Path:
    """The chart's objects as one file of YAML. The same chart and values give the same bytes as long as the chart
    draws nothing at random. Raises ProvisionError with Helm's last words."""
    chart = component.module.chart
    if chart is None:
        raise ValueError(f"{component.name} has no chart")
    folder = golang.module_directory(component.module, workspace) / chart.path
    command = [str(_helm(workspace / "helm", store, emit)), "template", chart.release, str(folder)]
    command += ["--namespace", chart.namespace, "--kube-version", chart.kubernetes]
    for name, value in chart.values:
        command += ["--set", f"{name}={value}"]
    # Nothing of the user's: neither his plug-ins nor his repositories.
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(workspace)}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").splitlines()[-_TAIL:]
        raise ProvisionError(
            f"{component.name}: helm template ended with {done.returncode}:\n"
            + "\n".join(f"  {line}" for line in lines),
            "do the values of the catalogue fit the chart's version?",
        )
    target = workspace / "manifest"
    target.write_bytes(done.stdout)
    return target


def _helm(workspace: Path, store: Store, emit: Emit) -> Path:
    """The program for this machine, named by all that it is made of."""
    sums = [oci.digest_of((HELM.wrapper / name).read_bytes()) for name in ("go.mod", "go.sum")]
    key = oci.digest_of(oci.encode([*sums, golang.toolchain_version()]))[7:23]
    program = store.root / "tools" / key / "helm"
    if not program.exists():
        workspace.mkdir()
        work = golang.Compilation("helm", HELM, golang.host_architecture(), workspace / "programs")
        (made,) = golang.compile_packages(work, workspace, emit).values()
        program.parent.mkdir(parents=True, exist_ok=True)
        made.replace(program)
    return program
