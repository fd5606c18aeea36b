"""What is told to be lost before a cluster ends."""

from __future__ import annotations

import subprocess
from pathlib import Path

from provisioner.kube.held import images_script, parse_held, parse_images
from provisioner.shell.script import Script

COUNTS = "count\tnodes\t3\ncount\tpersistentvolumeclaims\t1\n"


def test_users_own_are_told_by_name_and_the_rest_by_number() -> None:
    rows = [f"named\tDeployment\tshop\tweb{number}\t" for number in range(12)]
    rows += [
        "named\tDaemonSet\tkube-flannel\tkube-flannel-ds\t",
        "named\tCronJob\tkube-prometheus\tnightly\t",
        "named\tPod\tshop\tbare\t",
        "named\tPod\tshop\tweb0-x\tReplicaSet",
        "noise",
    ]
    counted, named = parse_held(COUNTS + "\n".join(rows))
    assert counted == "3 nodes, 1 claim of a volume"
    assert named.startswith("among it, made by users: Deployment shop/web0, ")
    assert named.endswith(" and 4 more")
    assert "flannel" not in named
    assert parse_held(COUNTS) == [counted]


def test_what_cannot_be_asked_is_not_told_to_be_nothing() -> None:
    assert parse_held("") == ["its API server does not answer: what it holds is not known"]
    assert parse_held("count\tsecrets\t?\nunnamed\t\t\t\n") == [
        "? secrets",
        "what users have made of it cannot be asked",
    ]


def test_images_that_no_bundle_brings_again(tmp_path: Path) -> None:
    root = tmp_path / "docker/registry/v2/repositories"
    for name, tag in (
        ("pause", "3.10"),
        ("calico/node", "v3.28.5"),
        ("calico/node", "mine"),
        ("team/app", "1"),
    ):
        (root / name / f"_manifests/tags/{tag}/index").mkdir(parents=True)
        (root / name / "_manifests/revisions").mkdir(exist_ok=True)
    said = ran(images_script(str(tmp_path)))
    known = {"pause:3.10", "calico/node:v3.28.5"}
    assert (
        parse_images(said, known)
        == "4 images in the registry; the bundle does not have calico/node:mine, team/app:1"
    )
    assert parse_images("pause:3.10\n", known) == "1 image in the registry, all of which the bundle has"
    assert parse_images("", known) == ""
    assert ran(images_script(str(tmp_path / "none"))) == ""


def ran(script: Script) -> str:
    return subprocess.run(["sh", "-c", script.main], capture_output=True, check=True, text=True).stdout
