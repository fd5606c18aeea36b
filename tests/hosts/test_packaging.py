"""The wheel, installed in an environment of its own and used from an empty folder: it has all that it needs.

In this tier because `render` reads the bundle.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import click
import pytest

from provisioner.playbook.facts import Facts
from provisioner.playbook.factsfile import write_facts

ROOT = Path(__file__).parents[2]
SOURCES = ("provisioner", "playbooks", "templates", "inventories", "pyproject.toml", "README.md")
HOSTS = {"registry1": "10.98.0.10", "cp1": "10.98.0.11", "worker1": "10.98.0.21", "worker2": "10.98.0.22"}


def pip(*words: str | Path) -> None:
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools leaves its traces beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name)
        else:
            shutil.copy(ROOT / name, source)
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, source)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program `provision` of an environment that has the wheel and, by a link, this one's dependencies."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, with_pip=False)
    pip("--python", home / "bin" / "python", "install", "--quiet", "--no-deps", "--no-index", wheel)
    (site,) = home.glob("lib/python3*/site-packages")
    (site / "dependencies.pth").write_text(f"{Path(click.__file__).parents[1]}\n")
    return home / "bin" / "provision"


def provision(program: Path, empty: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_STATE_HOME": str(empty / "state")}
    environment.pop("PYTHONPATH", None)
    folder = empty / "here"
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [program, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def facts(name: str, address: str) -> Facts:
    return Facts(
        architecture="amd64",
        kernel="6.1.0",
        hostname=name,
        os_id="debian",
        os_version="12",
        clock_skew=0.0,
        swap=False,
        memory=4_000_000,
        addresses={"eth0": (f"{address}/24",)},
        default_link="eth0",
    )


def test_every_file_of_data_is_in_it(wheel: Path) -> None:
    packed = {
        name.partition(".data/data/share/provision/")[2] or name for name in zipfile.ZipFile(wheel).namelist()
    }
    wanted = {
        str(path.relative_to(ROOT))
        for folder in SOURCES[:4]
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert wanted
    assert not wanted - packed


def test_render(installed: Path, tmp_path: Path) -> None:
    inventory = installed.parents[1] / "share/provision/inventories/lab.yaml"
    write_facts(tmp_path / "facts.json", {name: facts(name, address) for name, address in HOSTS.items()})
    words = ("--facts", tmp_path / "facts.json", "-o", tmp_path / "out")
    done = provision(installed, tmp_path, "render", inventory, *words)
    assert done.returncode == 0, done.stderr
    assert "--node-ip=10.98.0.22" in (tmp_path / "out/worker2/etc/systemd/system/kubelet.service").read_text()
    assert (tmp_path / "out/manifests/flannel.yaml").is_file()


def test_bundle(installed: Path, tmp_path: Path) -> None:
    """The catalogue and the sources of what is built are there: of the smallest component, for real."""
    made = provision(
        installed, tmp_path, "bundle", "build", "pause", "--source", "module", "-o", tmp_path / "bundle"
    )
    assert made.returncode == 0, made.stderr
    shown = provision(installed, tmp_path, "bundle", "inspect", tmp_path / "bundle")
    assert shown.returncode == 0, shown.stderr
    assert "/pause:" in shown.stdout + shown.stderr


def test_lab_status(installed: Path, tmp_path: Path) -> None:
    inventory = installed.parents[1] / "share/provision/inventories/lab.yaml"
    done = provision(installed, tmp_path, "lab", "status", inventory, "--name", "nowhere", "--json")
    assert done.returncode == 1, done.stderr
    assert [host["name"] for host in json.loads(done.stdout)["hosts"]] == list(HOSTS)
