"""`provision bundle push` and `diff` against a registry that is strict, over real TLS."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from paperlayout import layout
from registryserver import HOST, Handler, Running
from test_bundle_signature import KEY_FILE, OTHER, PUBLIC

from provisioner.action import pushing
from provisioner.action.pushing import near_names
from provisioner.bundle import oci
from provisioner.bundle.layout import Bundle
from provisioner.bundle.signed import sign
from provisioner.cli.main import cli
from provisioner.errors import ConsentError, InputError, ProvisionError, UnreachableError
from provisioner.registry import transport
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


def test_a_tag_that_names_another_image_is_moved_when_that_is_wanted_only(
    server: Running, bundle: Bundle, tmp_path: Path
) -> None:
    pushed(server, layout(tmp_path / "older", (COREDNS, AMD, [b"other"])))
    key = ("infra/coredns/coredns", "v1.11.1")
    there, _ = server.state.manifests[key]
    before, after = oci.digest_of(there), bundle.image(COREDNS).digest
    server.state.requests.clear()
    refused = pushed(server, bundle)
    assert isinstance(refused.exception, ConsentError)
    where = f"{HOST}:{server.port}/infra/coredns/coredns:v1.11.1"
    assert f"{where} is {before[:19]}, and would become {after[:19]}" in refused.exception.reason
    assert "--force" in refused.exception.hint
    assert {method for method, _ in server.state.requests} == {"HEAD"}, "the other image stays here, too"
    assert server.state.manifests[key][0] == there
    moved = pushed(server, bundle, "--force")
    assert moved.exit_code == 0, moved.output
    assert f"~ {where} was {before[:19]}, is {after[:19]}" in moved.output
    assert "has 2 images, 1 new, 1 changed: " in moved.output
    assert server.state.manifests[key][0] == bundle.image(COREDNS).manifest


def test_a_tag_alone_that_moves_or_is_new_is_a_change(
    server: Running, bundle: Bundle, tmp_path: Path
) -> None:
    """Whose blobs are all there: nothing but a manifest goes."""
    older = layout(tmp_path / "older", (COREDNS, AMD, [b"other"]))
    pushed(server, bundle)
    pushed(server, older, "--force")
    back = pushed(server, bundle, "--force", "--json", "--image", COREDNS)
    one, ended = (json.loads(line) for line in back.stdout.splitlines()[-2:])
    assert (one["sent"], one["changed"], one["before"]) == (0, True, older.images()[0].digest)
    assert (ended["changed"], ended["moved"], ended["sent"]) == (1, 1, 0)
    newer = COREDNS.replace("v1.11.1", "v1.11.2")
    new = pushed(server, layout(tmp_path / "newer", (newer, AMD, [b"base", b"dns"])))
    assert "  + " in new.output
    assert "has 1 image, 1 new: 0 blobs sent (0 B), 0 mounted, 3 were there" in new.output


def test_a_tag_that_another_push_took_meanwhile_stays(server: Running, bundle: Bundle) -> None:
    calico, coredns = bundle.images()

    def faster(handler: Handler) -> bool:
        if handler.command == "PUT" and "/manifests/" in handler.path:
            state = handler.state
            state.manifests["infra/coredns/coredns", "v1.11.1"] = (calico.manifest, calico.media_type)
            state.faults.clear()
        return False

    server.state.faults.append(faster)
    done = pushed(server, bundle)
    assert isinstance(done.exception, ConsentError)
    assert server.state.manifests["infra/coredns/coredns", "v1.11.1"][0] == calico.manifest
    assert coredns.digest[:19] in done.exception.reason


def test_several_platforms_do_not_go_over_one(server: Running, tmp_path: Path) -> None:
    one, two = (CALICO, AMD, [b"a"]), (CALICO, "linux/arm64", [b"b"])
    pushed(server, layout(tmp_path / "one", one))
    both = layout(tmp_path / "both", one, two)
    assert isinstance(pushed(server, both).exception, ConsentError)
    assert "1 changed" in pushed(server, both, "--force").output
    assert "ok " in pushed(server, both).output


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


@pytest.mark.parametrize(
    ("written", "near"),
    [
        ("coredns", COREDNS),
        ("CoreDNS:v1.11", COREDNS),
        ("cordns", COREDNS),
        ("corends:v1.11.1", COREDNS),
        ("calico/nod:v3.28.1", CALICO),
        ("v1", COREDNS),
        ("v", f"{CALICO} or {COREDNS}"),
    ],
)
def test_an_image_that_is_not_there_is_told_by_what_is_like_it(
    server: Running, bundle: Bundle, written: str, near: str
) -> None:
    done = pushed(server, bundle, "--image", written)
    assert isinstance(done.exception, InputError)
    assert f"did you mean {near}?" in str(done.exception)
    assert not server.state.requests


def test_only_some_of_many_are_offered() -> None:
    known = {f"quay.io/cilium/part{number}:v1" for number in range(7)}
    hint = near_names("cilium", known)
    assert hint.count("quay.io/cilium/") == 4
    assert hint.endswith("part3:v1? 3 more have it in their names")
    assert "inspect" in near_names("etcd", known)


@pytest.mark.parametrize(
    ("words", "says", "never"),
    [
        (("--address", "nonsense"), "--address: 'nonsense' is no IP address", ""),
        (
            ("--ca", "k/nope.pem"),
            "--ca: the registry's authority k/nope.pem cannot be read: No such file",
            "",
        ),
        (("--ca", "words.pem"), "--ca: the registry's authority words.pem holds no certificate", ""),
        (("--ca", "broken.pem"), "--ca: the registry's authority is no certificate in PEM", ""),
        (
            ("--username", "me", "--password-file", "k/nope"),
            "--password-file: the secret's file k/nope cannot be read: No such file",
            "the folder of the file",
        ),
        (("--image", "nope"), "--image: there is no image nope", ""),
        (("--to", "a b"), "--to: 'a b' names no registry", ""),
    ],
)
def test_what_is_wrong_with_the_command_is_told_so(
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    says: str,
    never: str,
) -> None:
    (tmp_path / "words.pem").write_text("no certificate")
    (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    monkeypatch.chdir(tmp_path)
    argv = ["bundle", "push", str(bundle.path), "--to", "registry.example", *words]
    done = CliRunner().invoke(cli, argv)
    assert isinstance(done.exception, InputError)
    assert done.exception.exit_code == 3
    assert str(done.exception).startswith(says)
    if never:
        assert never not in str(done.exception)


def test_all_that_is_wrong_with_the_access_is_told_together(bundle: Bundle) -> None:
    argv = ["bundle", "push", str(bundle.path), "--to", "r.example", "--address", "x", "--username", "me"]
    done = CliRunner().invoke(cli, [*argv, "--ca", "nope"])
    assert isinstance(done.exception, InputError)
    assert [each.file for each in done.exception.problems] == ["--address", "--ca", "--username"]


def test_a_password_s_command_runs_once(server: Running, bundle: Bundle, tmp_path: Path) -> None:
    server.state.basic = True
    counting = tmp_path / "counting"
    counting.write_text(f"#!/bin/sh\necho >>{tmp_path}/runs\nprintf wrong\n")
    counting.chmod(0o755)
    pushed(server, bundle, "--username", "me", "--password-command", str(counting))
    assert (tmp_path / "runs").read_text() == "\n"


def test_a_port_where_nothing_listens_is_told_at_once(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_FIRST_DELAY_SECONDS", 20.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    began = time.monotonic()
    for words in (("push", str(bundle.path), "--to"), ("diff", str(bundle.path))):
        done = CliRunner().invoke(cli, ["bundle", *words, f"{HOST}:{port}", "--address", "127.0.0.1"])
        assert isinstance(done.exception, UnreachableError)
        assert done.exception.reason == f"nothing listens on {HOST}:{port} at 127.0.0.1"
    assert time.monotonic() - began < 20, "it tried again"


def test_a_bundle_without_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundle").mkdir()
    layout(tmp_path / "bundle")
    monkeypatch.setattr(pushing, "default_bundle_path", lambda: tmp_path / "bundle")
    done = CliRunner().invoke(cli, ["bundle", "push", "--to", HOST])
    assert isinstance(done.exception, InputError)
    assert "has no images" in str(done.exception)


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
    assert isinstance(none.exception, InputError)
    assert "has no password" in str(none.exception)
    server.state.requests.clear()
    for option, value in (("--password-file", str(file)), ("--password-command", "printf secret")):
        nameless = pushed(server, bundle, option, value)
        assert isinstance(nameless.exception, InputError)
        assert "no account that it is of" in str(nameless.exception)
    assert not server.state.requests
    for anonymous in (pushed(server, bundle), run(server, "diff", str(bundle.path), f"{HOST}:{server.port}")):
        assert isinstance(anonymous.exception, ProvisionError)
        assert "give --username and --password-file" in anonymous.exception.hint
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
    pushed(server, bundle, "--force")
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
    "text",
    [
        *("", "/x", "http://reg/x", "reg:0", "reg:70000", "reg/Calico", "reg:x/y"),
        *("a b", "a b/c", "reg..example", "reg-", "me@reg", f"{'a' * 64}.example"),
    ],
)
def test_what_names_no_registry(text: str) -> None:
    with pytest.raises(InputError, match="--to"):
        Target.parse(text)
