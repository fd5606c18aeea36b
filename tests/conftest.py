"""Tiers of tests: unit (no root, no hosts), hosts (root), cluster (root, and the bundle), in this order.

Under pytest-xdist what takes longest in one process begins first, and the many short ones fill up in the end. What
shares a lab, or asks what is left on the machine, is one group and runs in one process: all tests of hosts, those of
the shared cluster. A group goes to whichever process is free.

A test belongs to the tier whose folder it lies in. With PROVISION_ALL_TIERS=1, as `make test` sets it, a run in which
a tier ran no test, or in which any test was skipped, has failed: a machine that lacks something proves nothing.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

TIERS = ("unit", "hosts", "cluster")
APART = frozenset({"test_renewal", "test_traffic_gate", "test_cut_off", "test_killed"})
"""Files of the tier `cluster` that pytest-xdist runs on a second lab that they share."""
OWN_LABS = frozenset({
    "test_bare", "test_closed_site", "test_whole_bundle", "test_preload", "test_outside_registry", "test_migrate",
    "test_migrate_others", "test_reset", "test_reset_beside", "test_three", "test_balanced", "test_balancing",
    "test_planes", "test_planes_faults", "test_existing_cluster", "test_kubeadm", "test_networks", "test_policies",
})  # fmt: skip
"""Those that make labs of their own, and use no shared one."""
LONGEST = 12
"""So many files of a tier are told with their seconds: what to look at when `make test` takes too long."""
HERE = Path(__file__).parent
RESULTS = pytest.StashKey["dict[str, Results]"]()


@dataclass
class Results:
    """What became of one tier. A test counts once; `seconds` are those of its set-up and tear-down too."""

    ran: int = 0
    failed: set[str] = field(default_factory=set)
    skipped: list[str] = field(default_factory=list)
    by_file: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return sum(self.by_file.values())

    def add(self, report: pytest.TestReport) -> None:
        name = Path(report.nodeid.partition("::")[0]).stem
        self.by_file[name] = self.by_file.get(name, 0.0) + report.duration
        if report.failed:
            self.failed.add(report.nodeid)
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skipped.append(f"{report.nodeid}: {_reason(report)}")
        elif report.when == "call":
            self.ran += 1


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tier", choices=TIERS, action="append", help="only this tier (may be repeated)")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = {}
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Tally(config))
        if config.pluginmanager.hasplugin("xdist"):
            config.pluginmanager.register(Sharing())
    # Under nohup and in the background of a script these are ignored, every child inherits that, and no sh can trap
    # what was ignored when it began.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Folders of other tiers are not even imported."""
    tier, wanted = tier_of(collection_path), config.getoption("--tier")
    return True if wanted and tier is not None and tier not in wanted else None


def pytest_itemcollected(item: pytest.Item) -> None:
    tier = tier_of(item.path)
    if tier is not None:
        item.add_marker(tier)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Cheap tiers first. Soak tests run when asked for, tests of offered manifests when there are some."""
    if distributed(config):
        items.sort(key=lambda item: _turn(group_of(item.path)))
    else:
        items.sort(key=lambda item: TIERS.index(tier_of(item.path) or TIERS[0]))
    unwanted = set()
    if "soak" not in str(config.getoption("-m")):
        unwanted.add("soak")
    if not os.environ.get("PROVISION_UPSTREAM"):
        unwanted.add("upstream")
    dropped = [item for item in items if any(item.get_closest_marker(mark) for mark in unwanted)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in set(dropped)]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The shared lab ends once all that share it have: a cluster costs a quarter of a core while nobody uses it."""
    lab = item.config.pluginmanager.get_plugin("shared lab")
    if lab is not None and group_of(item.path) not in ("cluster", "apart"):
        lab.close()


class Tally:
    """Counts results by tier. With pytest-xdist it sees those of all processes, in the one that started them."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        tier = tier_of(self._config.rootpath / report.nodeid.partition("::")[0])
        if tier is not None:
            self._config.stash[RESULTS].setdefault(tier, Results()).add(report)
        if os.environ.get("PROVISION_WRITE_DOCS") == "1" and (report.when == "call" or report.failed):
            from seen import record

            record(report.nodeid, good=report.passed)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus == pytest.ExitCode.OK and faults(session.config):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


class Sharing:
    """Tells pytest-xdist which tests run in one process."""

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        from xdist.scheduler import LoadScopeScheduling

        class ByGroup(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
            def _split_scope(self, nodeid: str) -> str:
                return group_of(config.rootpath / nodeid.partition("::")[0])

        return ByGroup(config, log)


def group_of(path: Path) -> str:
    """The group of the tests of a file."""
    tier = tier_of(path)
    if tier == "cluster" and path.stem in APART:
        return "apart"
    return path.stem if tier == "unit" or path.stem in OWN_LABS else str(tier)


def _turn(group: str) -> int:
    """The longest groups first, then files with labs of their own, then all others."""
    long = ("cluster", "apart", "hosts")
    return long.index(group) if group in long else len(long) + (group not in OWN_LABS)


def distributed(config: pytest.Config) -> bool:
    """Whether pytest-xdist shares out the tests among processes."""
    return hasattr(config, "workerinput") or config.getoption("dist", "no") != "no"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    results = config.stash[RESULTS]
    if results:
        terminalreporter.section("tiers")
    for tier in (tier for tier in TIERS if tier in results):
        found = results[tier]
        counts = f"{found.ran} ran, {len(found.failed)} failed, {len(found.skipped)} skipped"
        terminalreporter.line(f"{tier:<8} {counts:<36} {found.seconds:7.1f} s")
        if distributed(config):
            longest = sorted(found.by_file.items(), key=lambda each: -each[1])[:LONGEST]
            terminalreporter.line("  " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in longest))
    for fault in faults(config):
        terminalreporter.line(f"FAILED tiers: {fault}", red=True)


@pytest.fixture(autouse=True)
def _own_state(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Unit tests neither see nor change the labs, runs and keys of who runs them. Caches stay: they are by content."""
    if request.node.get_closest_marker("unit"):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


def tier_of(path: Path) -> str | None:
    """The tier whose folder `path` is, or lies in."""
    if not path.is_relative_to(HERE):
        return None
    first = path.relative_to(HERE).parts[:1]
    return first[0] if first and first[0] in TIERS else None


def faults(config: pytest.Config) -> list[str]:
    """Why a run of all tiers proves less than it should; nothing for other runs."""
    if os.environ.get("PROVISION_ALL_TIERS") != "1" or config.option.collectonly:
        return []
    results = config.stash[RESULTS]
    found = [f"no test of tier {tier} ran" for tier in TIERS if not results.get(tier, Results()).ran]
    return found + [f"skipped {text}" for tier in TIERS for text in results.get(tier, Results()).skipped]


def _reason(report: pytest.TestReport) -> str:
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
