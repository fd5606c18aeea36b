"""`provision bundle push` and `diff` against a registry that is strict, over real TLS."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from paperlayout import layout
from registryserver import HOST, Running
from test_bundle_signature import KEY_FILE, OTHER, PUBLIC

from provisioner.bundle.layout import Bundle
from provisioner.bundle.signed import sign
from provisioner.cli.main import cli
from provisioner.errors import InputError, ProvisionError
from provisioner.registry.names import place, repository, upstream
from provisioner.registry.target import Target

pytest_plugins = ["registryfixtures"]

CALICO, COREDNS = "docker.io/calico/node:v3.28.1", "registry.k8s.io/coredns/coredns:v1.11.1"
AMD = "linux/amd64"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    path = tmp_path / "bundle"
    return layout(path, (CALICO, AMD, [b"base", b"calico"]), (COREDNS, AMD, [b"base", b"dns"]))


def run(server: Running, *words: str) -> Result:
    """A command of `bundle` with what leads to the server."""
    ca = Path(words[1]).with_name("ca.pem")
    ca.write_bytes(server.ca)
    argv = ["bundle", *words, "--ca", str(ca), "--address", "127.0.0.1"]
    return CliRunner().invoke(cli, argv, catch_exceptions=True)


def pushed(server: Running, bundle: Bundle, *words: str, to: str = "/infra") -> Result:
    return run(server, "push", str(bundle.path), "--to", f"{HOST}:{server.port}{to}", *words)


def test_images_keep_their_names_and_digests(server: Running, bundle: Bundle) -> None:
    done = pushed(server, bundle)
    assert done.exit_code == 0, done.output
    for image in bundle.images():
        name, tag = place(image.reference, "infra")
        assert server.state.manifests[name, tag][0] == image.manifest
    assert {name for name, _ in server.state.manifests} == {"infra/calico/node", "infra/coredns/coredns"}
    assert CALICO in done.output, "the upstream's name is told"
    assert "2 images, 2 new" in done.output
    assert "1 mounted" in done.output, "the layer that both have"


def test_a_second_push_sends_nothing(server: Running, bundle: Bundle) -> None:
    pushed(server, bundle)
    server.state.requests.clear()
    done = pushed(server, bundle, "--json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["event"], last["changed"], last["sent"], last["bytes"]) == ("PushEnded", 0, 0, 0)
    assert [method for method, _ in server.state.requests] == ["HEAD", "HEAD"]


def test_what_is_not_signed_is_not_pushed(server: Running, bundle: Bundle, tmp_path: Path) -> None:
    done = pushed(server, bundle, "--public-key", PUBLIC)
    assert isinstance(done.exception, ProvisionError)
    assert "bundle is not signed" in done.exception.reason
    assert server.state.requests == []
    (tmp_path / "minisign.key").write_text(KEY_FILE)
    sign(bundle.path, tmp_path / "minisign.key", lambda: b"")
    assert isinstance(pushed(server, bundle, "--public-key", OTHER).exception, ProvisionError)
    assert server.state.requests == []
    assert pushed(server, bundle, "--public-key", PUBLIC).exit_code == 0


def test_one_image_alone(server: Running, bundle: Bundle) -> None:
    assert pushed(server, bundle, "--image", CALICO, to="").exit_code == 0
    assert {name for name, _ in server.state.manifests} == {"calico/node"}
    done = pushed(server, bundle, "--image", "docker.io/calico/nod:v3.28.1")
    assert isinstance(done.exception, InputError)
    assert f"did you mean {CALICO}?" in str(done.exception)


def test_several_platforms_are_one_index(server: Running, tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    both = layout(path, (CALICO, AMD, [b"a"]), (CALICO, "linux/arm64", [b"b"]))
    assert pushed(server, both).exit_code == 0
    index = json.loads(server.state.manifests["infra/calico/node", "v3.28.1"][0])
    assert [each["digest"] for each in index["manifests"]] == [image.digest for image in both.images()]
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]


def test_an_account(server: Running, bundle: Bundle, tmp_path: Path) -> None:
    server.state.basic = True
    file = tmp_path / "password"
    file.write_text("secret\n")
    assert pushed(server, bundle, "--username", "me", "--password-file", str(file)).exit_code == 0
    assert pushed(server, bundle, "--username", "me", "--password-command", "printf secret").exit_code == 0
    none = pushed(server, bundle, "--username", "me")
    assert "has no password" in str(none.exception)
    wrong = pushed(server, bundle, "--username", "me", "--password-command", "printf wrong")
    assert isinstance(wrong.exception, ProvisionError)
    assert "401" in wrong.exception.reason
    assert "wrong" not in wrong.output + wrong.exception.reason


@pytest.mark.parametrize(
    ("references", "says"),
    [
        *(
            ([f"example.org/app:{tag}"], f"example.org/app:{tag} has a tag that floats")
            for tag in ("latest", "Latest", "stable", "main", "edge", "nightly", "latest-amd64", "1-latest")
        ),
        (["example.org/app"], "example.org/app has no tag"),
        (["example.org/App:1"], "no registry takes the name infra/App:1"),
        (
            ["docker.io/calico/node:v3", "quay.io/calico/node:v3"],
            "both be infra/calico/node:v3: docker.io/calico/node:v3 and quay.io/calico/node:v3",
        ),
    ],
)
def test_what_could_not_be_found_again_is_refused_before_a_byte_moves(
    server: Running, tmp_path: Path, references: list[str], says: str
) -> None:
    images = [(name, AMD, [name.encode()]) for name in (CALICO, *references)]
    done = pushed(server, layout(tmp_path / "bundle", *images))
    assert isinstance(done.exception, InputError)
    assert says in str(done.exception)
    assert not server.state.requests


def test_diff_tells_what_a_registry_lacks_and_moves_nothing(
    server: Running, bundle: Bundle, tmp_path: Path
) -> None:
    registry = f"{HOST}:{server.port}/infra"
    other = layout(tmp_path / "other", (COREDNS, AMD, [b"other"]))
    pushed(server, other)
    server.state.requests.clear()
    done = run(server, "diff", str(bundle.path), registry)
    assert done.exit_code == 2
    assert f"+ {registry}/calico/node:v3.28.1" in done.output
    assert f"~ {registry}/coredns/coredns:v1.11.1" in done.output
    assert "0 are the same, 1 are missing there, 1 differ" in done.output
    assert {method for method, _ in server.state.requests} == {"HEAD"}
    found = json.loads(run(server, "diff", str(bundle.path), registry, "--json").stdout)
    assert found["other"][0]["there"] == other.images()[0].digest
    pushed(server, bundle)
    assert run(server, "diff", str(bundle.path), registry).exit_code == 0


@pytest.mark.parametrize(
    ("name", "where", "whole"),
    [
        ("busybox", "library/busybox", "docker.io/library/busybox"),
        ("docker.io/busybox", "library/busybox", "docker.io/library/busybox"),
        ("index.docker.io/calico/node", "calico/node", "docker.io/calico/node"),
        ("calico/node", "calico/node", "docker.io/calico/node"),
        ("quay.io/calico/node", "calico/node", "quay.io/calico/node"),
        ("ghcr.io/flannel-io/flannel", "flannel-io/flannel", "ghcr.io/flannel-io/flannel"),
        ("registry.k8s.io/pause", "pause", "registry.k8s.io/pause"),
        ("localhost:5000/x/y", "x/y", "localhost:5000/x/y"),
    ],
)
def test_names(name: str, where: str, whole: str) -> None:
    assert repository(name) == where
    assert repository(name, "infra") == f"infra/{where}"
    assert upstream(name) == whole


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("reg.example.org", Target("reg.example.org", 443)),
        ("reg.example.org:5000/calico", Target("reg.example.org", 5000, "calico")),
        ("https://reg.example.org/a/b/", Target("reg.example.org", 443, "a/b")),
        ("[fd00::1]:5000/x", Target("fd00::1", 5000, "x")),
    ],
)
def test_targets(text: str, target: Target) -> None:
    assert Target.parse(text) == target
    assert Target.parse(str(target)) == target


@pytest.mark.parametrize(
    "text", ["", "/x", "http://reg/x", "reg:0", "reg:70000", "reg/Calico", "reg:x/y", "a b/c d"]
)
def test_what_names_no_registry(text: str) -> None:
    with pytest.raises(InputError, match="--to"):
        Target.parse(text)
