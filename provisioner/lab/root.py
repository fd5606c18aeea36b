"""The cached Debian root that all lab hosts share, as read-only layers of an overlay.

Each layer is a directory under the user's cache, named by what it was made from. A layer is built under a
temporary name and renamed when it is complete, so that a directory with the right name is always whole.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import platformdirs

from provisioner.bundle.mirror import mirror_for, proxy
from provisioner.engine.events import Emit, Note, Progress, Step
from provisioner.errors import ProvisionError
from provisioner.lab import kernel, recipe
from provisioner.lab.locks import locked
from provisioner.lab.plan import LabPlan
from provisioner.lab.requirements import require_builder
from provisioner.lab.sandbox import contained, in_layer

_NO_NETWORK = "is the Debian archive of this machine's apt configuration reachable?"
_DEBOOTSTRAP_LINES = ("I: Retrieving", "I: Extracting", "I: Unpacking", "I: Configuring")
_APT_LINES = ("Get:", "Unpacking", "Setting up")


def cache_directory() -> Path:
    """Where layers are kept, over labs and boots."""
    return platformdirs.user_cache_path("provision") / "roots"


def layers(plan: LabPlan, emit: Emit) -> tuple[Path, ...]:
    """The lower layers for the lab's hosts, top first; builds what is not cached (about a minute, once)."""
    packages = recipe.packages_of(bare=plan.bare)
    base_key = recipe.base_key(plan.suite, platform.machine(), bare=plan.bare)
    base = _cached(base_key, "base root", emit, lambda made: _build_base(plan.suite, packages, made, emit))
    found = [base]
    if plan.packages:
        key = recipe.packages_key(base_key, plan.packages)
        found.insert(
            0,
            _cached(
                key, "extra packages", emit, lambda made: _build_packages(base, plan.packages, made, emit)
            ),
        )
    if kernel.own_modules() is None:
        config = kernel.configuration()
        key = recipe.digest("kernel", base_key, kernel.release(), kernel.modules_builtin(config))
        found.insert(0, _cached(key, "kernel modules", emit, lambda made: _build_modules(base, config, made)))
    return tuple(found)


def _cached(key: str, what: str, emit: Emit, build: Callable[[Path], None]) -> Path:
    """The layer named `key`. `build` makes a tree at `upper` inside the directory that it is given."""
    cache = cache_directory()
    final = cache / key
    if final.is_dir():
        return final
    waiting = Note(message=f"another run builds the {what}; waiting for it")
    with locked(cache / f".{key}.lock", waiting=lambda: emit(waiting)):
        if not final.is_dir():
            for stale in cache.glob(f".{key}.tmp-*"):
                shutil.rmtree(stale)
            started = time.monotonic()
            made = cache / f".{key}.tmp-{os.getpid()}"
            made.mkdir()
            made.chmod(0o755)
            build(made)
            (made / "upper").rename(final)
            shutil.rmtree(made)
            emit(Step(task="lab root", subject=what, seconds=time.monotonic() - started))
    return final


def _reporter(emit: Emit, subject: str, prefixes: tuple[str, ...]) -> Callable[[str], None]:
    done = 0

    def line(text: str) -> None:
        nonlocal done
        if text.startswith(prefixes):
            done += 1
            emit(Progress(task="lab root", subject=subject, done=done, unit="steps"))

    return line


def _environment() -> dict[str, str]:
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", **proxy()}


def _build_base(suite: str, packages: tuple[str, ...], made: Path, emit: Emit) -> None:
    require_builder()
    source = mirror_for(suite)
    tree = made / "upper"
    options = [f"--include={','.join(packages)}", "--variant=minbase"]
    options += [f"--keyring={source.keyring}"] if Path(source.keyring).is_file() else []
    options += ["--no-check-gpg"] if source.trusted else []
    argv = ["debootstrap", *options, suite, str(tree), source.uri]
    contained(argv, _environment(), _reporter(emit, "base root", _DEBOOTSTRAP_LINES), _NO_NETWORK)
    for name, text in recipe.FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    contained(["chroot", str(tree), "/bin/sh", "-c", recipe.FINISH], _environment(), lambda _line: None)


def _build_packages(base: Path, packages: tuple[str, ...], made: Path, emit: Emit) -> None:
    line = _reporter(emit, "extra packages", _APT_LINES)
    in_layer(base, made, recipe.INSTALL, packages, _environment(), line, "check the names in lab.packages")


def _build_modules(base: Path, config: str, made: Path) -> None:
    if not config:
        raise ProvisionError(
            "neither /proc/config.gz nor /lib/modules tells what this kernel has",
            "install the running kernel's modules or configuration",
        )
    script = 'mkdir -p "$1" && printf %s "$2" >"$1/modules.builtin" && : >"$1/modules.order" && depmod "$3"'
    where = f"/lib/modules/{kernel.release()}"
    arguments = (where, kernel.modules_builtin(config), kernel.release())
    in_layer(base, made, script, arguments, _environment(), lambda _line: None)
