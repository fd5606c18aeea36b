"""A bundle for an inventory has what its stages ask for, all of it and nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.action.bundlefor import Site, _unseen, build_for, missing_for, prove_complete_for
from provisioner.bundle.layout import Bundle, Image, default_bundle_path
from provisioner.bundle.packages import OsPackages
from provisioner.engine.events import Event, Note, silent
from provisioner.errors import InputError, ProvisionError
from provisioner.playbook.factsfile import write_facts

INVENTORIES = Path(__file__).parents[2] / "inventories"
LAB, HA = INVENTORIES / "lab.yaml", INVENTORIES / "ha.yaml"


def edited(folder: Path, changes: dict[str, str]) -> Path:
    text = LAB.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "inventory.yaml"
    path.write_text(text)
    return path


CALICO = {
    "plugin: flannel": "plugin: calico",
    "        flannel:\n          backend: vxlan # or host-gw, when all nodes share one network segment\n": "",
}


def names(bundle: Bundle) -> set[str]:
    return {each.reference if isinstance(each, Image) else each.name for each in bundle.contents}


@pytest.fixture(scope="module")
def for_lab(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return build_for(Site(LAB), source="module", output=tmp_path_factory.mktemp("for") / "lab", emit=silent)


def test_it_has_all_and_nothing_else(for_lab: Bundle) -> None:
    site = Site(LAB)
    assert missing_for(site, for_lab, silent) == []
    whole = names(Bundle.open(default_bundle_path()))
    assert names(for_lab) < whole
    for content in for_lab.contents:
        rest = replace(for_lab, contents=tuple(each for each in for_lab.contents if each is not content))
        lacking = missing_for(site, rest, silent)
        assert lacking, f"{content.name} is asked for by nothing"
        if isinstance(content, OsPackages):
            assert all(each.startswith("package ") for each in lacking)
        else:
            (gone,) = names(for_lab) - names(rest)
            assert [each.partition(" ")[0].startswith(gone) for each in lacking] == [True], lacking


def test_what_is_missing_is_told_with_its_origin(for_lab: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ProvisionError) as fault:
        prove_complete_for(Site(HA), for_lab, silent)
    assert "package keepalived of debian-12, from its archive (bookworm)" in fault.value.reason
    assert f"bundle build --for {HA}" in fault.value.hint
    lacking = missing_for(Site(edited(tmp_path, CALICO)), Bundle.open(default_bundle_path()), silent)
    assert lacking == []


def test_a_manifest_that_is_missing_is_told(for_lab: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ProvisionError) as fault:
        prove_complete_for(Site(edited(tmp_path, CALICO)), for_lab, silent)
    assert "\ncalico:v3.28.5 (linux/amd64), from https://github.com/" in fault.value.reason
    assert "and of its images those that it asks for: docker.io/calico/" in fault.value.reason
    assert "\npackage" not in fault.value.reason, "the same packages as for flannel"
    with pytest.raises(ProvisionError) as fault:
        prove_complete_for(Site(edited(tmp_path, CALICO), systems=("debian-13",)), for_lab, silent)
    assert "of debian-13, from its archive (trixie)" in fault.value.reason, "packages are told all the same"
    assert fault.value.hint.startswith(
        f"`provision bundle build --for {tmp_path}/inventory.yaml --os debian-13`"
    )


def test_the_hosts_distribution_decides_which_packages(for_lab: Bundle, tmp_path: Path) -> None:
    lacking = missing_for(Site(LAB, systems=("debian-12", "debian-13")), for_lab, silent)
    assert lacking
    assert all(" of debian-13, from its archive (trixie)" in each for each in lacking)
    with pytest.raises(InputError, match="debian-13"):
        missing_for(Site(LAB, systems=("debian-31",)), for_lab, silent)


def test_it_opens_from_a_copy(for_lab: Bundle, tmp_path: Path) -> None:
    shutil.copytree(for_lab.path, tmp_path / "copy")
    assert Bundle.open(tmp_path / "copy").digest == for_lab.digest
    index = json.loads((tmp_path / "copy" / "index.json").read_text())
    assert len(index["manifests"]) == len(for_lab.contents)


def test_what_is_taken_for_granted_or_cannot_be_brought_is_told(for_lab: Bundle, tmp_path: Path) -> None:
    told: list[Event] = []
    prove_complete_for(Site(LAB), for_lab, told.append)
    assert "hosts are taken to be debian-12 on amd64" in [
        each.message for each in told if isinstance(each, Note)
    ]
    hosts = {
        each: replace(_unseen("rocky-9", each), os_id="rocky")
        for each in ("registry1", "cp1", "worker1", "worker2")
    }
    write_facts(tmp_path / "facts.json", hosts)
    told.clear()
    prove_complete_for(Site(LAB, facts=tmp_path / "facts.json"), for_lab, told.append)
    notes = [each.message for each in told if isinstance(each, Note)]
    assert any(
        each.startswith("cp1: no bundle has packages of rocky-9 on linux/amd64: ") for each in notes
    ), notes
