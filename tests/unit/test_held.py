"""What is told to be lost before a cluster ends."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from provisioner.kube.held import held_script, parse_held, parse_repositories, repositories_script

COUNTS = "count\tnodes\t3\ncount\tpersistentvolumeclaims\t1\n"


def test_users_own_are_told_by_name_and_the_rest_by_number() -> None:
    rows = [f"named\tDeployment\tshop\tweb{number}" for number in range(12)]
    rows += ["named\tDaemonSet\tkube-flannel\tkube-flannel-ds", "named\tCronJob\tteam\tnightly", "noise"]
    counted, named = parse_held(COUNTS + "\n".join(rows))
    assert counted == "3 nodes, 1 claim of a volume"
    assert named.startswith("among it, made by users: Deployment shop/web0, ")
    assert named.endswith(" and 3 more")
    assert "flannel" not in named
    assert parse_held(COUNTS) == [counted]


def test_a_cluster_that_does_not_answer_is_not_told_to_hold_nothing() -> None:
    assert parse_held("") == ["its API server does not answer: what it holds is not known"]


def test_images_that_no_bundle_brings_again(tmp_path: Path) -> None:
    root = tmp_path / "docker/registry/v2/repositories"
    for name in ("pause", "calico/node", "team/app"):
        (root / name / "_manifests/tags").mkdir(parents=True)
        (root / name / "_layers").mkdir()
    said = subprocess.run(
        ["sh", "-c", repositories_script(str(tmp_path)).main], capture_output=True, check=True
    ).stdout
    known = {"pause", "calico/node"}
    assert parse_repositories(said.decode(), known) == (
        "3 repositories of images in the registry; the bundle does not have team/app"
    )
    assert parse_repositories("pause\n", known).endswith(
        "1 repository of images in the registry, all of which the bundle has"
    )
    assert parse_repositories("", known) == ""
    elsewhere = repositories_script(str(tmp_path / "none")).main
    assert subprocess.run(["sh", "-c", elsewhere], capture_output=True, check=True).stdout == b""


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck() -> None:
    for script in (held_script(), repositories_script("/var/lib/registry")):
        subprocess.run(["shellcheck", "-s", "sh", "-"], input=script.main.encode(), check=True)
