"""The three tools and the floor: how each is installed and called."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.hosts import Lab

_TREE = Path(__file__).parent.parent
_PINNED = {
    "ansible": ("ansible-core==2.19.14",),
    "pyinfra": ("pyinfra==3.10.0", "PyYAML==6.0.3"),
}

_ANSIBLE_CFG = """\
[defaults]
forks = 20
gathering = explicit
private_key_file = {folder}/id_ed25519
stdout_callback = default
local_tmp = {work}/.ansible
[connection]
pipelining = True
[ssh_connection]
ssh_args = -o ControlMaster=auto -o ControlPersist=600s -o UserKnownHostsFile={folder}/known_hosts
control_path_dir = {work}/cp
"""


@dataclass(frozen=True)
class Tool:
    """`unchanged` is a text by which the tool says that it changed nothing."""

    name: str
    argv: Sequence[str]
    unchanged: str
    env: Mapping[str, str] = field(default_factory=dict)


def tools(lab: Lab, work: Path, cache: Path) -> tuple[Tool, ...]:
    """All three, ready to run in `work`."""
    inventory = str(lab.inventory)
    (work / "ansible.cfg").write_text(_ANSIBLE_CFG.format(folder=lab.folder, work=work), encoding="utf-8")
    shared = {"BENCH_INVENTORY": inventory, "BENCH_LAB": str(lab.folder)}
    ansible, pyinfra = _venv(cache, "ansible"), _venv(cache, "pyinfra")
    return (
        provision(lab.inventory, cache),
        Tool(
            "ansible-core",
            (f"{ansible}/bin/ansible-playbook", "-i", inventory, "ansible.yaml"),
            "changed=0",
            {"ANSIBLE_CONFIG": str(work / "ansible.cfg"), "ANSIBLE_NOCOWS": "1"},
        ),
        Tool(
            "pyinfra",
            (f"{pyinfra}/bin/pyinfra", "-y", "pyinfra_inventory.py", "pyinfra_deploy.py"),
            "",
            shared,
        ),
    )


def provision(inventory: Path, cache: Path) -> Tool:
    """This tree's provision, installed as users install it: an editable installation starts 0.03 s later."""
    folder = cache / "provision"
    argv = (f"{folder}/bin/provision", "apply", str(inventory), "--playbook", "provision.yaml", "--yes")
    return Tool("provision", argv, "nothing to change")


def install(cache: Path) -> None:
    """Installs this tree into a virtual environment of its own. pip builds beside the sources, so it gets a copy."""
    folder, sources = cache / "provision", cache / "sources"
    if not (folder / "bin" / "pip").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    shutil.rmtree(sources, ignore_errors=True)
    sources.mkdir()
    for name in ("pyproject.toml", "README.md", "provisioner", "playbooks", "templates"):
        source = _TREE / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, sources / name)
    pip = [f"{folder}/bin/pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, str(sources)], check=True)
    subprocess.run([*pip, "--force-reinstall", "--no-deps", str(sources)], check=True)


def floor(lab: Lab, work: Path) -> None:
    """The same bytes by `ssh` and `tar` alone, in parallel: no tool can be faster."""
    lab.everywhere("mkdir -p /opt/bench/bin && tar -xzf - -C /opt/bench/bin", work / "files" / "payload.tgz")


def _venv(cache: Path, name: str) -> Path:
    """A virtual environment of its own with what is pinned, made once."""
    folder = cache / "-".join((name, *(each.replace("==", "-") for each in _PINNED[name])))
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([f"{folder}/bin/pip", "install", "--quiet", *_PINNED[name]], check=True)
        (folder / "complete").touch()
    return folder
