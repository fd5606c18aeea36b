"""Hubble's certificates: the same for the same cluster, no other's, and such that both sides believe each other."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from provisioner.action.render import _shown
from provisioner.pki.cluster import ClusterState, new_state, parse_state
from provisioner.pki.hubble import CLIENT, SERVER, hubble_secrets

STATE = new_state("lab")


def parts(state: ClusterState, name: str) -> Mapping[str, bytes]:
    (secret,) = [each for each in hubble_secrets(state) if each["metadata"]["name"] == name]
    assert secret["type"] == "kubernetes.io/tls"
    return {file: base64.b64decode(text) for file, text in secret["data"].items()}


def context(folder: Path, name: str, purpose: ssl.Purpose) -> ssl.SSLContext:
    """One side, as its Secret has it: it shows its certificate, and asks for the other's."""
    for file, data in parts(STATE, name).items():
        (folder / f"{name}-{file}").write_bytes(data)
    made = ssl.create_default_context(purpose, cafile=str(folder / f"{name}-ca.crt"))
    made.load_cert_chain(folder / f"{name}-tls.crt", folder / f"{name}-tls.key")
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> dict[str, Any] | None:
    """What the server sees of the client's certificate. Raises ssl.SSLError where one side does not believe."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=name)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return other.getpeercert()


def test_relay_and_agent_believe_each_other(tmp_path: Path) -> None:
    server = context(tmp_path, SERVER, ssl.Purpose.CLIENT_AUTH)
    client = context(tmp_path, CLIENT, ssl.Purpose.SERVER_AUTH)
    seen = shake_hands(server, client, "worker1.default.hubble-grpc.cilium.io")
    assert seen is not None
    assert ("DNS", "*.hubble-relay.cilium.io") in seen["subjectAltName"]
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(server, client, "worker1.example.com")


def test_another_cluster_is_not_believed(tmp_path: Path) -> None:
    server = context(tmp_path, SERVER, ssl.Purpose.CLIENT_AUTH)
    (tmp_path / "other.crt").write_bytes(parts(new_state("lab"), CLIENT)["ca.crt"])
    client = ssl.create_default_context(cafile=str(tmp_path / "other.crt"))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, client, "worker1.default.hubble-grpc.cilium.io")


def test_the_same_cluster_has_the_same() -> None:
    read_again = parse_state(STATE.to_json(), "cp1")
    assert hubble_secrets(read_again) == hubble_secrets(STATE)
    names = [parts(STATE, name)["tls.key"] for name in (SERVER, CLIENT)]
    assert (
        len({*names, *(parts(replace(STATE, uuid="other"), name)["tls.key"] for name in (SERVER, CLIENT))})
        == 4
    )


def test_they_last_as_long_as_the_cluster() -> None:
    authority = x509.load_pem_x509_certificate(STATE.authorities["kubernetes"].cert.encode())
    for name in (SERVER, CLIENT):
        certificate = x509.load_pem_x509_certificate(parts(STATE, name)["tls.crt"])
        assert certificate.not_valid_after_utc == authority.not_valid_after_utc
        assert certificate.not_valid_before_utc == authority.not_valid_before_utc


def test_what_is_rendered_has_no_keys() -> None:
    for secret in hubble_secrets(STATE):
        shown = _shown(secret)
        assert set(shown["data"]) == {"ca.crt", "tls.crt", "tls.key"}
        assert set(shown["data"].values()) == {"(secret)"}
        assert shown["metadata"] == secret["metadata"]
