"""Two bundles are compared, and one is listed, by index and manifests; the commands for both."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import COMPONENTS, artifact, image
from click.testing import CliRunner
from test_os_packages import archive, made

from provisioner.bundle import publish, write
from provisioner.bundle.difference import difference
from provisioner.bundle.layout import Bundle
from provisioner.bundle.open import read_bundle
from provisioner.bundle.store import Finished, Store
from provisioner.bundle.tarball import pack
from provisioner.cli.bundle import command
from provisioner.engine.events import silent
from provisioner.report.bundle import difference_lines, difference_value

LAYER = b"shared" * 1000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def written(store: Store, path: Path, *parts: Finished) -> Bundle:
    write.write_bundle(parts, store, path)
    return Bundle.open(path)


def renewed(store: Store, name: str, version: str, content: bytes) -> Finished:
    component = replace(COMPONENTS[name], version=version)
    with store.workspace() as workspace:
        (workspace / "file").write_bytes(content)
        return publish.artifact(component, workspace / "file", "release", store)


@pytest.fixture
def pair(store: Store, tmp_path: Path) -> tuple[Bundle, Bundle]:
    same = artifact(store, "kubectl", b"kubectl")
    before = written(
        store, tmp_path / "a", same, artifact(store, "kubelet", b"old"), artifact(store, "etcd", b"etcd"),
        image(store, "coredns", LAYER, b"one"),
    )  # fmt: skip
    after = written(
        store, tmp_path / "b", same, renewed(store, "kubelet", "v9.9.9", b"newer"), image(store, "pause", b"p"),
        image(store, "coredns", LAYER, b"two"),
    )  # fmt: skip
    return before, after


def test_what_came_went_and_changed(pair: tuple[Bundle, Bundle]) -> None:
    found = difference(*pair)
    assert [(part.kind, part.name) for part in found.came] == [("image", "registry.k8s.io/pause")]
    assert [(part.kind, part.name, part.size) for part in found.went] == [("artifact", "etcd", 4)]
    kubelet, coredns = found.changed
    assert (kubelet.before.version, kubelet.after.version, kubelet.shared) == ("v1.33.13", "v9.9.9", 0)
    layers = pair[1].image(f"{coredns.after.name}:{coredns.after.version}").blobs
    assert coredns.shared == layers[1].size
    assert found.same == 1
    had = {path.name for path in (pair[0].path / "blobs/sha256").iterdir()}
    fresh = [path for path in (pair[1].path / "blobs/sha256").iterdir() if path.name not in had]
    # The manifests of what is new are small, and not counted.
    assert 0 < sum(path.stat().st_size for path in fresh) - found.fresh < 4000
    assert [line[:2] for line in difference_lines(found)][:-1] == ["- ", "+ ", "~ ", "~ "]
    assert "v1.33.13 -> v9.9.9" in "\n".join(difference_lines(found))


def test_nothing(pair: tuple[Bundle, Bundle]) -> None:
    found = difference(pair[0], pair[0])
    assert not found
    assert list(difference_lines(found)) == ["0 came, 0 went, 0 changed, 4 are the same; 0.0 MB are new"]
    assert difference_value(found)["fresh"] == 0


def test_packages_of_systems_are_compared_one_by_one(tmp_path: Path) -> None:
    whole = made(tmp_path, archive(tmp_path / "archive"))
    content = whole.packages("debian-12")
    assert content
    names = sorted(content.packages)
    kept = replace(content, packages={name: content.packages[name] for name in names[1:]})
    found = difference(whole, replace(whole, contents=(kept,)))
    assert [(part.kind, part.name, part.platform) for part in found.went] == [
        ("package", names[0], "debian-12 linux/amd64")
    ]
    assert (found.came, found.changed, found.same) == ((), (), len(names) - 1)


def test_the_commands_take_directories_and_files(pair: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    before, after = (each.path for each in pair)
    packed = tmp_path / "b.tar"
    done = CliRunner().invoke(command, ["pack", str(after), "-o", str(packed)])
    assert done.exit_code == 0
    for arguments, status in (
        ([before, packed], 2), ([after, packed], 0), ([packed, packed], 0), ([packed, before], 2),
    ):  # fmt: skip
        done = CliRunner().invoke(command, ["diff", *map(str, arguments)])
        assert done.exit_code == status, done.output
    done = CliRunner().invoke(command, ["diff", "--json", str(before), str(packed)])
    told = json.loads(done.stdout)
    assert [each["after"]["version"] for each in told["changed"]] == ["v9.9.9", "v1.14.7"]
    listed = [
        json.loads(CliRunner().invoke(command, ["inspect", "--json", str(each)]).stdout)
        for each in (after, packed)
    ]
    assert listed[0]["contents"] == listed[1]["contents"]
    assert listed[0]["digest"] == read_bundle(packed).digest
    (kubelet,) = (each for each in listed[0]["contents"] if each["name"] == "kubelet")
    assert (kubelet["version"], kubelet["size"], kubelet["source"]) == ("v9.9.9", 5, "release")


def test_a_bundle_is_signed_and_verified_by_commands(pair: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    from test_bundle_signature import KEY_FILE, OTHER, PUBLIC

    packed, key = tmp_path / "b.tar", tmp_path / "minisign.key"
    pack(pair[1].path, packed, silent)
    key.write_text(KEY_FILE)
    run = CliRunner().invoke
    done = run(command, ["sign", str(packed), "--key", str(key)])
    assert done.exit_code == 0, done.output
    assert PUBLIC in done.output
    done = run(command, ["verify", str(packed), "--public-key", PUBLIC])
    assert done.exit_code == 0, done.output
    assert "is signed by 84B83AB06691747A" in done.output
    assert "GB/s" in done.output
    assert run(command, ["verify", str(packed), "--public-key", OTHER]).exit_code != 0
