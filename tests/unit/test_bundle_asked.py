"""The bundle that an inventory names: a directory or a file, signed where a key is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from broken import BASE
from bundles import artifact
from click.testing import CliRunner
from test_bundle_signature import KEY_FILE, OTHER, PUBLIC, unasked

from provisioner.action.advisereleases import releases_in
from provisioner.action.load import Request, load
from provisioner.bundle import write
from provisioner.bundle.layout import bundles_directory
from provisioner.bundle.signed import sign
from provisioner.bundle.store import Store
from provisioner.bundle.tarball import pack
from provisioner.cli.apply import _notes
from provisioner.cli.bundle import command
from provisioner.engine.events import Event, Note, Progress, silent
from provisioner.errors import InputError, ProvisionError


@pytest.fixture(autouse=True)
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """b, which is signed, and b.tar, which is not."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = Store(tmp_path / "store")
    parts = [artifact(store, name, name.encode()) for name in ("kube-apiserver", "kube-flannel")]
    write.write_bundle(parts, store, tmp_path / "b")
    pack(tmp_path / "b", tmp_path / "b.tar", silent)
    (tmp_path / "minisign.key").write_text(KEY_FILE)
    (tmp_path / "site.pub").write_text(f"untrusted comment: x\n{PUBLIC}\n")
    sign(tmp_path / "b", tmp_path / "minisign.key", unasked)
    return tmp_path / "b"


def asking(folder: Path, **keys: str) -> Request:
    lines = "".join(f"\n      {key}: {value}" for key, value in keys.items())
    (folder / "inventory.yaml").write_text(BASE.replace("      name: lab", f"      name: lab{lines}"))
    return Request(folder / "inventory.yaml")


@pytest.mark.parametrize("key", [PUBLIC, "site.pub", "./site.pub"])
def test_a_signed_bundle_is_taken(tmp_path: Path, key: str) -> None:
    loaded = load(asking(tmp_path, bundle="b", bundle_public_key=key))
    assert loaded.bundle
    assert loaded.bundle.path == tmp_path / "b"
    assert not bundles_directory().exists()


def test_a_file_is_taken_and_its_unpacking_is_told(tmp_path: Path) -> None:
    seen: list[Event] = []
    loaded = load(asking(tmp_path, bundle="b.tar"), seen.append)
    assert loaded.bundle
    assert loaded.bundle.path == tmp_path / "b.tar"
    assert loaded.bundle.artifact("kube-apiserver").path.read_bytes() == b"kube-apiserver"
    assert [event.task for event in seen if isinstance(event, Progress)][:1] == ["unpack"]
    (note,) = (event.message for event in seen if isinstance(event, Note))
    assert note.startswith(f"unpacking {tmp_path / 'b.tar'}, once, to {bundles_directory()}")


def test_apply_says_that_it_unpacks(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Though the run has no report yet."""
    load(asking(tmp_path, bundle="b.tar"), _notes(as_json=True))
    (line,) = capfd.readouterr().out.splitlines()
    assert json.loads(line)["message"].startswith("unpacking")


def test_an_unsigned_file_is_refused_where_a_key_is_given(tmp_path: Path) -> None:
    request = asking(tmp_path, bundle="b.tar", bundle_public_key=PUBLIC)
    with pytest.raises(ProvisionError, match=r"b\.tar is not signed: there is no b\.tar\.minisig"):
        load(request)
    assert not bundles_directory().exists()
    sign(tmp_path / "b.tar", tmp_path / "minisign.key", unasked)
    assert load(request).bundle


def test_verify_for_an_inventory_wants_its_key(tmp_path: Path) -> None:
    path = asking(tmp_path, bundle="b.tar", bundle_public_key=PUBLIC).inventory
    words = ["verify", str(tmp_path / "b.tar"), "--for", str(path)]
    done = CliRunner().invoke(command, words)
    assert isinstance(done.exception, ProvisionError)
    assert "b.tar is not signed" in done.exception.reason
    sign(tmp_path / "b.tar", tmp_path / "minisign.key", unasked)
    assert "is signed by 84B83AB06691747A" in CliRunner().invoke(command, words).output


def test_another_key(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="is of the key 84B83AB06691747A, not of B258F96E2B1C1A6F"):
        load(asking(tmp_path, bundle="b", bundle_public_key=OTHER))


@pytest.mark.parametrize(
    ("key", "words"),
    [("other.pub", "no file that can be read"), ("inventory.yaml", "inventory.yaml is no public key of minisign")],
)  # fmt: skip
def test_a_key_that_is_none_is_told_where_it_stands(tmp_path: Path, key: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        load(asking(tmp_path, bundle="b", bundle_public_key=key))
    (problem,) = caught.value.problems
    assert words in problem.reason
    assert (problem.line, problem.column) == (7, 26)


def test_a_file_with_nearly_its_name_is_offered(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(asking(tmp_path, bundle="bb.tar"))
    (problem,) = caught.value.problems
    assert problem.hint == f"did you mean '{tmp_path / 'b.tar'}'?"


def test_advice_unpacks_nothing(tmp_path: Path) -> None:
    assert releases_in(str(tmp_path / "b.tar"))
    assert not bundles_directory().exists()


@pytest.mark.parametrize(
    ("keys", "place", "words"),
    [
        ("ca: nope.pem", (11, 51), "nope.pem cannot be read: No such file"),
        ("ca: minisign.key", (11, 51), "minisign.key holds no certificate"),
        ("username: u, password: !secret {env: PROVISION_UNSET}", (11, 70), "PROVISION_UNSET is not set"),
        ("username: u, password: !secret {file: nope}", (11, 70), "nope cannot be read"),
    ],
)
def test_what_a_registry_needs_is_looked_for_before_any_host(
    tmp_path: Path, keys: str, place: tuple[int, int], words: str
) -> None:
    request = asking(tmp_path, bundle="b")
    text = request.inventory.read_text()
    outside = f"      registry: {{host: registry.lab.internal, {keys}}}"
    text = text.replace("      registry: {host: registry.lab.internal, port: 5000}", outside)
    at = text.index("    registry:\n      hosts:")
    request.inventory.write_text(text[:at] + text[text.index("\n    ", text.index("registry1:", at)) + 1 :])
    with pytest.raises(InputError) as caught:
        load(request)
    (problem,) = caught.value.problems
    assert words in problem.reason
    assert (problem.line, problem.column) == place
