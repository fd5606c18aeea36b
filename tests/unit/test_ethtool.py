"""Links' queues and offloads, set by ethtool on a real link: a pair of veth in namespaces of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from localhost import Here

from provisioner.engine.diff import diff_all
from provisioner.engine.events import Failed
from provisioner.engine.plan import Desired
from provisioner.engine.read import read_host
from provisioner.resources.ethtool import EthtoolKind
from provisioner.resources.model import Absent, Owned, Present, Unknown

APART = ("unshare", "--user", "--map-root-user", "--net", "--mount")
MADE = (
    "mount -t sysfs sysfs /sys && ip link add v0 numrxqueues 4 numtxqueues 4 type veth peer name v1"
    " && ip link set v0 up && echo made && exec sleep 600"
)
LINK = {"link": "v0", "channels": {"rx": 2, "tx": 3}, "offloads": {"tx-checksum-ip-generic": False}}


def possible() -> bool:
    if shutil.which("ethtool") is None:
        return False
    done = subprocess.run([*APART, "mount", "-t", "sysfs", "sysfs", "/sys"], capture_output=True, check=False)
    return done.returncode == 0


real = pytest.mark.skipif(not possible(), reason="needs ethtool, and user namespaces")


@dataclass
class Apart:
    """This machine as a host, with the network of `pid`."""

    here: Here
    pid: int

    def run(self, command: str) -> str:
        """In that network. Returns what was printed."""
        words = ("nsenter", "--target", str(self.pid), "--user", "--net", "--mount", "--preserve-credentials")
        done = subprocess.run([*words, "sh", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def desired(self, *links: dict[str, Any]) -> Desired:
        return self.here.desired([{"ethtool": {"links": list(links), "file": "{{ root }}/90.rules"}}])

    def changes(self, desired: Desired) -> dict[str, str]:
        return {change.resource.id: change.action for change in self.here.changes(desired)}


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Apart]:
    holder = subprocess.Popen([*APART, "sh", "-c", MADE], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "made\n"
        here = Here(tmp_path, "dash")
        shell = here.session.root / "bin" / "sh"
        program = shell.resolve()
        shell.unlink()
        words = f"nsenter --target {holder.pid} --user --net --mount --preserve-credentials {program}"
        # A user namespace cannot be entered from within.
        shell.write_text(f'#!/bin/sh\n[ -z "$INSIDE" ] || exec {program} "$@"\nINSIDE=1 exec {words} "$@"\n')
        shell.chmod(0o755)
        yield Apart(here, holder.pid)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


@real
def test_a_link_is_set_and_then_left_alone(apart: Apart) -> None:
    desired = apart.desired(LINK)
    names = {
        "ethtool:v0 channels rx", "ethtool:v0 channels tx", "ethtool:v0 offloads tx-checksum-ip-generic"
    }  # fmt: skip
    found = apart.changes(desired)
    assert {name for name in found if name.startswith("ethtool:")} == names
    assert apart.here.apply(desired) is None
    assert apart.changes(desired) == {}
    assert "RX:\t\t2\nTX:\t\t3" in apart.run("ethtool -l v0").partition("Current")[2]
    apart.run("ethtool -L v0 rx 1; ethtool -K v0 tx-checksum-ip-generic on")
    assert set(apart.changes(desired)) == names - {"ethtool:v0 channels tx"}
    assert apart.here.apply(desired) is None
    assert apart.changes(desired) == {}


@real
@pytest.mark.parametrize(
    ("link", "says"),
    [
        ({"link": "nolink0", "rings": {"rx": 1}}, "this host has no link nolink0"),
        ({"link": "v0", "rings": {"rx": 4096}}, "`ethtool -g v0` tells what it has"),
        ({"link": "v0", "channels": {"rx": 5}}, "`ethtool -l v0` tells what it has"),
        ({"link": "v0", "offloads": {"nosuch-offload": True}}, "`ethtool -k v0` tells what it has"),
    ],
)
def test_what_a_link_cannot_be_is_told(apart: Apart, link: dict[str, Any], says: str) -> None:
    failed = apart.here.apply(apart.desired(link))
    assert isinstance(failed, Failed)
    assert says in failed.stderr


@real
def test_what_left_the_spec_is_as_it_was(apart: Apart) -> None:
    kind = EthtoolKind()
    desired = apart.desired(LINK)
    before = {change.resource.id: change.before for change in apart.here.changes(desired)}
    assert apart.here.apply(desired) is None
    resources = desired.hosts["here"]
    leaving = []
    for each in resources:
        was = before[each.id]
        if each.kind == "ethtool" and isinstance(each.desired, Present) and isinstance(was, Present):
            back = kind.gone(Owned("ethtool", each.name, frozenset(), each.desired.attrs, was.attrs))
            assert back is not None
            leaving.append(back)
    assert len(leaving) == 3
    apart.run("ethtool -L v0 tx 1")  # by somebody else meanwhile: it stays
    states = read_host(apart.here.session, leaving, {"ethtool": kind})  # type: ignore[arg-type]
    changes = diff_all(leaving, states, {"ethtool": kind})
    assert {change.resource.name: change.action for change in changes} == {
        "v0 channels rx": "update",
        "v0 channels tx": "forget",
        "v0 offloads tx-checksum-ip-generic": "update",
    }
    for change in changes:
        if change.action == "update":
            apart.here.session.run(kind.change(change))
    assert apart.run("ethtool -k v0 | grep tx-checksum-ip-generic").endswith(": on")
    assert "RX:\t\t4\nTX:\t\t1" in apart.run("ethtool -l v0").partition("Current")[2]


def test_rules_are_for_links_that_come_up_and_that_get_their_name(tmp_path: Path) -> None:
    here = Here(tmp_path, "dash")
    task = {
        "ethtool": {
            "links": [LINK, {"link": "eth0", "rings": {"rx-mini": 8}}],
            "file": "/etc/udev/rules.d/x.rules",
        }
    }
    stage = here.desired([task])
    (file,) = (each for each in stage.hosts["here"] if each.kind == "file")
    assert file.text is not None
    first, *rules = file.text.splitlines()
    assert first.startswith("#")
    assert rules[-1] == (
        'ACTION=="add|move", SUBSYSTEM=="net", KERNEL=="eth0",'
        " RUN+=\"/bin/sh -c 'PATH=/usr/sbin:/usr/bin:/sbin:/bin; ethtool -G eth0 rx-mini 8'\""
    )
    assert len(rules) == 4


def test_a_link_of_before_the_tool_is_not_known() -> None:
    kind = EthtoolKind()
    owned = Owned("ethtool", "eth0 rings rx", frozenset(), {"value": "512"}, {})
    assert kind.gone(owned) is None
    owned = Owned("ethtool", "flannel.1 offloads tx-checksum-ip-generic", frozenset(), {"value": "off"}, {})
    back = kind.gone(owned)
    assert back is not None
    assert back.desired == Present({"value": "on"})


def test_without_ethtool_nothing_is_known(tmp_path: Path) -> None:
    """Its package comes with the same run."""
    kind = EthtoolKind()
    stage = Here(tmp_path, "dash").desired([{"ethtool": {"links": [LINK]}}])
    wanted = [each for each in stage.hosts["here"] if each.kind == "ethtool"]
    states = kind.parse(b"!\n", wanted)
    assert all(isinstance(each, Unknown) for each in states.values())
    assert all(isinstance(each, Absent) for each in kind.parse(b"", wanted).values())
    assert len(diff_all(wanted, states, {"ethtool": kind})) == 3
