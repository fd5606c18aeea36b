"""Hosts that have nothing of a cluster and reach no package source, used by somebody who is root only by sudo: they get
all of it, and lose it again."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab_cluster import BESIDE, LabCluster, is_verified, own_lab, provision

BARE = Path(__file__).parents[2] / "inventories" / "bare.yaml"
USER, PASSWORD = "ops", "pa$$ 'word\""
HOSTS = {"registry1", "cp1", "worker1"}

USER_WITH_PASSWORD = rf"""
useradd --create-home --shell /bin/sh {USER}
printf '%s\n' '{USER}:pa$$ '\''word"' | chpasswd
echo '{USER} ALL=(ALL) ALL' >/etc/sudoers.d/{USER}
mkdir -m 700 /home/{USER}/.ssh
cp /root/.ssh/authorized_keys /home/{USER}/.ssh/
chown -R {USER}: /home/{USER}/.ssh
"""

# The whole line of processes, from dpkg up to the script's first shell.
KILL = r"""
until grep -qs ' status unpacked ' /var/log/dpkg.log; do sleep 0.02; done
p=$(pidof -s apt-get)
all=$(pidof dpkg) || :
while read -r c <"/proc/$p/comm" && [ "$c" = apt-get -o "$c" = sh -o "$c" = run ]; do
  all="$all $p"
  p=$(sed -n 's/^PPid:\t//p' "/proc/$p/status")
done
kill -9 $all || :
"""

LEFT = """
ls -d /usr/sbin/policy-rc.d* /var/lib/provision/packages 2>/dev/null || :
dpkg --audit
"""
PACKAGES = "dpkg-query -W -f '${Package} ${db:Status-Status}\\n'"


def inventory(lab: LabCluster, folder: Path) -> Path:
    """The lab's, for the user with a password."""
    login = f"""ansible_user: {USER}
    ansible_become: true
    ansible_become_password: 'pa$$ ''word"'"""
    return lab.edited(folder, {"ansible_user: root": login})


@pytest.mark.soak
@pytest.mark.parametrize("suite", ["trixie", "bookworm"])
def test_bare_hosts_become_a_verified_cluster(suite: str, tmp_path: Path) -> None:
    source = tmp_path / "source.yaml"
    source.write_text(BARE.read_text().replace("suite: trixie", f"suite: {suite}"))
    name = f"bare-{BESIDE.partition('/')[0].replace('.', '-')}"
    with own_lab(name, source, BESIDE) as lab:
        found = lab.on("all", "command -v containerd runc iptables docker-registry || :")
        assert found == dict.fromkeys(HOSTS, "")
        packages = lab.on("all", PACKAGES)
        lab.on("all", USER_WITH_PASSWORD)
        own = inventory(lab, tmp_path)
        killed_while_packages_are_installed(lab, own)
        done = lab.apply(inventory=own)
        assert is_verified(done), done
        said = " ".join(event["message"] for event in done.named("Note"))
        assert "packages come from the bundle" in said
        assert set(lab.on("all", LEFT).values()) == {""}
        assert lab.apply(inventory=own).changed == set()
        gone = provision("reset", own, "--packages", "--yes", "--json")
        assert gone.status == 0, gone
        assert lab.on("all", PACKAGES) == packages


def killed_while_packages_are_installed(lab: LabCluster, own: Path) -> None:
    """kill -9 on the worker, in the midst of it."""
    with lab.applying(inventory=own) as running:
        running.await_event(
            lambda event: (
                event["event"] == "HostChanging"
                and event["host"] == "worker1"
                and event["resource"].startswith("package:")
            )
        )
        lab.one("worker1", KILL)
        done = running.finish()
    assert done.status != 0, done
    assert lab.one("worker1", "dpkg-query -W -f '${db:Status-Status}' containerd || :") != "installed"
