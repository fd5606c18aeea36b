"""A kubelet's folder that an administrator has put elsewhere, behind a link, is emptied and looked at as any other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from nodespace import Node, node

from provisioner.kube.halt import halt_script
from provisioner.kube.lookagain import look_script, parse_look

CIDRS = ["10.244.0.0/16"]
BEHIND_A_LINK = """
mkdir -p /data/kubelet/pods/one/volumes/claim /data/others
ln -s /data/kubelet /var/lib/kubelet
for place in /data/kubelet/pods/one/volumes/claim /data/others; do mount -t tmpfs none "$place"; done
echo secret >/data/kubelet/pods/one/token
echo theirs >/data/others/file
"""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path) as one:
        one.run("rm -f -- $(command -v ctr)")  # it would wait for a runtime that is not there
        yield one


def left(here: Node) -> set[str]:
    """What the second look finds of folders; who is no machine has no units and no runtime to ask."""
    script = look_script(["kubelet.service"], CIDRS).main
    return {
        each
        for each in parse_look(here.run(f"exec 2>/dev/null\n{script}")).left
        if "kubelet.service" not in each
    }


def test_mounts_and_files_behind_the_link_go(here: Node) -> None:
    here.run(BEHIND_A_LINK)
    before = left(here)
    assert before >= {"files in /var/lib/kubelet", "the mount /data/kubelet/pods/one/volumes/claim"}
    here.run(f"exec 2>/dev/null\n{halt_script({'kubelet.service'}, CIDRS).main}")
    assert left(here) == set()
    assert here.run("find /data | sort; readlink /var/lib/kubelet").split() == [
        "/data", "/data/kubelet", "/data/others", "/data/others/file", "/data/kubelet",
    ]  # fmt: skip
