"""How sandboxes go whose networks the runtime cannot take away: by the kubelet where it can, else exactly those."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from localhost import SHELLS, LocalSession

from provisioner.errors import ProvisionError
from provisioner.kube import cnimend
from provisioner.kube.cnimend import tear_down
from provisioner.kube.cniread import Complaint

STUCK, OTHER, APP = "a" * 64, "b" * 64, "c" * 64
CTR = f"""#!/bin/sh
# Stands for ctr, with two sandboxes of one pod, and a container of the first.
shift 2
case "$*" in
"containers list -q") cat {{root}}/containers ;;
"containers list -q labels."*==u) cat {{root}}/containers ;;
"containers info {OTHER}") echo '"io.kubernetes.cri.sandbox-id": "{OTHER}"' ;;
"containers info "*) echo '"io.kubernetes.cri.sandbox-id": "{STUCK}"' ;;
"tasks list") cat {{root}}/tasks ;;
"containers delete "*) grep -vx "$3" {{root}}/containers >{{root}}/rest; mv {{root}}/rest {{root}}/containers ;;
"tasks delete "* | "sandboxes remove "*) exit 1 ;;
*) exit 2 ;;
esac
"""
NOTING = '#!/bin/sh\necho "$*" >>{root}/asked\n'
JOURNAL = """#!/bin/sh
# The kubelet tries again; it succeeds as soon as what the plug-in noted is gone, where that is in the way.
[ -e {root}/hopeless ] || [ -e {root}/flannel/STUCK ] || echo 'TearDown network for sandbox "STUCK" successfully'
""".replace("STUCK", STUCK)


class Node(LocalSession):
    """This machine, whose runtime is a script, below `root`."""

    def prepare(self) -> None:
        (self.root / "containers").write_text(f"{STUCK}\n{OTHER}\n{APP}\n")
        (self.root / "tasks").write_text(f"TASK PID STATUS\n{OTHER} 7 RUNNING\n{APP} 0 STOPPED\n")
        for name, text in (("ctr", CTR), ("systemctl", NOTING), ("umount", NOTING), ("journalctl", JOURNAL)):
            path = self.root / "bin" / name
            path.write_text(text.replace("{root}", str(self.root)))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        for name in ("networks/cbr0", "flannel", "results"):
            (self.root / name).mkdir(parents=True)
        for address, container in (("10.244.1.2", STUCK), ("10.244.1.3", OTHER)):
            (self.root / "networks/cbr0" / address).write_bytes(f"{container}\r\neth0".encode())
        (self.root / "networks/cbr0/lock").touch()
        for name in (STUCK, OTHER):
            (self.root / "flannel" / name).write_text("{")

    def _text(self, text: str) -> str:
        for folder in ("networks", "flannel", "results"):
            text = text.replace(f"/var/lib/cni/{folder}", f"{self.root}/{folder}")
        return f'PATH="{self.root}/bin:$PATH"\nexport PATH\n{super()._text(text)}'

    def there(self, folder: str) -> set[str]:
        return {each.name for each in (self.root / folder).iterdir()} - {"lock"}

    @property
    def containers(self) -> list[str]:
        return (self.root / "containers").read_text().split()

    @property
    def restarts(self) -> int:
        asked = self.root / "asked"
        return asked.read_text().count("restart containerd.service") if asked.exists() else 0


@pytest.fixture(params=SHELLS)
def node(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setattr(cnimend, "PATIENCE", 2)
    (tmp_path / "own").mkdir()
    made = Node(tmp_path / "own", request.param)
    made.prepare()
    return made


def mend(node: Node, *, waits: bool = False) -> list[str]:
    return tear_down(
        node, [Complaint(STUCK, "ns/pod", "u", "/run/netns/cni-none", 2, 1.0, 2.0, "e")], waits=waits
    )


def test_the_kubelet_does_it_once_the_record_is_gone(node: Node) -> None:
    assert mend(node) == []
    assert node.there("flannel") == {OTHER}
    assert node.there("networks/cbr0") == {"10.244.1.3"}
    assert (node.containers, node.restarts) == ([STUCK, OTHER, APP], 0)


def test_a_record_that_is_not_in_the_way_stays(node: Node) -> None:
    """What the plug-in can do by itself now that its files are back, it does as it should."""
    journal = node.root / "bin" / "journalctl"
    journal.write_text(f"#!/bin/sh\necho 'TearDown network for sandbox \"{STUCK}\" successfully'\n")
    assert mend(node, waits=True) == []
    assert node.there("flannel") == {STUCK, OTHER}


def test_the_runtime_forgets_just_that_one(node: Node) -> None:
    """And not the pod's other one, which runs."""
    (node.root / "hopeless").touch()
    assert mend(node, waits=True) == [STUCK]
    assert (node.containers, node.restarts) == ([OTHER], 1)
    assert node.there("networks/cbr0") == {"10.244.1.3"}


@pytest.mark.parametrize("runs", [STUCK, APP])
def test_nothing_is_done_to_what_runs(node: Node, runs: str) -> None:
    (node.root / "hopeless").touch()
    (node.root / "tasks").write_text(f"TASK PID STATUS\n{runs} 7 RUNNING\n")
    with pytest.raises(ProvisionError, match="still runs"):
        mend(node)
    assert (node.containers, node.restarts) == ([STUCK, OTHER, APP], 0)
    assert node.there("networks/cbr0") == {"10.244.1.2", "10.244.1.3"}
