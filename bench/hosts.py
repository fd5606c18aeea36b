"""The lab's hosts, reached by OpenSSH: what is measured must not be what measures."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml
from platformdirs import user_state_path

from bench.measure import BenchError

PROVISION = (str(Path(sys.executable).with_name("provision")),)


@dataclass(frozen=True)
class Lab:
    """`addresses` by host; `folder` holds the key and the known hosts."""

    inventory: Path
    folder: Path
    addresses: Mapping[str, str]

    @property
    def ssh(self) -> list[str]:
        options = [f"UserKnownHostsFile={self.folder / 'known_hosts'}", "BatchMode=yes", "LogLevel=ERROR"]
        return [
            "ssh",
            "-i",
            str(self.folder / "id_ed25519"),
            *(word for each in options for word in ("-o", each)),
        ]

    def everywhere(self, command: str, stdin: Path | None = None) -> dict[str, str]:
        """Runs `command` on all hosts at once; its output by host. Raises BenchError."""

        def one(address: str) -> str:
            source = stdin.open("rb") if stdin else subprocess.DEVNULL
            done = subprocess.run(
                [*self.ssh, f"root@{address}", command],
                stdin=source,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise BenchError(f"{address}: {command}: {done.stderr.strip()}")
            return done.stdout

        with ThreadPoolExecutor(len(self.addresses)) as threads:
            return dict(zip(self.addresses, threads.map(one, self.addresses.values()), strict=True))


def up(inventory: Path, subnet: str | None) -> Lab:
    """Brings the lab up. Raises BenchError."""
    extra = ["--subnet", subnet] if subnet else []
    argv = [*PROVISION, "lab", "up", str(inventory), *extra, "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"the lab does not come up:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Lab(
        Path(found["inventory"]).resolve(),
        user_state_path("provision") / "labs" / found["name"],
        found["hosts"],
    )


def down(lab: Lab) -> None:
    """Takes the lab away."""
    subprocess.run([*PROVISION, "lab", "down", str(lab.inventory)], check=True)


def aliases(inventory: Path, count: int, target: Path) -> None:
    """Writes to `target` the inventory with `count` names for its hosts: as many connections as that many hosts."""
    data = yaml.safe_load(inventory.read_text(encoding="utf-8"))
    hosts = list(data["all"]["children"]["node"]["hosts"].values())
    named = {f"alias{number:03}": hosts[number % len(hosts)] for number in range(count)}
    data["all"]["children"]["node"]["hosts"] = named
    target.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
