"""What a node is told that cannot pull: containerd, the registry and the way to it are real, and broken one by one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import bcrypt
import pytest
from pullsite import (
    HERE,
    NAME,
    PASSWORD,
    USER,
    Authority,
    Image,
    Site,
    basic,
    site,
    small_image,
    store,
    unpacked,
)

import provisioner.shell
from provisioner.bundle import layout
from provisioner.bundle.preloaded import PreloadedImageKind
from provisioner.registry.pulltest import pull_test, told
from provisioner.resources.model import Absent, Change, Present, Resource
from provisioner.resources.oldmirrors import old_mirrors

pytestmark = pytest.mark.hosts
PRELUDE = (Path(provisioner.shell.__file__).parent / "prelude.sh").read_text()
PROJECT = "project/small"


@dataclass(frozen=True)
class Node:
    """A containerd on the site, and the authority that its hosts.toml trusts."""

    site: Site
    image: Image
    trusted: Authority
    other: Authority
    hosts: Path = field(default=Path())

    def pull(self, port: int, server: str = NAME, digest: str = "", header: str = "") -> tuple[int, str]:
        """The status and the words of the gate's own script; `server` is what hosts.toml names."""
        folder = self.site.folder / "certs.d/_default"
        folder.mkdir(parents=True, exist_ok=True)
        authority = self.site.folder / "ca.crt"
        authority.write_bytes(self.trusted.pem)
        said = f'[header]\n  Authorization = "{header}"\n' if header else ""
        inner = (
            f'  [host."https://{server}:{port}".header]\n    Authorization = "{header}"\n' if header else ""
        )
        (folder / "hosts.toml").write_text(
            f'server = "https://{server}:{port}"\nca = "{authority}"\n{said}'
            f'[host."https://{server}:{port}"]\n  capabilities = ["pull", "resolve"]\n  ca = "{authority}"\n{inner}'
        )
        script = pull_test(f"{NAME}:{port}/{PROJECT}@{digest or self.image.digest}").main
        done = self.run(script.replace("/etc/containerd/certs.d", str(folder.parent)))
        return done.returncode, done.stderr.decode()

    def listed(self, kind: PreloadedImageKind) -> bytes:
        done = self.run(kind.probe([]).main.replace("systemctl is-active --quiet containerd.service", ":"))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, script: str) -> subprocess.CompletedProcess[bytes]:
        """As a host's session runs it, but for what a temporary folder does not have."""
        script = script.replace("overlayfs", "native").replace("/var/lib/provision", str(self.site.folder))
        work = self.site.folder / "work"
        work.mkdir(exist_ok=True)
        path = f"{self.site.programs}:/usr/sbin:/usr/bin:/sbin:/bin"
        socket = str(self.site.folder / "containerd.sock")
        env = {"P": str(self.site.folder), "W": str(work), "PATH": path, "CONTAINERD_ADDRESS": socket}
        return self.site.call("/bin/sh", "-euc", script, env=env)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("node")
    given = os.environ.get("PROVISION_TEST_CONTAINERD")
    programs = Path(given) if given else unpacked("containerd") / "usr/bin"
    image = small_image(folder)
    store(image, folder, PROJECT)
    (folder / "config.toml").write_text(
        f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\n  address = "{folder}/containerd.sock"\n[ttrpc]\n  address = "{folder}/ttrpc.sock"\n'
    )
    with site(folder, programs) as made:
        words = (programs / "containerd", "--config", folder / "config.toml")
        with made.running(*words, log="containerd.log"):
            ready = made.call("sh", "-c", f"i=0; until [ -S {folder}/containerd.sock ]; do sleep 0.1; i=$((i+1));"
                " [ $i -lt 200 ] || exit 1; done; sleep 1")  # fmt: skip
            assert ready.returncode == 0, (folder / "containerd.log").read_text()
            yield Node(made, image, Authority.new("trusted"), Authority.new("other"))


Server = Callable[[Node], AbstractContextManager[None]]


def certified(**kinds: object) -> Server:
    return lambda node: node.site.registry(5000, node.trusted.server(node.site.folder, **kinds))  # type: ignore[arg-type]


def odd(status: int, code: str, message: str) -> Server:
    return lambda node: node.site.odd(5000, node.trusted.server(node.site.folder), status, code, message)


def accounts(node: Node) -> AbstractContextManager[None]:
    crypted = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5, b"2a")).decode()
    return node.site.registry(5000, node.trusted.server(node.site.folder), f"{USER}:{crypted}\n")


def nobody(_: Node) -> AbstractContextManager[None]:
    return nullcontext()


def stranger(node: Node) -> AbstractContextManager[None]:
    return node.site.registry(5000, node.other.server(node.site.folder))


CASES: dict[str, tuple[Server, dict[str, str], str]] = {
    "no such name": (nobody, {"server": "nowhere.example"}, "the registry's name is not known there"),
    "refused": (nobody, {}, "nothing listens"),
    "no route": (nobody, {"server": "far.example"}, "no way leads"),
    "swallowed": (nobody, {"server": "silent.example"}, "nothing answers"),
    "another name": (certified(name="another.example"), {}, "not for the name"),
    "another authority": (stranger, {}, "authority that the node does not know"),
    "expired": (certified(days=-3), {}, "has expired"),
    "not valid yet": (certified(days=3), {}, "is not valid yet"),
    "no TLS": (lambda node: node.site.odd(5000, "", 200, "", ""), {}, "without TLS"),
    "no account": (accounts, {}, "401"),
    "wrong password": (accounts, {"header": "Basic d3Jvbmc6d3Jvbmc="}, "401"),
    "forbidden": (odd(403, "DENIED", "requested access to the resource is denied"), {}, "403"),
    "no such image": (certified(), {"digest": f"sha256:{'1' * 64}"}, "does not have"),
    "no such project": (odd(404, "NOT_FOUND", "project p not found"), {}, "does not have"),
    "broken": (odd(500, "UNKNOWN", "disk full"), {}, "500"),
    "unavailable": (odd(503, "UNAVAILABLE", "later"), {}, "503"),
    "too many requests": (odd(429, "TOOMANYREQUESTS", "slow down"), {}, "429"),
}


@pytest.mark.parametrize(
    "case",
    # Silence lasts until the client has had enough of it.
    [pytest.param(each, marks=pytest.mark.soak if each == "swallowed" else ()) for each in CASES],
)
def test_the_cause_is_named(node: Node, case: str) -> None:
    server, how, wanted = CASES[case]
    with server(node):
        status, said = node.pull(5000, **how)
    if folder := os.environ.get("PROVISION_TEST_SAID"):
        (Path(folder) / case.replace(" ", "-")).write_text(said)
    assert status == 1, said
    reason, hint = told("n1", said)
    assert wanted in reason, reason
    assert "n1" in reason, reason
    assert hint, reason


def test_with_the_account_it_is_pulled_and_asked_for_each_time(node: Node) -> None:
    with accounts(node):
        assert node.pull(5000, header=basic()) == (0, "")
    # The image is there now; without a registry the node fails nonetheless.
    assert node.pull(5000)[0] == 1


def test_mirrors_of_an_old_configuration_are_asked_as_before(node: Node) -> None:
    """What was carried over reaches the mirror, with its authority and its account, for images by the old name."""
    cri = 'plugins."io.containerd.grpc.v1.cri".registry'
    authority = node.site.folder / "ca.crt"
    authority.write_bytes(node.trusted.pem)
    password = PASSWORD.replace('"', '\\"')
    said = old_mirrors(
        f'[{cri}.mirrors."other.example"]\nendpoint = ["https://nowhere.example", "https://{NAME}:5000"]\n'
        f'[{cri}.configs."{NAME}:5000".tls]\nca_file = "{authority}"\n'
        f'[{cri}.configs."{NAME}:5000".auth]\nusername = "{USER}"\npassword = "{password}"\n'
    )
    folder = node.site.folder / "old.d"
    for name, text in said.files.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "hosts.toml").write_text(text)
    with accounts(node):
        reference = f"other.example/{PROJECT}@{node.image.digest}"
        pulled = node.run(
            "local=; ! ctr images pull --help | grep -q -e --local || local=--local\n"
            f"ctr images pull $local --snapshotter native --hosts-dir {folder} {reference} >&2"
        )
        assert pulled.returncode == 0, pulled.stderr


def test_an_authority_that_changes_needs_no_restart(node: Node) -> None:
    with stranger(node):
        assert node.pull(5000)[0] == 1
        changed = Node(node.site, node.image, node.other, node.trusted)
        assert changed.pull(5000) == (0, "")


def test_an_image_that_is_preloaded_has_its_reference_and_is_pinned(node: Node) -> None:
    folder, digest = node.site.folder, node.image.digest
    name = f"registry.none:5000/preloaded@{digest}"
    blobs = tuple(
        layout.BlobFile(each.digest, each.size, each.path, each.media_type) for each in node.image.blobs
    )
    image = layout.Image("preloaded", "1", digest, node.image.manifest, node.image.media_type, blobs)
    kind = PreloadedImageKind(lambda _: image, lambda _: name)
    wish = Resource(kind.name, name, Present({"pinned": True}), {"image": image})
    assert kind.parse(node.listed(kind), [wish]) == {wish.id: Absent()}
    script = kind.change(Change(wish, Absent(), "create"))
    (folder / "stream").write_bytes(b"".join(each.path.read_bytes() for each in script.streams if each.path))
    for member, blob in script.payload.items():
        (folder / member).write_bytes(blob.data or b"")
    done = node.run(f"exec 3<{folder}/stream\n{PRELUDE}\n{script.main}")
    assert done.returncode == 0, done.stderr
    assert kind.parse(node.listed(kind), [wish]) == {wish.id: Present({"pinned": True})}
    done = node.run(f"ctr --namespace k8s.io images label {name} io.cri-containerd.pinned=")
    assert kind.parse(node.listed(kind), [wish]) == {wish.id: Present({"pinned": False})}, done.stderr
    script = kind.change(Change(wish, Present({"pinned": False}), "update"))
    assert not script.streams
    assert node.run(script.main).returncode == 0
    assert kind.parse(node.listed(kind), [wish]) == {wish.id: Present({"pinned": True})}


def test_this_host_is_in_the_network(node: Node) -> None:
    assert HERE in node.site.call("ip", "address").stdout.decode()
