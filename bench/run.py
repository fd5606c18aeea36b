"""`python -m bench.run`: node preparation of ten lab hosts by provision, Ansible and pyinfra, side by side.

Needs root (for the lab) and, the first time, a package index for the other two tools.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from platformdirs import user_cache_path

from bench import content, hosts, tools
from bench.measure import BenchError, Run, quiet, run
from bench.table import table

_SOURCES = Path(__file__).parent / "nodeprep"
_CLEAN = "rm -rf /etc/bench /opt/bench /var/lib/provision && mkdir -p /etc/bench && touch /etc/bench/old.conf && sync"
_DIGEST = "cd / && find etc/bench opt/bench -type f ! -name payload.tgz | sort | xargs sha256sum | sha256sum"
_LOG_SESSIONS = "echo LogLevel VERBOSE >/etc/ssh/sshd_config.d/bench.conf && systemctl reload ssh && sleep 1"
_COUNT = "journalctl --sync; journalctl -u ssh -o cat --since @{since} | grep -c '^Starting session:' || :"


@dataclass
class Figures:
    """Of one tool: the first apply, the unchanged runs, and the execs a host of one unchanged run."""

    first: Run | None = None
    unchanged: list[Run] = field(default_factory=list)
    execs: float = 0.0

    @property
    def median(self) -> float:
        return statistics.median(each.seconds for each in self.unchanged)


def main() -> None:
    """Parses the arguments, measures, prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="unchanged runs of each tool (default 5)")
    parser.add_argument("--subnet", help="another subnet for the lab, such as 10.99.7.0/24")
    parser.add_argument(
        "--aliases", type=int, default=100, help="names for the ten hosts in the test of scale; 0: none"
    )
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    given = parser.parse_args()
    lab = hosts.up(_SOURCES / "inventory.yaml", given.subnet)
    try:
        figures, floor = compare(lab, given.rounds)
        scale = unchanged_by_many(lab, given.aliases, given.rounds) if given.aliases else None
    except BenchError as error:
        sys.exit(str(error))
    finally:
        if not given.keep:
            hosts.down(lab)
    sys.stdout.write(table(figures, floor, scale, given.aliases))
    if given.json:
        given.json.write_text(json.dumps(_plain(figures, floor, scale), indent=1) + "\n", encoding="utf-8")


def compare(lab: hosts.Lab, rounds: int) -> tuple[dict[str, Figures], float]:
    """Figures by tool, and the floor of the first apply in seconds. Raises BenchError."""
    cache = user_cache_path("provision") / "bench"
    work = content.stage(_SOURCES, cache / "work")
    tools.install(cache)
    chosen = tools.tools(lab, work, cache)
    figures = {tool.name: Figures() for tool in chosen}
    digests = {}
    for tool in chosen:
        lab.everywhere(_CLEAN)
        figures[tool.name].first = first = run(tool.argv, work, tool.env)
        digests[tool.name] = tuple(lab.everywhere(_DIGEST).values())
        _say(f"{tool.name}: first apply {first.seconds:.1f} s")
    if len(set(digests.values())) > 1:
        raise BenchError("the tools did not do the same work")
    lab.everywhere(_CLEAN)
    floor = _timed(lambda: tools.floor(lab, work))
    # Each finds what it needs after the others; last ours, which sees that another unpacked the archive anew.
    for tool in reversed(chosen):
        run(tool.argv, work, tool.env)
    for tool in chosen:
        figures[tool.name].execs = _execs(lab, tool, work)
    for number in range(rounds):
        for tool in chosen:
            figures[tool.name].unchanged.append(_still(tool, work))
        _say(
            f"round {number + 1}: "
            + ", ".join(f"{n} {f.unchanged[-1].seconds:.2f} s" for n, f in figures.items())
        )
    return figures, floor


def unchanged_by_many(lab: hosts.Lab, count: int, rounds: int) -> list[Run]:
    """Unchanged runs of ours with `count` names for the hosts."""
    cache = user_cache_path("provision") / "bench"
    work = cache / "work"
    inventory = work / "aliases.yaml"
    hosts.aliases(lab.inventory, count, inventory)
    first, own = tools.provision(lab.inventory, cache), tools.provision(inventory, cache)
    run(first.argv, work, {})
    _still(own, work)
    return [_still(own, work) for _ in range(rounds)]


def _still(tool: tools.Tool, work: Path) -> Run:
    done = run(tool.argv, work, tool.env)
    if tool.unchanged not in done.output:
        raise BenchError(f"{tool.name} changed something again:\n{done.output[-2000:]}")
    return done


def _execs(lab: hosts.Lab, tool: tools.Tool, work: Path) -> float:
    """Sessions that a host's sshd saw in one unchanged run, on average."""
    lab.everywhere(_LOG_SESSIONS)
    since = int(time.time()) + 1
    time.sleep(1.1)
    _still(tool, work)
    counts = lab.everywhere(_COUNT.format(since=since)).values()
    lab.everywhere("rm /etc/ssh/sshd_config.d/bench.conf && systemctl reload ssh && sleep 1")
    # The counting command is a session, too.
    return sum(int(count) for count in counts) / len(counts) - 1


def _timed(work: Callable[[], None]) -> float:
    quiet()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _plain(figures: dict[str, Figures], floor: float, scale: list[Run] | None) -> dict[str, object]:
    def bare(each: Run) -> dict[str, object]:
        return {key: value for key, value in asdict(each).items() if key != "output"}

    by_tool = {
        name: {
            "first": bare(each.first) if each.first else None,
            "unchanged": [bare(one) for one in each.unchanged],
            "execs_per_host": each.execs,
        }
        for name, each in figures.items()
    }
    return {"tools": by_tool, "floor_seconds": floor, "scale": [bare(each) for each in scale or []]}


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    if shutil.which("ssh") is None:
        sys.exit("needs the OpenSSH client")
    main()
