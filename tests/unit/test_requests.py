"""Which certificate requests are approved: exactly those of a joining kubelet with this run's token."""

from __future__ import annotations

import base64
import datetime as dt
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from provisioner.kube.requests import SIGNER, is_pending, objection, requested_node, waiting
from provisioner.kube.token import GROUP, BootstrapToken

USER = "system:bootstrap:abcdef"
NODES = {"worker1", "worker2"}


def request(
    common: str = "system:node:worker1", organization: str | None = "system:nodes", *, san: bool = False
) -> str:
    """A PKCS #10 request as kubelets send it, base64 of PEM."""
    names = [x509.NameAttribute(x509.NameOID.COMMON_NAME, common)]
    if organization is not None:
        names.insert(0, x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organization))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    if san:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName("kubernetes")]), critical=False
        )
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()


def forged(old: bytes, new: bytes, common: str = "system:node:worker1", *, san: bool = False) -> str:
    """A request in whose DER `old` is `new`, of the same length, and which is signed all the same."""
    whole = x509.load_pem_x509_csr(base64.b64decode(request(common, san=san)))
    key = ec.generate_private_key(ec.SECP256R1())
    ours, theirs = (
        each.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        for each in (key.public_key(), whole.public_key())
    )
    info = whole.tbs_certrequest_bytes.replace(theirs, ours)
    assert info.count(old) == 1
    info = info.replace(old, new)
    signature = b"\0" + key.sign(info, ec.ECDSA(hashes.SHA256()))
    ecdsa_with_sha256 = bytes.fromhex("300a06082a8648ce3d040302")
    body = info + ecdsa_with_sha256 + bytes([0x03, len(signature)]) + signature
    size = len(body).to_bytes(2, "big").lstrip(b"\0")  # 128 bytes at least, so that DER wants the long form
    der = bytes([0x30, 0x80 | len(size), *size]) + body
    lines = base64.encodebytes(der).decode()
    return base64.b64encode(
        f"-----BEGIN CERTIFICATE REQUEST-----\n{lines}-----END CERTIFICATE REQUEST-----\n".encode()
    ).decode()


FORGERIES = {
    # GeneralName [3] x400Address instead of [2] dNSName (RFC 5280, 4.2.1.6).
    "a kind of name that nobody uses": forged(b"\x82\x0akubernetes", b"\xa3\x0akubernetes", san=True),
    # TeletexString (tag 20) with a byte that is no UTF-8.
    "a name that is no text": forged(b"\x0c\x13system:node:worker1", b"\x14\x13system:node:worker\xe9"),
}


def item(**spec: Any) -> dict[str, Any]:
    good = {
        "signerName": SIGNER,
        "username": USER,
        "groups": [GROUP, "system:authenticated"],
        "usages": ["digital signature", "client auth"],
        "request": request(),
    }
    return {"metadata": {"name": "node-csr-x"}, "spec": {**good, **spec}}


def test_a_joining_kubelet_is_approved() -> None:
    assert objection(item(), NODES, USER, GROUP) == ""
    with_encipherment = item(usages=["digital signature", "key encipherment", "client auth"])
    assert objection(with_encipherment, NODES, USER, GROUP) == ""


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"signerName": "kubernetes.io/kube-apiserver-client"}, "signer"),
        ({"username": "system:bootstrap:zzzzzz"}, "not from this run's token"),
        ({"username": "mallory"}, "not from this run's token"),
        ({"groups": ["system:authenticated"]}, "not from this run's token"),
        ({"usages": ["client auth", "digital signature", "server auth"]}, "usages"),
        ({"usages": ["client auth"]}, "usages"),
        ({"request": request("system:node:worker9")}, "no host of the inventory"),
        ({"request": request("kubernetes-admin")}, "no host of the inventory"),
        ({"request": request(organization="system:masters")}, "subject"),
        ({"request": request(organization=None)}, "subject"),
        ({"request": request(san=True)}, "extensions"),
        ({"request": base64.b64encode(b"garbage").decode()}, "no readable request"),
    ],
)
def test_everything_else_is_left_alone(spec: dict[str, Any], words: str) -> None:
    assert words in objection(item(**spec), NODES, USER, GROUP)


def test_forgeries_but_for_what_is_forged_are_good() -> None:
    """The forger signs right, so that it is what was forged that is refused below."""
    same = forged(b"worker1", b"worker2")
    assert objection(item(request=same), NODES, USER, GROUP) == ""


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_the_parser_cannot_take_is_left_alone(forgery: str) -> None:
    it = item(request=FORGERIES[forgery])
    assert objection(it, NODES, USER, GROUP) == "it holds no readable request"
    assert requested_node(it) in {"", "worker1"}
    (told,) = waiting([it], NODES)
    assert "no readable request" in told


@pytest.mark.parametrize("text", [None, 7, "=", "\u00e9", "LS0t"])
def test_what_is_no_request_is_left_alone(text: object) -> None:
    assert objection(item(request=text), NODES, USER, GROUP) == "it holds no readable request"
    assert requested_node(item(request=text)) == ""
    assert waiting([item(request=text)], NODES)


def test_a_tampered_request_is_left_alone() -> None:
    pem = base64.b64decode(request()).decode()
    lines = pem.splitlines()
    body = bytearray(base64.b64decode("".join(lines[1:-1])))
    body[-1] ^= 1
    broken = "\n".join([lines[0], base64.b64encode(bytes(body)).decode(), lines[-1], ""])
    reason = objection(item(request=base64.b64encode(broken.encode()).decode()), NODES, USER, GROUP)
    assert reason in {"its signature is wrong", "it holds no readable request"}


def test_pending_and_names() -> None:
    assert is_pending(item())
    assert not is_pending({**item(), "status": {"conditions": [{"type": "Approved"}]}})
    assert requested_node(item()) == "worker1"
    assert requested_node(item(request=request("admin"))) == ""


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "system:bootstrap:abcdef asks for worker1, in no run of now"),
        ({"username": "mallory"}, "it comes from mallory, not from this run's token"),
        (
            {"request": request("system:node:worker9")},
            "'worker9' is no host of the inventory that is joining",
        ),
        ({"usages": ["client auth", "digital signature", "server auth"]}, "its usages are"),
    ],
)
def test_outside_of_a_run_each_that_waits_is_told(spec: dict[str, Any], words: str) -> None:
    (told,) = waiting([item(**spec), {**item(), "status": {"certificate": "x"}}], NODES)
    assert told.startswith("the certificate request node-csr-x is not approved: ")
    assert words in told


def test_tokens_are_minted_once_and_have_the_form_that_the_api_server_wants() -> None:
    import re

    token = BootstrapToken()
    assert re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", f"{token.identifier}.{token.secret.reveal()}")
    assert token.secret == token.secret
    assert BootstrapToken().secret != token.secret


def test_tokens_live_minutes() -> None:
    said = BootstrapToken().as_object()["stringData"]
    assert isinstance(said, dict)
    end = dt.datetime.strptime(said["expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=dt.UTC)
    left = end - dt.datetime.now(dt.UTC)
    assert dt.timedelta(minutes=10) < left <= dt.timedelta(minutes=15)
