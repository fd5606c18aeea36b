"""`provision kubeconfig`: what is in the file, and how it comes to be there."""

from __future__ import annotations

import base64
import datetime as dt
import stat
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from cryptography import x509

from provisioner.action.access import admin_access, life_of
from provisioner.action.keyfile import check_free, write_secret
from provisioner.cli.kubeconfig import command
from provisioner.engine.events import silent
from provisioner.errors import InputError
from provisioner.inventory.secrets import Secret
from provisioner.kube.access import ADMIN_GROUP, common_name, portable_kubeconfig
from provisioner.pki.authority import Leaf, issue, new_authority

ROOT = Path(__file__).parents[2]
BASE = ROOT / "tests" / "data" / "spec" / "base.yaml"


@pytest.mark.parametrize(
    ("text", "life"),
    [
        ("1s", dt.timedelta(seconds=1)),
        ("45m", dt.timedelta(minutes=45)),
        ("8h", dt.timedelta(hours=8)),
        ("30d", dt.timedelta(30)),
    ],
)
def test_spans(text: str, life: dt.timedelta) -> None:
    assert life_of(text) == life


@pytest.mark.parametrize("text", ["", "8", "h", "0h", "-1h", "1.5h", "8 h", "8H", "1w", "99999999d", "8h\n"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(InputError):
        life_of(text)


def test_the_certificate_says_who_and_until_when() -> None:
    life = dt.timedelta(seconds=90)
    pair = issue(
        new_authority("ca"), Leaf(common_name("ann"), (ADMIN_GROUP,), days=life / dt.timedelta(days=1))
    )
    cert = x509.load_pem_x509_certificate(pair.cert.encode())
    assert cert.subject.rfc4514_string() == "CN=provision:ann,O=provision:cluster-admins"
    left = cert.not_valid_after_utc - dt.datetime.now(dt.UTC)
    assert dt.timedelta(seconds=80) < left <= life


def test_the_group_is_bound_by_the_playbook() -> None:
    """And is not the one that RBAC cannot take anything from."""
    text = (ROOT / "templates/cluster/admission.yaml.j2").read_text(encoding="utf-8")
    (binding,) = [each for each in yaml.safe_load_all(text) if each["metadata"]["name"] == ADMIN_GROUP]
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "cluster-admin",
    }
    assert [(each["kind"], each["name"]) for each in binding["subjects"]] == [("Group", ADMIN_GROUP)]


def kubeconfig(server_name: str | None = None) -> Secret:
    return portable_kubeconfig(
        cluster="office",
        server="https://a:1",
        authority="CA",
        user="ann",
        certificate="CERT",
        key=Secret.text("KEY"),
        tls_server_name=server_name,
    )


def test_it_needs_no_other_file() -> None:
    text = kubeconfig()
    assert "KEY" not in f"{text} {text!r}"
    data = yaml.safe_load(text.reveal())
    (cluster,), (user,), (context,) = data["clusters"], data["users"], data["contexts"]
    assert cluster["cluster"] == {
        "server": "https://a:1",
        "certificate-authority-data": base64.b64encode(b"CA").decode(),
    }
    assert user["user"] == {
        "client-certificate-data": base64.b64encode(b"CERT").decode(),
        "client-key-data": base64.b64encode(b"KEY").decode(),
    }
    assert context["context"] == {"cluster": cluster["name"], "user": user["name"]}
    assert data["current-context"] == context["name"]
    # Two clusters' files side by side in KUBECONFIG are told apart by name.
    assert all(name.startswith("office") for name in (cluster["name"], user["name"], context["name"]))


def test_another_way_to_the_server_is_checked_for_its_own_name() -> None:
    data = yaml.safe_load(kubeconfig("k8s.office").reveal())
    assert data["clusters"][0]["cluster"]["tls-server-name"] == "k8s.office"


def test_a_file_with_a_key_is_its_owner_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "k"
    write_secret(Secret.text("one"), path, force=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(InputError, match="there is a file already"):
        write_secret(Secret.text("two"), path, force=False)
    assert path.read_text() == "one"
    path.chmod(0o644)
    write_secret(Secret.text("two"), path, force=True)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("two", 0o600)
    assert [each.name for each in tmp_path.iterdir()] == ["k"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("theirs")
    path = tmp_path / "k"
    path.symlink_to(tmp_path / "target")
    with pytest.raises(InputError):
        check_free(path, force=False)
    write_secret(Secret.text("mine"), path, force=True)
    assert (tmp_path / "target").read_text() == "theirs"


@pytest.mark.parametrize("place", ["", "no/such/folder/k"])
def test_places_where_no_file_can_be(place: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        check_free(tmp_path / place, force=True)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--user", "system:admin"), "is no user's name"),
        (("--user", ""), "is no user's name"),
        (("--user", "a" * 51), "is no user's name"),
        (("--server", "http://a"), "is no address of an API server"),
        (("--server", "https://"), "is no address of an API server"),
        (("--server", "https://a:b"), "is no address of an API server"),
        (("--server", "https://u:p@a"), "is no address of an API server"),
        (("--expiry", "8"), "is no span of time"),
        (("-o", "-", "--json"), "leave one out"),
        (("-o", str(BASE)), "--force writes over it"),
    ],
)
def test_wrong_words_reach_no_host(words: tuple[str, ...], reason: str) -> None:
    done = CliRunner().invoke(command, [str(BASE), *words])
    assert isinstance(done.exception, InputError), done
    assert reason in str(done.exception)


def test_the_inventory_is_checked_first(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text("all: {hosts: {a: {}}}")
    with pytest.raises(InputError, match="there is no 'cluster'"):
        admin_access(path, user="a", life=dt.timedelta(1), server=None, emit=silent)
