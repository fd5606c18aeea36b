"""Three control planes with three members of etcd, from bare hosts: what one of them loses comes from the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab_cluster import BESIDE, DEFAULT_LAB, LabCluster, edited, is_verified, own_lab

from provisioner.network.record import RECORD_FILE
from provisioner.pki.cluster import STATE_FILE

PLANES = {"cp1": 11, "cp2": 12, "cp3": 13}
FOLDER = str(Path(STATE_FILE).parent)


def three(folder: Path) -> Path:
    """The default lab with two more control planes."""
    more = {
        "        cp1:\n    kube": "        cp[1:3]:\n    kube",
        "        cp1:\n          ansible_host: 10.98.0.11\n": "".join(
            f"        {name}:\n          ansible_host: 10.98.0.{number}\n" for name, number in PLANES.items()
        ),
    }
    return edited(DEFAULT_LAB, folder, more)


@pytest.mark.soak
def test_a_lost_state_comes_from_the_other_control_planes(tmp_path: Path) -> None:
    with own_lab(f"three-{BESIDE.partition('/')[0].replace('.', '-')}", three(tmp_path), BESIDE) as lab:
        first = lab.apply()
        assert is_verified(first), first
        assert lab.ready_nodes() == {*PLANES, "worker1", "worker2"}
        (kept,) = set(states(lab).values())
        for host in ("cp2", "cp1"):
            lab.one(host, f"rm -r {FOLDER}")
            done = lab.apply()
            assert is_verified(done), done
            assert done.changed == {
                (host, f"file:{FOLDER}", "create"),
                (host, f"file:{STATE_FILE}", "create"),
                (host, f"file:{RECORD_FILE}", "create"),
            }
            assert states(lab) == dict.fromkeys(PLANES, kept)
        for host in PLANES:
            lab.one(host, f"mv {FOLDER} {FOLDER}.gone")
        refused = lab.apply("--yes")
        assert refused.status == 1
        assert "keys are on none of the control-plane hosts" in refused.stdout + refused.stderr
        for host in PLANES:
            lab.one(host, f"mv {FOLDER}.gone {FOLDER}")
        assert lab.plan().status == 0


def states(lab: LabCluster) -> dict[str, str]:
    """Digest and mode of every control plane's state."""
    return lab.on("kube_control_plane", f"sha256sum <{STATE_FILE}; stat -c %a {FOLDER} {STATE_FILE}")
