"""Certificates: what is issued says what was asked for, and is compared by meaning."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from provisioner.engine.diff import diff
from provisioner.errors import InputError, ProvisionError
from provisioner.inventory.secrets import Secret
from provisioner.pki.authority import KeyPair, Leaf, issue, key_identifier, new_authority
from provisioner.pki.certificate import CertificateKind
from provisioner.pki.cluster import agreed_state, new_state, parse_state
from provisioner.resources.model import Absent, Change, Present, Resource
from provisioner.resources.task import TaskCall
from provisioner.spec.rules.roles import MAX_COMMON_NAME, MAX_NODE_NAME

LEAF = Leaf("system:node:worker1", ("system:nodes",), ("worker1", "10.98.0.21"), ("server",))


@pytest.fixture(scope="module")
def authority() -> KeyPair:
    return new_authority("kubernetes-ca")


def test_the_longest_names_that_the_spec_allows_get_their_certificates(authority: KeyPair) -> None:
    for name in (f"system:node:{'n' * MAX_NODE_NAME}", "m" * MAX_COMMON_NAME):
        cert = x509.load_pem_x509_certificate(issue(authority, replace(LEAF, common_name=name)).cert.encode())
        (common,) = cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert common.value == name


def call(**args: object) -> TaskCall:
    return TaskCall(
        module="certificate",
        args=args,
        host="worker1",
        locate=lambda key: ("play.yaml", 3, 5 if key else 1),
        find=lambda _folder, _name: None,
        render=lambda _path: "",
    )


def build(kind: CertificateKind, **changes: object) -> Resource:
    args: dict[str, object] = {
        "dest": "/etc/kubernetes/pki/kubelet",
        "authority": "kubernetes",
        "common_name": LEAF.common_name,
        "organizations": list(LEAF.organizations),
        "sans": list(LEAF.sans),
        "usages": list(LEAF.usages),
    }
    return kind.build(call(**{**args, **changes}))[0]


def read_back(kind: CertificateKind, resource: Resource, pair: KeyPair, *, paired: bool = True) -> Present:
    """The state that a host would report on which `pair` is installed."""
    import hashlib

    digest = hashlib.sha256(pair.cert.encode()).hexdigest() if paired else "0" * 64
    output = f"={resource.name} 600 root\n{pair.cert}%stamps\n{digest}  {resource.name}.key\n"
    state = kind.parse(output.encode(), [resource])[resource.id]
    assert isinstance(state, Present)
    return state


def test_openssl_accepts_the_chain_and_the_names(authority: KeyPair, tmp_path: Path) -> None:
    pair = issue(authority, LEAF)
    (tmp_path / "ca.crt").write_text(authority.cert)
    (tmp_path / "leaf.crt").write_text(pair.cert)
    command = ["openssl", "verify", "-purpose", "sslserver", "-verify_ip", "10.98.0.21"]
    done = subprocess.run(
        [*command, "-CAfile", str(tmp_path / "ca.crt"), str(tmp_path / "leaf.crt")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    wrong = subprocess.run(
        [
            "openssl",
            "verify",
            "-purpose",
            "sslclient",
            "-CAfile",
            str(tmp_path / "ca.crt"),
            str(tmp_path / "leaf.crt"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode != 0


def test_a_leaf_is_no_authority_and_names_its_issuer(authority: KeyPair) -> None:
    cert = x509.load_pem_x509_certificate(issue(authority, LEAF).cert.encode())
    assert not cert.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("10.98.0.21")]
    assert (
        dt.timedelta(days=364) < cert.not_valid_after_utc - dt.datetime.now(dt.UTC) < dt.timedelta(days=366)
    )


def test_what_was_issued_is_what_is_wanted(authority: KeyPair) -> None:
    kind = CertificateKind({"kubernetes": authority})
    resource = build(kind)
    state = read_back(kind, resource, issue(authority, LEAF))
    assert isinstance(resource.desired, Present)
    assert state.attrs == resource.desired.attrs


@pytest.mark.parametrize(
    ("leaf", "key"),
    [
        (Leaf("other", LEAF.organizations, LEAF.sans, LEAF.usages), "subject"),
        (Leaf(LEAF.common_name, (), LEAF.sans, LEAF.usages), "subject"),
        (Leaf(LEAF.common_name, LEAF.organizations, ("worker1",), LEAF.usages), "sans"),
        (Leaf(LEAF.common_name, LEAF.organizations, LEAF.sans, ("client",)), "usages"),
        (Leaf(LEAF.common_name, LEAF.organizations, LEAF.sans, LEAF.usages, days=59), "expiry"),
    ],
)
def test_each_part_of_the_meaning_is_compared(authority: KeyPair, leaf: Leaf, key: str) -> None:
    kind = CertificateKind({"kubernetes": authority})
    resource = build(kind)
    assert isinstance(resource.desired, Present)
    state = read_back(kind, resource, issue(authority, leaf))
    assert [name for name, value in resource.desired.attrs.items() if state.attrs.get(name) != value] == [key]


def test_another_authority_and_a_foreign_key_are_seen(authority: KeyPair) -> None:
    kind = CertificateKind({"kubernetes": authority})
    resource = build(kind)
    foreign = read_back(kind, resource, issue(new_authority("kubernetes-ca"), LEAF))
    assert (
        foreign.attrs["issuer"]
        != key_identifier(x509.load_pem_x509_certificate(authority.cert.encode())).upper()
    )
    assert isinstance(resource.desired, Present)
    assert foreign.attrs["issuer"] != resource.desired.attrs["issuer"]
    assert read_back(kind, resource, issue(authority, LEAF), paired=False).attrs["key"] == "unpaired"


def test_garbage_in_the_file_is_no_certificate(authority: KeyPair) -> None:
    kind = CertificateKind({"kubernetes": authority})
    resource = build(kind)
    state = kind.parse(f"={resource.name} 644 root\nnonsense\n%stamps\n".encode(), [resource])[resource.id]
    assert isinstance(state, Present)
    assert state.attrs["subject"] == "(not a certificate)"


def test_the_key_travels_as_a_secret(authority: KeyPair) -> None:
    kind = CertificateKind({"kubernetes": authority})
    script = kind.change(Change(build(kind), Absent(), "create"))
    assert script.payload["key"].secret
    assert b"PRIVATE KEY" in (script.payload["key"].data or b"")
    assert "PRIVATE" not in script.main


@pytest.mark.parametrize("kept", [True, False])
def test_names_that_are_there_are_kept_only_where_that_is_asked_for(authority: KeyPair, kept: bool) -> None:
    """Nodes that a run has not read may still know the API server by them."""
    kind = CertificateKind({"kubernetes": authority})
    resource = build(kind, more_sans=True, keep_sans=kept)
    there = issue(authority, replace(LEAF, sans=(*LEAF.sans, "old.example", "10.98.0.9"), days=59))
    change = diff(resource, read_back(kind, resource, there))
    assert change is not None
    assert change.keys == ("expiry",)
    cert = x509.load_pem_x509_certificate(kind.change(change).payload["crt"].data or b"")
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    more = {"old.example", "10.98.0.9"} if kept else set()
    assert {str(each.value) for each in names} == {*LEAF.sans, *more}


def test_names_of_anothers_certificate_are_not_kept(authority: KeyPair) -> None:
    kind = CertificateKind({"kubernetes": authority})
    resource = build(kind, more_sans=True, keep_sans=True)
    there = read_back(kind, resource, issue(new_authority("other"), replace(LEAF, sans=("old.example",))))
    script = kind.change(Change(resource, there, "update", ("issuer", "sans")))
    cert = x509.load_pem_x509_certificate(script.payload["crt"].data or b"")
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(each.value) for each in names} == set(LEAF.sans)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"authority": "kubernets"}, "did you mean 'kubernetes'"),
        ({"usages": ["serve"]}, "unknown usage 'serve'"),
        ({"dest": "relative"}, "no absolute path"),
        ({"san": ["x"]}, "did you mean 'sans'"),
    ],
)
def test_wrong_arguments(authority: KeyPair, changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as raised:
        build(CertificateKind({"kubernetes": authority}), **changes)
    assert words in str(raised.value)
    assert str(raised.value).startswith("play.yaml:3:5")


def test_state_round_trip_and_agreement() -> None:
    state = new_state("lab")
    again = parse_state(state.to_json(), "cp1")
    assert again == state
    assert agreed_state("lab", {"cp1": state.to_json()}, {"worker1": state.mark()}).uuid == state.uuid
    assert agreed_state("lab", {}, {}).uuid != state.uuid


def test_two_clusters_never_mix() -> None:
    one, other = new_state("a"), new_state("b")
    with pytest.raises(ProvisionError, match="different clusters"):
        agreed_state("a", {"cp1": one.to_json()}, {"worker1": other.mark()})
    with pytest.raises(ProvisionError, match="keys are on none"):
        agreed_state("a", {}, {"worker1": other.mark()})


def test_an_older_format_is_brought_to_the_one_of_now() -> None:
    """Each control plane by itself, and all to the same."""
    now = new_state("a")
    data = json.loads(now.to_json().reveal())
    del data["encryption_key"], data["fixed"]
    old = Secret.text(json.dumps({**data, "format": 1}))
    first, second = parse_state(old, "cp1"), parse_state(old, "cp2")
    assert first == second
    assert len(base64.b64decode(first.encryption_key.reveal())) == 32
    assert replace(first, encryption_key=now.encryption_key) == now
    assert agreed_state("a", {"cp1": old, "cp2": first.to_json()}, {}) == first
    data["uuid"] = "another"
    assert (
        parse_state(Secret.text(json.dumps({**data, "format": 1})), "x").encryption_key
        != first.encryption_key
    )


@pytest.mark.parametrize("first", ["old", "now"])
def test_copies_of_two_formats_are_one_state(first: str) -> None:
    """A run that brings them to the format of now may end between two control planes."""
    data = json.loads(new_state("a").to_json().reveal())
    del data["encryption_key"], data["fixed"]
    old = Secret.text(json.dumps({**data, "format": 1}))
    migrated = parse_state(old, "cp1")
    now = replace(migrated, name="renamed", fixed={"domain": "cluster.local", "pod_cidrs": ["10.244.0.0/16"]})
    copies = {"old": old, "now": now.to_json()}
    agreed = agreed_state("a", {each: copies[each] for each in sorted(copies, key=lambda n: n != first)}, {})
    assert agreed.keys == migrated.keys
    assert agreed.fixed == now.fixed


def test_a_planted_state_with_other_keys_is_no_state() -> None:
    right, planted = new_state("a"), new_state("a")
    planted = replace(planted, uuid=right.uuid)
    with pytest.raises(ProvisionError, match="different keys"):
        agreed_state("a", {"cp1": right.to_json(), "cp2": planted.to_json()}, {})


def test_a_promised_identity_is_kept() -> None:
    promised = new_state("a")
    assert agreed_state("a", {}, {}, promised.to_json()) == promised
    there = new_state("a")
    assert agreed_state("a", {"cp1": there.to_json()}, {}, promised.to_json()) == there


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "damaged"), ("{}", "damaged"), ("[]", "damaged"), (json.dumps({"format": 99}), "format 99")],
)
def test_a_damaged_or_newer_state_is_refused(text: str, words: str) -> None:
    with pytest.raises(ProvisionError, match=words):
        parse_state(Secret.text(text), "cp1")
