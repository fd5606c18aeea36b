"""A cluster that others have built: how its files are read, and what becomes of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from provisioner.action.foundcluster import FoundHost, UnusableError
from provisioner.inventory.secrets import Secret
from provisioner.kube.kubeconfigedit import servers, with_servers
from provisioner.kube.serviceflags import Flags, command, environment, flags
from provisioner.pki.authority import KeyPair, Leaf, issue, new_authority
from provisioner.pki.reissue import lacking, names_of, reissued, same_key, signed_by

CONF = r"""# what a hand wrote
KUBE_APISERVER_OPTS="--v=2 \
--etcd-servers=https://192.0.2.11:2379,https://192.0.2.12:2379 \
--tls-cert-file=/opt/kubernetes/ssl/server.pem  \
--allow-privileged \
--audit-log-path /var/log/a.log"
"""
UNIT = """[Service]
EnvironmentFile=-/opt/kubernetes/cfg/kube-apiserver.conf
ExecStart=/opt/kubernetes/bin/kube-apiserver $KUBE_APISERVER_OPTS
"""


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ('A="x y"\n', {"A": "x y"}),
        ("A='x \"y\"' \n", {"A": 'x "y"'}),
        ("A=one \\\n  two  \nB=c", {"A": "one   two", "B": "c"}),
        ('A="one \\\ntwo"', {"A": "one two"}),
        (r'A="a\"b\$c\d"', {"A": r'a"b$c\d'}),
        ('A=a"b"\n', {"A": 'a"b"'}),
        ("A=\"a\"'b'c", {"A": "abc"}),
        ("# A=1\n;B=2\nno line\nC =3\n D=\n", {"C": "3", "D": ""}),
        ("A=1\nA=2\n", {"A": "2"}),
        ("", {}),
    ],
)
def test_environment_files_are_read_as_systemd_reads_them(text: str, variables: dict[str, str]) -> None:
    assert environment(text) == variables


def test_a_quote_without_an_end_is_told() -> None:
    with pytest.raises(ValueError, match="does not end"):
        environment('A="--v=2 \\\n--x=y\n')


@given(st.text("AB=\"'\\ \n#$-x", max_size=40))
def test_any_environment_file_is_read_or_refused(text: str) -> None:
    try:
        found = environment(text)
    except ValueError:
        return
    assert all("=" not in key for key in found)


def test_flags_are_found() -> None:
    words = command(UNIT, environment(CONF))
    found = flags(words[1:])
    assert words[0] == "/opt/kubernetes/bin/kube-apiserver"
    assert found.get("tls-cert-file") == "/opt/kubernetes/ssl/server.pem"
    assert found.get("allow-privileged") == "true"
    assert found.get("audit-log-path") == "/var/log/a.log"
    assert found.get("bind-address") is None


@given(
    st.lists(
        st.tuples(
            st.just("--a"), st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]))
        ),
        min_size=1,
    )
)
def test_flags_are_written_as_they_are_read(pairs: list[tuple[str, str | None]]) -> None:
    written = Flags(tuple(pairs))
    again = command("ExecStart=/x $A", environment(f'A="{written.text()}"\n'))
    assert flags(again[1:]) == written


def test_a_comment_behind_a_continuation_is_no_flag() -> None:
    """As an article has it: the lines behind it are lost."""
    conf = 'A="--v=2 \\  # the level\n--x=y"\n'
    with pytest.raises(ValueError, match="is no flag"):
        flags(command("ExecStart=/x $A", environment(conf))[1:])


KUBECONFIG = """# by hand
clusters:
- cluster: {server: "https://192.0.2.11:6443", certificate-authority-data: QQ==}   # flow
  name: a
- cluster:
    certificate-authority: /ca.pem
    server: https://192.0.2.11:6443
  name: b
- {name: c, cluster: {server: 'https://198.51.100.1:6443'}}
users: []
"""


def test_only_servers_are_changed() -> None:
    old, new = "https://192.0.2.11:6443", "https://192.0.2.9:8443"
    changed = with_servers(KUBECONFIG, lambda server: new if server == old else server)
    assert changed == KUBECONFIG.replace(old, new)
    assert servers(changed) == (new, new, "https://198.51.100.1:6443")


@pytest.mark.parametrize("text", ["", "a: [", "[]", "clusters: {}", "\0", "&a [*a]"])
def test_what_is_no_kubeconfig_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="it is no"):
        servers(text)


def rsa_authority() -> KeyPair:
    """As the tools of most articles make them."""
    ours = new_authority("kubernetes")
    cert, key = x509.load_pem_x509_certificate(ours.cert.encode()), rsa.generate_private_key(65537, 2048)
    builder = x509.CertificateBuilder(cert.issuer, cert.subject, key.public_key(), cert.serial_number)
    builder = builder.not_valid_before(cert.not_valid_before_utc).not_valid_after(cert.not_valid_after_utc)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    made = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    return KeyPair(made.decode(), Secret.text(pem.decode()))


@pytest.mark.parametrize("make", [rsa_authority, lambda: new_authority("kubernetes")], ids=["RSA", "EC"])
def test_a_reissued_certificate_has_more_names_and_all_else_as_before(make: Callable[[], KeyPair]) -> None:
    authority = make()
    pair = issue(
        authority, Leaf("kubernetes", ("k8s",), ("192.0.2.11", "kubernetes"), ("server", "client"), 900)
    )
    assert lacking(pair.cert, ["192.0.2.9", "192.0.2.11", "api.example.org"]) == (
        "192.0.2.9",
        "api.example.org",
    )
    new = reissued(authority, pair.cert, ["192.0.2.9", "192.0.2.11", "api.example.org"])
    assert names_of(new) == ("192.0.2.11", "kubernetes", "192.0.2.9", "api.example.org")
    assert same_key(new, pair.key.reveal())
    assert signed_by(new, authority.cert)
    before, after = (x509.load_pem_x509_certificate(pem.encode()) for pem in (pair.cert, new))
    assert after.subject == before.subject
    assert after.not_valid_after_utc == before.not_valid_after_utc
    usages = x509.ExtendedKeyUsage
    assert (
        after.extensions.get_extension_for_class(usages).value
        == before.extensions.get_extension_for_class(usages).value
    )


def test_a_certificate_that_ends_soon_gets_a_year() -> None:
    authority = new_authority("kubernetes")
    pair = issue(authority, Leaf("kubernetes", days=5))
    after = x509.load_pem_x509_certificate(reissued(authority, pair.cert, ["a"]).encode())
    assert after.not_valid_after_utc > dt.datetime.now(dt.UTC) + dt.timedelta(days=364)


def test_whose_signature_it_is() -> None:
    one, other = new_authority("kubernetes"), new_authority("kubernetes")
    pair = issue(one, Leaf("a"))
    assert signed_by(pair.cert, one.cert)
    assert not signed_by(pair.cert, other.cert)


def found(**files: str) -> FoundHost:
    paths = {
        "unit": "unit:/lib/systemd/system/kube-apiserver.service",
        "conf": "/opt/kubernetes/cfg/kube-apiserver.conf",
    }
    return FoundHost("cp1", {paths[name]: text.encode() for name, text in files.items()})


def test_a_service_is_found_by_its_unit() -> None:
    service = found(unit=UNIT, conf=CONF).service("kube-apiserver")
    assert (service.conf, service.variable) == (
        "/opt/kubernetes/cfg/kube-apiserver.conf",
        "KUBE_APISERVER_OPTS",
    )
    with pytest.raises(UnusableError, match="has no --client-ca-file"):
        service.flag("client-ca-file")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "there is no unit kube-apiserver.service"),
        ({"unit": UNIT}, r"kube-apiserver\.conf is not there"),
        ({"unit": UNIT, "conf": 'KUBE_APISERVER_OPTS="--v=2'}, "does not end"),
        ({"unit": UNIT, "conf": "OTHER=1"}, "its flags are in no EnvironmentFile"),
        ({"unit": UNIT, "conf": 'KUBE_APISERVER_OPTS="--v=2 x y"'}, "'y' is no flag|'x' is no flag"),
    ],
)
def test_a_service_that_cannot_be_read_is_told(files: dict[str, str], said: str) -> None:
    with pytest.raises(UnusableError, match=said):
        found(**files).service("kube-apiserver")
