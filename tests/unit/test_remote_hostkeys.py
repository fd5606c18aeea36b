"""known_hosts is read as OpenSSH reads it; ssh-keygen is the judge where it can be."""

from __future__ import annotations

import base64
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from provisioner.action.connect import trusting
from provisioner.errors import UnreachableError
from provisioner.inventory.model import load_inventory
from provisioner.remote.hostkeys import HostKey, KnownHosts, enrol

ONE = HostKey("ssh-ed25519", base64.b64encode(b"one" * 17).decode())
TWO = HostKey("ssh-ed25519", base64.b64encode(b"two" * 17).decode())


def known(tmp_path: Path, text: str) -> KnownHosts:
    path = tmp_path / "known_hosts"
    path.write_text(
        text.replace("ONE", f"{ONE.kind} {ONE.base64}").replace("TWO", f"{TWO.kind} {TWO.base64}")
    )
    return KnownHosts.load([path])


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("10.0.0.1 ONE\n", "10.0.0.1", 22),
        ("10.0.0.1 ONE a comment\n", "10.0.0.1", 22),
        ("a,10.0.0.1,b ONE\n", "10.0.0.1", 22),
        ("Node1.Example ONE\n", "NODE1.example", 22),
        ("[10.0.0.1]:2222 ONE\n", "10.0.0.1", 2222),
        ("10.0.0.* ONE\n", "10.0.0.1", 22),
        ("10.0.0.? ONE\n", "10.0.0.1", 22),
        ("[10.0.0.*]:2222 ONE\n", "10.0.0.1", 2222),
        ("*,!10.0.0.2 ONE\n", "10.0.0.1", 22),
        ("10.0.0.1 TWO\n10.0.0.1 ONE\n", "10.0.0.1", 22),
        ("# comment\n\nbroken\n10.0.0.1 ssh-rsa !!!\n10.0.0.1 ONE\n", "10.0.0.1", 22),
        ("@revoked 10.0.0.1 TWO\n10.0.0.1 ONE\n", "10.0.0.1", 22),
        ("@cert-authority * TWO\n10.0.0.1 ONE\n", "10.0.0.1", 22),
    ],
)
def test_accepts(tmp_path: Path, text: str, address: str, port: int) -> None:
    known(tmp_path, text).check(address, port, ONE)


@pytest.mark.parametrize(
    ("text", "port", "words"),
    [
        ("", 22, ["not known", ONE.fingerprint]),
        ("10.0.0.1 ONE\n", 2222, ["not known", "[10.0.0.1]:2222"]),
        ("[10.0.0.1]:2222 ONE\n", 22, ["not known"]),
        ("10.0.0.10 ONE\n", 22, ["not known"]),
        ("*,!10.0.0.1 ONE\n", 22, ["not known"]),
        ("@cert-authority 10.0.0.* ONE\n", 22, ["not known", "certificate authority"]),
        ("10.0.0.1 TWO\n", 22, ["HAS CHANGED", ONE.fingerprint, TWO.fingerprint, "known_hosts:1"]),
        ("10.0.0.1 ONE\n@revoked * ONE\n", 22, ["REVOKED", "known_hosts:2"]),
        ("@unheard-of 10.0.0.1 ONE\n", 22, ["not known"]),
    ],
)
def test_refuses(tmp_path: Path, text: str, port: int, words: list[str]) -> None:
    with pytest.raises(UnreachableError) as caught:
        known(tmp_path, text).check("10.0.0.1", port, ONE)
    assert all(word in caught.value.reason for word in words), caught.value.reason
    assert caught.value.hint


def test_names_hashed_by_openssh_are_found(tmp_path: Path) -> None:
    key, path = tmp_path / "key", tmp_path / "known_hosts"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    kind, text = key.with_suffix(".pub").read_text().split()[:2]
    host = HostKey(kind, text)
    path.write_text(f"10.0.0.1 {kind} {text}\n[10.0.0.1]:2222 {kind} {text}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], check=True, capture_output=True)
    assert "10.0.0.1" not in path.read_text()
    hosts = KnownHosts.load([path])
    assert hosts.known("10.0.0.1", 22) == hosts.known("10.0.0.1", 2222) == (host,)
    assert hosts.known("10.0.0.2", 22) == ()
    shown = subprocess.run(["ssh-keygen", "-l", "-f", key], capture_output=True, text=True, check=True).stdout
    assert host.fingerprint in shown.split()


def test_enrol_appends_once_and_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "known_hosts"
    assert enrol(path, "10.0.0.1", 22, ONE)
    path.write_text("# mine\n" + path.read_text().rstrip("\n"))
    assert not enrol(path, "10.0.0.1", 22, ONE)
    assert enrol(path, "10.0.0.1", 2222, ONE)
    assert path.read_text().splitlines()[0] == "# mine"
    assert len(path.read_text().splitlines()) == 3
    assert path.stat().st_mode & 0o777 == 0o600
    KnownHosts.load([path]).check("10.0.0.1", 2222, ONE)


def test_enrol_by_many_at_once_loses_and_doubles_nothing(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    with ThreadPoolExecutor(8) as threads:
        added = list(threads.map(lambda n: enrol(path, f"10.0.0.{n % 10}", 22, ONE), range(40)))
    assert sum(added) == 10
    assert len(path.read_text().splitlines()) == 10


def test_a_missing_file_is_empty(tmp_path: Path) -> None:
    assert KnownHosts.load([tmp_path / "none"]).known("a", 22) == ()


@pytest.mark.parametrize("text", ["", "10.0.0.1 TWO\n"])
def test_a_refusal_says_which_command_trusts(tmp_path: Path, text: str) -> None:
    (tmp_path / "my hosts.yaml").write_text("all: {hosts: {one: {ansible_host: 10.0.0.1}}}\n")
    trust = trusting(load_inventory(tmp_path / "my hosts.yaml"))
    known(tmp_path, text)
    with pytest.raises(UnreachableError) as caught:
        KnownHosts.load([tmp_path / "known_hosts"], trust).check("10.0.0.1", 22, ONE)
    assert caught.value.hint is not None
    assert caught.value.hint.endswith(f"run: provision trust '{tmp_path}/my hosts.yaml'")
