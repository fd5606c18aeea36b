"""Where bundles are written, and what the commands about them print where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bundles import small_bundle
from click.testing import CliRunner, Result
from test_bundle_signature import KEY_FILE, PUBLIC

from provisioner.bundle.open import read_bundle
from provisioner.bundle.signed import sign
from provisioner.bundle.tarball import pack
from provisioner.bundle.target import check_target
from provisioner.cli.bundle import command
from provisioner.engine.events import silent
from provisioner.errors import InputError, ProvisionError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return small_bundle(tmp_path)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(command, [str(each) for each in words])


def refused(path: Path, words: str, *, file: bool = False) -> None:
    with pytest.raises(InputError, match=words):
        check_target(path, file=file)


def test_names_decide_what_is_written(tmp_path: Path) -> None:
    for name in ("a.tgz", "a.tar.gz", "a.zip", "a.tar.zst"):
        refused(tmp_path / name, "is no name for it .*NAME.tar")
    refused(tmp_path / "a.txt", "is no name for it", file=True)
    (tmp_path / "d.tar").mkdir()
    refused(tmp_path / "d.tar", "is a folder")
    check_target(tmp_path / "new" / "deep" / "a.tar")
    assert (tmp_path / "new" / "deep").is_dir()


def test_nothing_else_is_mixed_with_it_or_written_over(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "key").write_text("x")
    refused(tmp_path / "mine", "holds other things than a bundle: key")
    (tmp_path / "notes.tar").write_text("x")
    refused(tmp_path / "notes.tar", "is no bundle, and is not written over")
    refused(tmp_path / "mine" / "key" / "b", "(is no folder|cannot be made)")
    refused(Path("/proc/x"), "cannot be made")
    check_target(folder)
    pack(folder, tmp_path / "b.tar", silent)
    check_target(tmp_path / "b.tar")


def test_commands_look_first(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "key").write_text("x")
    for words in (("build", "-o", tmp_path / "mine"), ("pack", folder, "-o", tmp_path / "b.txt")):
        assert isinstance(run(*words).exception, InputError)
    assert [each.name for each in (tmp_path / "mine").iterdir()] == ["key"]


def test_a_damaged_bundle_leaves_no_part(folder: Path, tmp_path: Path) -> None:
    blob = max((folder / "blobs" / "sha256").iterdir(), key=lambda each: each.stat().st_size)
    blob.chmod(0o644)
    blob.write_bytes(bytes(blob.stat().st_size))
    with pytest.raises(ProvisionError, match="is damaged"):
        pack(folder, tmp_path / "b.tar", silent)
    assert not list(tmp_path.glob(".*.part"))


def test_a_signature_goes_with_what_it_was_of(folder: Path, tmp_path: Path) -> None:
    file, key = tmp_path / "b.tar", tmp_path / "minisign.key"
    key.write_text(KEY_FILE)
    pack(folder, file, silent)
    signature, _ = sign(file, key, lambda: b"")
    assert run("pack", folder, "-o", file).exit_code == 0
    assert signature.exists(), "the same content"
    (tmp_path / "next").mkdir()
    done = run("pack", small_bundle(tmp_path / "next", b"another kubelet"), "-o", file)
    assert done.exit_code == 0, done.output
    assert not signature.exists()


def test_what_is_not_whole_is_not_signed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "minisign.key").write_text(KEY_FILE)
    next((folder / "blobs" / "sha256").iterdir()).unlink()
    with pytest.raises(ProvisionError, match=r"is missing; .* ask"):
        sign(folder, tmp_path / "minisign.key", lambda: b"")
    assert not (folder / "index.json.minisig").exists()


def test_nobody_is_asked_for_a_passphrase_without_a_terminal(folder: Path, tmp_path: Path) -> None:
    from test_bundle_signature import ENCRYPTED

    (tmp_path / "minisign.key").write_text(ENCRYPTED)
    done = run("sign", folder, "--key", tmp_path / "minisign.key")
    assert isinstance(done.exception, InputError)
    assert "--passphrase-file: the key is encrypted, and there is no terminal" in done.exception.reason


def test_results_are_on_stdout(folder: Path, tmp_path: Path) -> None:
    digest, file = read_bundle(folder).digest, tmp_path / "b.tar"
    (tmp_path / "minisign.key").write_text(KEY_FILE)
    assert "kubelet" in run("inspect", folder).stdout
    assert str(file) in run("pack", folder, "-o", file).stdout
    assert "is whole" in run("verify", file).stdout
    assert "of the key" in run("sign", file, "--key", tmp_path / "minisign.key").stdout
    told = json.loads(run("verify", file, "--public-key", PUBLIC, "--json").stdout)
    assert (told["path"], told["digest"], told["signed_by"]) == (str(file), digest, "84B83AB06691747A")
    assert told["size"] > 0
    packed = json.loads(run("pack", folder, "-o", file, "--json").stdout)
    assert packed == {"path": str(file), "size": file.stat().st_size}
    signed = json.loads(run("sign", file, "--key", tmp_path / "minisign.key", "--json").stdout)
    assert signed["public_key"] == PUBLIC


def test_what_is_not_there_and_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    gone, none = run("verify", tmp_path / "nope.tar").exception, run("verify", tmp_path / "empty").exception
    assert isinstance(gone, InputError)
    assert "nope.tar: there is no such file or folder" in gone.reason
    assert isinstance(none, ProvisionError)
    assert "empty is no bundle: it has no index.json" in none.reason
