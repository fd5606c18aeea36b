"""The real kubeadm, from the Go module that the bundle's Kubernetes is built from; the bundle itself has none."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from platformdirs import user_cache_path

from provisioner.bundle import catalogue, golang
from provisioner.bundle.catalogue import Component
from provisioner.bundle.frommodule import NO_INPUTS
from provisioner.bundle.recipe import module_key
from provisioner.engine.events import silent

_PACKAGE = "k8s.io/kubernetes/cmd/kubeadm"


def kubeadm() -> Path:
    """The program, built once (half a minute beside a warm build cache) and kept by what it is made of.

    Raises ProvisionError or AssertionError, with Go's last words, when it cannot be built.
    """
    component = _component()
    kept = user_cache_path("provision") / "tests"
    target = kept / f"kubeadm-{module_key(component, NO_INPUTS, golang.toolchain_version())[:16]}"
    if not target.exists():
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept) as name:
            _require_more(component, Path(name) / "wrapper")
            work = golang.Compilation(
                component.name, component.module, component.architecture, Path(name) / "programs"
            )
            (program,) = golang.compile_packages(work, Path(name), silent).values()
            program.replace(target)
    return target


def image_names(program: Path, version: str) -> list[str]:
    """The images that a cluster of this version (`v1.33.13`) is made of."""
    argv = [str(program), "config", "images", "list", "--kubernetes-version", version]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()


def _component() -> Component:
    (kubelet,) = catalogue.select(catalogue.load(), ["kubelet"])
    module = replace(kubelet.module, packages=(_PACKAGE,))
    return replace(kubelet, name="kubeadm", title="kubeadm", module=module)


def _require_more(component: Component, wrapper: Path) -> None:
    """kubeadm needs a few modules that nothing of the bundle does, at the versions that Kubernetes says; Go's checksum
    database knows them."""
    shutil.copytree(component.module.wrapper, wrapper)
    argv = ["go", "list", "-mod=mod", "-deps", "-f", "{{.ImportPath}}", _PACKAGE]
    done = subprocess.run(argv, cwd=wrapper, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
