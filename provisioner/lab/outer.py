"""Sysctls of the machine that hosts need and cannot set; the last `down` puts them back.

They are global to the machine, so all labs share them. kubelet exits when it can neither find nor set the
first three (its protectKernelDefaults values); the inotify limits of a stock kernel end at about three
hosts.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from provisioner.lab.locks import RUN_DIRECTORY, locked, machine_lock

_WANTED = {"vm/overcommit_memory": 1, "kernel/panic": 10, "kernel/panic_on_oops": 1}
_AT_LEAST = {"fs/inotify/max_user_instances": 8192, "fs/inotify/max_user_watches": 524288}
_MEMORY = RUN_DIRECTORY / "machine.json"
_MADE = (Path("/run/systemd/nspawn"), Path("/run/systemd"))
_SYSCTL = Path("/proc/sys")


def claim(key: str) -> None:
    """Sets the machine for the lab `key`, and remembers what was there before."""
    with locked(machine_lock()):
        memory = _read()
        for name, value in (*_WANTED.items(), *_AT_LEAST.items()):
            now = int((_SYSCTL / name).read_text())
            if now != value and not (name in _AT_LEAST and now > value):
                memory["saved"].setdefault(name, now)
                _write(memory)
                (_SYSCTL / name).write_text(str(value))
        if key not in memory["labs"]:
            memory["labs"].append(key)
            _write(memory)


def release(key: str) -> None:
    """The lab `key` is gone. When it was the last one, everything is put back."""
    with locked(machine_lock()):
        memory = _read()
        memory["labs"] = [other for other in memory["labs"] if other != key and _alive(other)]
        if memory["labs"]:
            _write(memory)
            return
        for name, value in memory["saved"].items():
            (_SYSCTL / name).write_text(str(value))
        _MEMORY.unlink(missing_ok=True)
        for directory in _MADE:
            with suppress(OSError):  # on a machine that runs systemd they are in use
                directory.rmdir()


def _alive(key: str) -> bool:
    return Path(f"/run/netns/pv-{key}").exists()


def _read() -> dict[str, Any]:
    try:
        memory = json.loads(_MEMORY.read_text())
        return {"saved": dict(memory["saved"]), "labs": list(memory["labs"])}
    except (FileNotFoundError, ValueError, KeyError):
        return {"saved": {}, "labs": []}


def _write(memory: dict[str, Any]) -> None:
    temporary = _MEMORY.with_suffix(".tmp")
    temporary.write_text(json.dumps(memory))
    temporary.rename(_MEMORY)
