"""One real host of a lab, with `provision` and with plain ssh, for the tests of kinds."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ADDRESS = "10.98.31.11"
INVENTORY = f"""\
all:
  vars:
    lab: {{name: kinds, subnet: 10.98.31.0/24}}
    ansible_user: root
  hosts:
    one: {{ansible_host: {ADDRESS}}}
"""
REPOSITORY = r"""
set -eu
mkdir -p /srv/deb/pkg/DEBIAN /srv/unwanted
printf 'Package: provision-test\nVersion: 1\nArchitecture: all\nMaintainer: test <t@example.org>\nDescription: test\n' \
  >/srv/deb/pkg/DEBIAN/control
cd /srv/deb
dpkg-deb -b pkg one.deb >/dev/null
{ cat pkg/DEBIAN/control; echo "Filename: ./one.deb"; echo "Size: $(stat -c %s one.deb)"
  echo "SHA256: $(sha256sum one.deb | cut -d' ' -f1)"; } >Packages
echo 'deb [trusted=yes] file:/srv/deb ./' >/etc/apt/sources.list
rm -rf /var/lib/apt/lists/*
apt-get -q update >/dev/null
"""


@dataclass(frozen=True)
class Host:
    """The lab's host, with `provision` and with plain ssh."""

    folder: Path
    environment: dict[str, str]

    def provision(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            self.argv(*words), env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def argv(self, *words: str) -> list[str]:
        return [str(Path(sys.executable).with_name("provision")), *words]

    def apply(self, *, status: int = 0) -> str:
        return self.provision("apply", self.inventory, "--playbook", self.book, "--yes", status=status)

    def plan(self) -> dict[str, list[str]]:
        """Keys (or the action) by resource."""
        words = ("plan", self.inventory, "--playbook", self.book, "--json")
        done = subprocess.run(
            self.argv(*words), env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        events = [json.loads(line) for line in done.stdout.splitlines()]
        (plan,) = [event for event in events if event["event"] == "Plan"]
        assert done.returncode == (2 if plan["changes"] else 0), done.stderr
        assert "hunter2" not in done.stdout + done.stderr
        return {
            each["resource"]: each["keys"] if each["action"] == "update" else [each["action"]]
            for each in plan["changes"]
        }

    def ssh(self, script: str) -> str:
        lab = self.folder / "state/provision/labs/kinds"
        argv = [
            "ssh",
            "-i",
            str(lab / "id_ed25519"),
            "-o",
            f"UserKnownHostsFile={lab / 'known_hosts'}",
            "-o",
            "BatchMode=yes",
        ]
        done = subprocess.run(
            [*argv, f"root@{ADDRESS}", script], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def invocation(self) -> str:
        return self.ssh("systemctl show -p InvocationID --value sleeper")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    @property
    def inventory(self) -> str:
        return str(self.folder / "inventory.yaml")

    @property
    def book(self) -> str:
        return str(self.folder / "book.yaml")


@contextmanager
def one_host(folder: Path) -> Iterator[Host]:
    """A lab of its own; what playbooks take lies in `folder`."""
    one = Host(folder, {**os.environ, "XDG_STATE_HOME": str(folder / "state")})
    one.write("inventory.yaml", INVENTORY)
    for name in ("files", "templates"):
        (folder / name).mkdir()
    (folder / "files" / "large").write_bytes(os.urandom(3_000_001))
    with tarfile.open(folder / "files" / "things.tgz", "w:gz") as tar:
        for name, kind in (("folder", tarfile.DIRTYPE), ("folder/file", tarfile.REGTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o755
            tar.addfile(info, io.BytesIO())
    one.provision("lab", "up", one.inventory)
    try:
        one.ssh(REPOSITORY)
        yield one
    finally:
        one.provision("lab", "down", one.inventory)


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """For all tests of kinds: brought up for the first, taken down after the last."""
    with one_host(tmp_path_factory.mktemp("kinds")) as one:
        yield one
