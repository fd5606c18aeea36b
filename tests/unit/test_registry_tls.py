"""Certificates of registries that are not to be trusted, each with its cause; real handshakes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from registryserver import HOST, Running, State, reached, serve

from provisioner.errors import ProvisionError, UnreachableError
from provisioner.registry.client import Registry

DAY = timedelta(days=1)


def written(directory: Path, begin: timedelta, end: timedelta, name: str = HOST) -> tuple[Path, Path]:
    """A key and a certificate for `name`, which is its own authority."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    made = (
        builder.not_valid_before(now + begin)
        .not_valid_after(now + end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = directory / "key.pem", directory / "crt.pem"
    no_password = serialization.NoEncryption()
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files[0].write_bytes(key.private_bytes(kind, form, no_password))
    files[1].write_bytes(made.public_bytes(kind))
    return files


CASES: dict[str, tuple[timedelta, timedelta, str, str]] = {
    "expired": (-2 * DAY, -DAY, "has expired", "clock"),
    "not yet": (DAY, 2 * DAY, "is not valid yet", "clock"),
}


@pytest.mark.parametrize("case", CASES)
def test_times(tmp_path: Path, case: str) -> None:
    begin, end, reason, hint = CASES[case]
    with serve(*written(tmp_path, begin, end), State()) as server:
        told(server, server.client, reason, hint)


def test_another_authority(tmp_path: Path) -> None:
    with serve(*written(tmp_path, -DAY, DAY), State()) as server:
        told(server, lambda: server.client(ca_pem=None), "an authority that is not trusted", "--ca FILE")


def test_another_name(tmp_path: Path) -> None:
    with serve(*written(tmp_path, -DAY, DAY, "other.example"), State()) as server:
        told(server, server.client, "is for another name", "a name that its certificate has")


def told(server: Running, client: Callable[[], Registry], reason: str, hint: str) -> None:
    """It is refused at once: trying again would not mend it."""
    with client() as registry, pytest.raises(ProvisionError) as caught:
        registry.ping()
    assert not isinstance(caught.value, UnreachableError)
    assert reason in caught.value.reason
    assert f"{HOST}:{server.port}" in caught.value.reason
    assert hint in caught.value.hint
    assert not server.state.requests


def test_no_tls_at_all() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        port = listener.getsockname()[1]
        registry: AbstractContextManager[Registry] = Registry(reached(port))
        with registry as client, pytest.raises(ProvisionError, match="does not speak TLS"):
            client.ping()


def test_an_authority_that_is_none() -> None:
    with pytest.raises(ProvisionError, match="no certificate in PEM"):
        Registry(reached(1, ca_pem=b"-----BEGIN NOTHING-----"))
