"""Hosts whose keys are not known are not logged in to, until `trust` has enrolled them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lab_cluster import HOSTS, LabCluster, provision


@pytest.fixture
def stranger(cluster: LabCluster, tmp_path: Path) -> Path:
    """The inventory of somebody who has the key that logs in, but has never seen the hosts."""
    text = re.sub(r" +lab:\n( +)name: .*\n +subnet: .*\n", "", cluster.inventory.read_text())
    key = cluster.folder / "id_ed25519"
    text = text.replace(
        "    ansible_user: root\n", f"    ansible_user: root\n    ansible_ssh_private_key_file: {key}\n"
    )
    path = tmp_path / "inventory.yaml"
    path.write_text(text)
    return path


def test_trust_enrols_who_was_refused(stranger: Path) -> None:
    refused = provision("plan", stranger, "--json")
    assert refused.status == 4, refused
    told = refused.only("Error")
    assert all(host in told["reason"] for host in HOSTS)
    assert "provision trust" in told["hint"]

    undecided = provision("trust", stranger)
    assert undecided.status == 4, undecided
    assert not (stranger.parent / "known_hosts").exists()

    enrolled = provision("trust", stranger, "--yes")
    assert enrolled.status == 0, enrolled
    assert len(re.findall(r"SHA256:\S{43}", enrolled.stderr)) == len(HOSTS)
    assert provision("exec", stranger, "all", "--", "true").status == 0
    again = (stranger.parent / "known_hosts").read_text()
    assert provision("trust", stranger, "--yes").status == 0
    assert (stranger.parent / "known_hosts").read_text() == again


def test_another_key_than_the_known_one_is_refused(cluster: LabCluster, stranger: Path) -> None:
    known = stranger.parent / "known_hosts"
    other = (cluster.folder / "id_ed25519.pub").read_text().split()[:2]
    known.write_text("".join(f"{cluster.address(host)} {' '.join(other)}\n" for host in HOSTS))
    for words in (("exec", stranger, "all", "--", "true"), ("trust", stranger, "--yes")):
        done = provision(*words)
        assert done.status in (1, 4), done
        said = done.stdout + done.stderr
        assert "key" in said
        assert "registry1" in said
    assert " ".join(other) in known.read_text()
    assert len(known.read_text().splitlines()) == len(HOSTS)
