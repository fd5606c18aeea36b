"""What is told of bundles that are not as they have to be, and of arguments that are wrong."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from bundles import small_bundle
from click.testing import CliRunner
from test_bundle_signature import ENCRYPTED, KEY_FILE

from provisioner.bundle import write
from provisioner.bundle.build import build, build_chosen
from provisioner.bundle.catalogue import load
from provisioner.bundle.layout import Bundle
from provisioner.bundle.open import open_bundle, read_bundle
from provisioner.bundle.signed import sign
from provisioner.bundle.store import Store
from provisioner.bundle.tarball import pack
from provisioner.bundle.verify import verify
from provisioner.cli.bundle import command
from provisioner.engine.events import Event, Note, silent
from provisioner.errors import InputError, ProvisionError

COREDNS = r"registry\.k8s\.io/coredns/coredns:\S+ asks for it"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return small_bundle(tmp_path)


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


def largest(folder: Path) -> Path:
    """CoreDNS' own layer."""
    return max((folder / "blobs" / "sha256").iterdir(), key=lambda each: each.stat().st_size)


def manifest_of_coredns(folder: Path) -> Path:
    (found,) = (each for each in Bundle.open(folder).images() if "coredns" in each.name)
    return folder / "blobs" / "sha256" / found.digest.removeprefix("sha256:")


def test_every_fault_names_who_asks_for_it(folder: Path, tmp_path: Path) -> None:
    layer, manifest = largest(folder), manifest_of_coredns(folder)
    flip(layer)
    with pytest.raises(ProvisionError, match=COREDNS):
        pack(folder, tmp_path / "b.tar", silent)
    flip(layer)
    pack(folder, tmp_path / "b.tar", silent)
    data = (tmp_path / "b.tar").read_bytes()
    (tmp_path / "b.tar").write_bytes(data.replace(layer.read_bytes(), bytes(layer.stat().st_size)))
    with pytest.raises(ProvisionError, match=COREDNS):
        open_bundle(tmp_path / "b.tar", silent)
    flip(manifest)
    for look in (lambda: verify(folder, silent), lambda: read_bundle(folder)):
        with pytest.raises(ProvisionError, match=COREDNS):
            look()
    flip(manifest)
    layer.unlink()
    with pytest.raises(ProvisionError, match=f"is missing; {COREDNS}"):
        read_bundle(folder)


@pytest.mark.parametrize("index", ["[]", "{}", '{"manifests": [1]}', '{"manifests": 1}', "{"])
def test_an_index_that_is_none(folder: Path, index: str) -> None:
    (folder / "index.json").write_text(index)
    for look in (lambda: verify(folder, silent), lambda: read_bundle(folder)):
        with pytest.raises(ProvisionError) as caught:
            look()
        assert "index.json: " in caught.value.reason
        assert ("is no JSON" in caught.value.reason) == (index == "{")
        assert "\n" not in caught.value.reason, "nothing is said of blobs that it would ask for"
        assert not any(word in caught.value.reason for word in ("indices", "attribute", "Error"))


def test_a_layout_of_another_program(folder: Path) -> None:
    (folder / "index.json").write_text('{"manifests": []}')
    assert not read_bundle(folder).contents
    # The empty JSON object is the config of each artifact.
    digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    entry = f'{{"mediaType": "a/b", "digest": "{digest}", "size": 2}}'
    (folder / "index.json").write_text(f'{{"manifests": [{entry}]}}')
    with pytest.raises(ProvisionError, match="is not that of a bundle: has no 'config'"):
        read_bundle(folder)


def test_hints_fit_a_folder_or_a_file(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "b.tar", silent)
    with (tmp_path / "b.tar").open("r+b") as file:
        file.truncate(9000)
    largest(folder).unlink()
    for path, hint in ((folder, "delete what is named"), (tmp_path / "b.tar", "carry it here once more")):
        with pytest.raises(ProvisionError) as caught:
            verify(path, silent)
        assert caught.value.hint.startswith(hint)
        assert ("delete" in caught.value.hint) == (path == folder)


def test_keys_that_are_wrong_are_wrong_input(folder: Path, tmp_path: Path) -> None:
    key, none, other = (tmp_path / name for name in ("minisign.key", "none", "binary"))
    key.write_text(ENCRYPTED)
    none.write_text("x\n")
    other.write_bytes(b"\xff\xfe\x00")
    (tmp_path / "wrong").write_text("wrong\n")
    for words, told in (
        (("verify", folder, "--public-key", tmp_path / "gone"), "--public-key: .*gone is no public key"),
        (("verify", folder, "--public-key", none), "--public-key: .*none is no public key"),
        (("sign", folder, "--key", none), "--key: .*none is no secret key"),
        (("sign", folder, "--key", other), "--key: .*binary is no secret key"),
        (("sign", folder, "--key", tmp_path), "--key: .* cannot be read"),
        (("sign", folder, "--key", key, "--passphrase-file", tmp_path / "wrong"), "--key: the passphrase"),
        (("sign", folder, "--key", key, "--passphrase-file", tmp_path / "gone"), "--passphrase-file: "),
        (("sign", folder, "--key", key, "--comment", "a\nb"), "--comment: "),
    ):
        done = CliRunner().invoke(command, [str(each) for each in words])
        with pytest.raises(InputError, match=told):
            raise done.exception or AssertionError(words)


def test_a_bundle_without_an_index_is_no_fault_of_the_key(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "minisign.key").write_text(KEY_FILE)
    (folder / "index.json").write_bytes(bytes((16 << 20) + 1))
    with pytest.raises(ProvisionError, match=r"bundle: index\.json: has \d+ bytes"):
        sign(folder, tmp_path / "minisign.key", lambda: b"")


def test_a_signature_of_a_folder_goes_aloud(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "minisign.key").write_text(KEY_FILE)
    signature, _ = sign(folder, tmp_path / "minisign.key", lambda: b"")
    told: list[Event] = []
    write.write_bundle([], Store(tmp_path / "store"), folder, told.append)
    assert not signature.exists()
    (note,) = (each for each in told if isinstance(each, Note))
    assert "was of what" in note.message


def test_files_without_anything_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    own = small_bundle(tmp_path)
    other = [each for each in load() if each.name == "kubectl"]
    with pytest.raises(InputError, match="--from: nothing there is of what is asked for"):
        build_chosen(other, source="file", output=tmp_path / "b", emit=silent, files=[own])
    assert not (tmp_path / "b").exists()


def test_space_is_asked_for_where_it_was_lacking_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    own = small_bundle(tmp_path)
    for number, hinted in ((errno.EACCES, False), (errno.ENOSPC, True)):

        def fail(*_: object, number: int = number) -> None:
            raise OSError(number, "no")

        monkeypatch.setattr(write, "write_bundle", fail)
        with pytest.raises(ProvisionError, match="could not be built") as caught:
            build(components=None, source="file", output=tmp_path / "b", emit=silent, files=[own])
        assert ("space" in caught.value.hint) == hinted


def test_what_is_not_there_needs_no_advice_on_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(InputError, match="no such file or folder") as caught:
        build(components=None, source="file", output=None, emit=silent, files=[tmp_path / "gone"])
    assert not caught.value.hint
