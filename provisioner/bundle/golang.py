"""Builds with Go's toolchain, in the user's own caches and through the module proxy that he has
configured.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from provisioner.bundle.catalogue import Module
from provisioner.engine.events import Emit, Progress
from provisioner.errors import ProvisionError

_TAIL = 15
_REPORT_SECONDS = 0.5


@dataclass(frozen=True)
class Compilation:
    """One `go build`: `module`'s packages for linux on `architecture`, into `output` (a directory)."""

    component: str
    module: Module
    architecture: str
    output: Path


def toolchain_version() -> str:
    """As in `go1.26.8`. Raises ProvisionError when Go is not installed."""
    return _run(("go", "env", "GOVERSION"), Path.cwd(), os.environ).strip()


def host_architecture() -> str:
    """Of this machine, as in `amd64`. Raises ProvisionError when Go is not installed."""
    return _run(("go", "env", "GOHOSTARCH"), Path.cwd(), os.environ).strip()


def compile_packages(work: Compilation, workspace: Path, emit: Emit) -> dict[str, Path]:
    """Build every package of the module; returns the program of each.

    Raises ProvisionError with the last lines.
    """
    wrapper = _wrapper(work.module, workspace)
    programs = {}
    for package in work.module.packages:
        programs[package] = work.output / _program_name(package, work.component)
    command = ["go", "build", "-v", "-trimpath", "-ldflags", " ".join(("-s -w", *work.module.ldflags))]
    if work.module.directory:
        command.append("-mod=readonly")
    if work.module.tags:
        command.append("-tags=" + ",".join(work.module.tags))
    # A single package may be called anything; of several, Go names each by its directory.
    single = len(programs) == 1
    target = next(iter(programs.values())) if single else work.output
    work.output.mkdir(parents=True, exist_ok=True)
    _follow(
        [*command, "-o", str(target), *work.module.packages],
        wrapper,
        _environment(work),
        work.component,
        emit,
    )
    return programs


def module_file(module: Module, workspace: Path) -> Path:
    """The path of `module.file` in Go's module cache."""
    path = module_directory(module, workspace) / module.file
    if not path.is_file():
        raise ProvisionError(f"the module {module.path} has no file {module.file}")
    return path


def module_directory(module: Module, workspace: Path) -> Path:
    """Where Go's module cache has the module, downloaded and checked against go.sum if need be."""
    command = ("go", "list", "-mod=readonly", "-m", "-json", module.path)
    wrapper = _wrapper(module, workspace)
    _run(("go", "mod", "download", module.path), wrapper, os.environ)
    return Path(json.loads(_run(command, wrapper, os.environ))["Dir"])


def _program_name(package: str, component: str) -> str:
    return component if package == "." else package.rpartition("/")[2]


def _wrapper(module: Module, workspace: Path) -> Path:
    """A copy: the package may be installed where nobody may write, and Go wants to lock beside go.mod."""
    target = workspace / "wrapper"
    if not target.exists():
        shutil.copytree(module.wrapper, target)
    return target


def _environment(work: Compilation) -> dict[str, str]:
    return {
        **os.environ,
        "GOOS": "linux",
        "GOARCH": work.architecture,
        "CGO_ENABLED": "1" if work.module.cgo else "0",
        "GOWORK": "off",
        **({"GOTOOLCHAIN": work.module.toolchain} if work.module.toolchain else {}),
    }


def _run(command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            command, cwd=directory, env=dict(environment), capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise _missing() from None
    if done.returncode:
        raise _failed(command, done.returncode, done.stderr.splitlines()[-_TAIL:])
    return done.stdout


def _follow(
    command: Sequence[str], directory: Path, environment: Mapping[str, str], component: str, emit: Emit
) -> None:
    """Run `go build -v`, which names each package that it compiles on a line of its own."""
    try:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=dict(environment),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
    except FileNotFoundError:
        raise _missing() from None
    tail: deque[str] = deque(maxlen=_TAIL)
    packages, reported = 0, 0.0
    with process:
        try:
            assert process.stderr is not None  # noqa: S101 — asked for above
            for line in process.stderr:
                if " " in line.strip():
                    tail.append(line.rstrip())
                    continue
                packages += 1
                if time.monotonic() - reported > _REPORT_SECONDS:
                    emit(Progress(task="compile", subject=component, done=packages, unit="packages"))
                    reported = time.monotonic()
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise _failed(command, process.returncode, list(tail))


def _missing() -> ProvisionError:
    return ProvisionError(
        "`go` is not installed",
        "install Go 1.25 or newer, or take the publishers' files with --source release",
    )


def _failed(command: Sequence[str], status: int, tail: Sequence[str]) -> ProvisionError:
    lines = "\n".join(f"  {line}" for line in tail)
    return ProvisionError(
        f"{' '.join(command)} ended with {status}:\n{lines}",
        "if a module could not be fetched, look at GOPROXY, GOFLAGS and GOTOOLCHAIN in `go env`",
    )
