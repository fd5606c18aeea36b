"""What a lab reads from the machine: apt's sources, the kernel's configuration, the cgroup mounts."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from provisioner.bundle.mirror import Source, mirror_for
from provisioner.errors import ProvisionError
from provisioner.lab import cgroups, recipe
from provisioner.lab.cgroups import hierarchies
from provisioner.lab.host_files import _RUNC
from provisioner.lab.kernel import modules_builtin
from provisioner.lab.locks import locked
from provisioner.lab.requirements import require_root

DEB822 = """\
# The archive.
Types: deb deb-src
URIs: http://archive.example/debian
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/one.gpg

Types: deb
URIs: http://disabled.example/debian
Suites: trixie
Components: main
Enabled: no
"""
BOOKWORM = Source(
    "http://archive.example/debian",
    ("bookworm", "bookworm-updates"),
    ("main", "contrib"),
    "/usr/share/keyrings/one.gpg",
)
PLAIN = Source("http://archive.example/debian", ("bookworm",), ("main",))


@pytest.mark.parametrize(
    ("name", "text", "suite", "expected"),
    [
        ("a.sources", DEB822, "bookworm", BOOKWORM),
        ("a.sources", DEB822, "trixie", BOOKWORM),
        ("a.list", "deb http://archive.example/debian bookworm main # note\n", "bookworm", PLAIN),
        (
            "a.list",
            "deb [ arch=amd64 signed-by=/k.gpg trusted=yes ] http://m.example/x bookworm main\n",
            "bookworm",
            Source("http://m.example/x", ("bookworm",), ("main",), "/k.gpg", True),
        ),
        (
            "a.list",
            "deb cdrom:/x bookworm main\ndeb-src http://s.example/debian bookworm main\n",
            "bookworm",
            None,
        ),
        ("a.list", "deb http://other.example/debian bookworm contrib\n", "bookworm", None),
        ("a.save", "deb http://archive.example/debian bookworm main\n", "bookworm", None),
        ("a.list", "", "bookworm", None),
    ],
)
def test_mirror(tmp_path: Path, name: str, text: str, suite: str, expected: Source | None) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / name).write_text(text)
    if expected is None:
        with pytest.raises(ProvisionError, match=f"no Debian archive for {suite}"):
            mirror_for(suite, tmp_path)
    else:
        assert mirror_for(suite, tmp_path) == expected


def test_modules_are_what_the_configuration_has() -> None:
    config = "CONFIG_BRIDGE=y\nCONFIG_BRIDGE_NETFILTER=y\n# CONFIG_IP_VS is not set\nCONFIG_VXLAN=m\n"
    assert modules_builtin(config) == "kernel/net/bridge/bridge.ko\nkernel/net/bridge/br_netfilter.ko\n"


@pytest.mark.parametrize(
    ("mountinfo", "expected"),
    [
        (
            (
                "30 29 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
                "31 29 0:27 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw\n"
                "32 29 0:28 /part /elsewhere rw - cgroup2 cgroup2 rw\n"
                "33 29 0:29 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
            ),
            ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"),
        ),
        ("30 29 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n", ("/sys/fs/cgroup",)),
    ],
)
def test_hierarchies(mountinfo: str, expected: tuple[str, ...]) -> None:
    assert hierarchies(mountinfo) == tuple(Path(path) for path in expected)


def test_no_hierarchy_is_told() -> None:
    with pytest.raises(ProvisionError, match="no cgroup"):
        hierarchies("33 29 0:29 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n")


def test_the_cache_key_follows_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe.base_key("bookworm", "x86_64")
    assert before == recipe.base_key("bookworm", "x86_64")
    assert before != recipe.base_key("trixie", "x86_64")
    assert before != recipe.base_key("bookworm", "aarch64")
    monkeypatch.setattr(recipe, "PACKAGES", (*recipe.PACKAGES, "strace"))
    assert before != recipe.base_key("bookworm", "x86_64")


def test_extra_packages_make_another_layer() -> None:
    assert recipe.packages_key("a", ("x", "y")) == recipe.packages_key("a", ("y", "x"))
    assert recipe.packages_key("a", ("x",)) != recipe.packages_key("b", ("x",))


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--bundle", "{d}", "x"],
        ["create", "-b", "{d}", "x"],
        ["create", "--bundle={d}", "x"],
        ["exec", "--process", "{d}/config.json", "x"],
    ],
)
def test_runc_wrapper_raises_negative_scores(tmp_path: Path, arguments: list[str]) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"process":{"oomScoreAdj": -998,"user":{"uid":-1}}}')
    real = tmp_path / "runc"
    real.write_text('#!/bin/sh\necho "$@"\n')
    real.chmod(0o755)
    script = _RUNC.replace("for real in /usr/local/bin/runc", f"for real in {real}")
    filled = [argument.format(d=tmp_path) for argument in arguments]
    done = subprocess.run(["sh", "-c", script, "runc", *filled], capture_output=True, text=True, check=True)
    own = Path("/proc/self/oom_score_adj").read_text().strip()
    assert config.read_text() == f'{{"process":{{"oomScoreAdj": {own},"user":{{"uid":-1}}}}}}'
    assert done.stdout.split() == filled


def test_lock_excludes_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run" / "a.lock"
    inside, most, waited = 0, 0, []
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(30):
            with locked(path, waiting=lambda: waited.append(1)):
                with guard:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.001)
                with guard:
                    inside -= 1

    with ThreadPoolExecutor(max_workers=4) as pool:
        for done in [pool.submit(work) for _ in range(4)]:
            done.result()
    assert most == 1
    assert waited
    assert not path.parent.exists()


def test_not_root_is_told() -> None:
    pid = os.fork()
    if pid == 0:
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            require_root()
        except ProvisionError as error:
            os._exit(0 if "needs root" in str(error) and error.hint else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("gone", [ProcessLookupError, FileNotFoundError])
def test_a_process_that_ends_while_it_is_to_be_killed_is_no_fault(
    gone: type[OSError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    procs = tmp_path / "cgroup.procs"
    procs.write_text("4194304\n")

    def ending(_: int) -> int:
        procs.write_text("")
        raise gone

    monkeypatch.setattr("os.pidfd_open", ending)
    cgroups.kill([tmp_path])
