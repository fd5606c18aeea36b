"""Of an exchange of hours little is read at a time: some nodes, and at the end the whole no more than twice."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from provisioner.action.exchange import Running
from provisioner.kube.exchange import Exchange
from provisioner.kube.exchange_objects import FOLDER, PEERS
from provisioner.remote.outcome import Result
from provisioner.remote.pool import Pool
from provisioner.shell.script import Script

NODES = ("a", "b")


def uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


@dataclass
class Hosts:
    """Stands for a pool of two hosts that are this one. From the fourth look on answers come."""

    root: Path
    looks: int = 0
    lengths: list[int] = field(default_factory=list)

    def map(self, hosts: Iterable[str], ask: Callable[[Any], Result]) -> Mapping[str, Result]:
        self.looks += 1
        if self.looks > 3:
            for name in NODES:
                self.write(name, uptime(), 1)
        return {host: ask(SimpleNamespace(host=host, run=self.run)) for host in hosts}

    def run(self, script: Script, deadline: float) -> Result:
        text = script.main.replace(FOLDER, str(self.root))
        done = subprocess.run(["dash", "-c", text], capture_output=True, check=True)
        self.lengths.append(done.stdout.count(b"\n"))
        return Result(0, done.stdout, done.stderr, 0.0)

    def write(self, name: str, moment: float, count: int) -> None:
        with (self.root / "run" / name).open("a") as file:
            file.write(f"{moment:.2f} {moment:.2f} 1\n" * count)


def test_who_waits_at_the_end_reads_all_before_and_after_and_between_only_what_is_new(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    hosts, begin = Hosts(tmp_path), uptime() - 1000
    for name in NODES:
        hosts.write(name, begin + 1, 5000)
    running = Running(Exchange("run", "image", NODES), cast("Pool", hosts), dict.fromkeys(NODES, begin))
    found = running.lost_in_all()
    assert all(pair.back and pair.requests > 5000 for pair in found.pairs)
    whole = [number for number, each in enumerate(hosts.lengths) if each > 5000]
    assert hosts.looks > 4
    assert whole == [0, 1, 2 * hosts.looks - 2, 2 * hosts.looks - 1]


def test_records_of_many_nodes_are_not_all_here_at_once() -> None:
    nodes = tuple(f"n{number}" for number in range(50))
    asked: list[list[str]] = []

    def everywhere(scripts: Mapping[str, Script]) -> Mapping[str, Result]:
        asked.append(list(scripts))
        return {name: Result(0, b"now 20.00 1020.00\n", b"", 0.0) for name in scripts}

    found = Exchange("run", "image", nodes).collect(everywhere, dict.fromkeys(nodes, 10.0))
    assert max(map(len, asked)) < 20
    assert sorted(name for each in asked for name in each) == sorted(nodes)
    assert len(found.pairs) == 50 * PEERS
