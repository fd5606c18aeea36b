"""What a containerd of others said of registries, as hosts.toml files: by text, and on a host."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Any

import pytest
from localhost import SHELLS, Here

from provisioner.engine.events import Changed
from provisioner.resources.oldmirrors import old_mirrors
from provisioner.resources.taken import taken


@pytest.fixture(params=SHELLS)
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Here:
    return Here(tmp_path, request.param)


CRI = 'plugins."io.containerd.grpc.v1.cri".registry'
CONFIG = f"""
version = 2
[{CRI}.mirrors."docker.io"]
  endpoint = ["https://mirror.example:5000", "http://second.example/v2/hub", "nonsense"]
[{CRI}.mirrors."quay.io"]
  endpoint = ["https://mirror.example:5000/v2"]
[{CRI}.mirrors."reg.example:5000"]
  endpoint = ["https://reg.example:5000"]
[{CRI}.mirrors."*"]
  endpoint = ["https://mirror.example:5000"]
[{CRI}.configs."mirror.example:5000".tls]
  ca_file = "/etc/ssl/a \\"b\\".pem"
  cert_file = "/c.pem"
  key_file = "/k.pem"
[{CRI}.configs."mirror.example:5000".auth]
  username = "me"
  password = "it's \\u00e4"
[{CRI}.configs."registry-1.docker.io".auth]
  auth = "bWU6eA=="
[{CRI}.configs."alone.example".tls]
  insecure_skip_verify = true
[{CRI}.configs."alone.example".auth]
  identitytoken = "t"
"""
ACCOUNT = "Basic bWU6aXQncyDDpA=="
MIRROR: dict[str, Any] = {
    "capabilities": ["pull", "resolve"],
    "ca": '/etc/ssl/a "b".pem',
    "client": [["/c.pem", "/k.pem"]],
    "header": {"Authorization": ACCOUNT},
}


def test_each_registry_has_a_file_with_its_mirrors_in_order() -> None:
    found = old_mirrors(CONFIG)
    files = {name: tomllib.loads(text) for name, text in found.files.items()}
    assert files["docker.io"] == {
        "server": "https://registry-1.docker.io",
        "header": {"Authorization": "Basic bWU6eA=="},
        "host": {
            "https://mirror.example:5000": MIRROR,
            "http://second.example/v2/hub": {"capabilities": ["pull", "resolve"], "override_path": True},
        },
    }
    assert list(files["docker.io"]["host"]) == ["https://mirror.example:5000", "http://second.example/v2/hub"]
    assert files["quay.io"] == {
        "server": "https://quay.io",
        "host": {"https://mirror.example:5000/v2": MIRROR},
    }
    assert files["alone.example"] == {"server": "https://alone.example", "skip_verify": True}
    assert files["mirror.example:5000"]["ca"] == MIRROR["ca"], "images are asked of it by its own name, too"
    assert set(files) == {"docker.io", "quay.io", "reg.example:5000", "mirror.example:5000", "alone.example"}
    assert found.secret == {"docker.io", "quay.io", "mirror.example:5000"}
    assert found.left == ("the mirrors of '*'", "the token for alone.example")


@pytest.mark.parametrize("plugin", ["plugins.cri", 'plugins."io.containerd.cri.v1.images"'])
def test_configurations_of_other_versions(plugin: str) -> None:
    text = f'[{plugin}.registry.mirrors."docker.io"]\nendpoint = ["https://m.example"]\n'
    assert list(old_mirrors(text).files) == ["docker.io"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "version = 2\n",
        "not TOML",
        "plugins = 3\n",
        f"[{CRI}]\nmirrors = 3\nconfigs = []\n",
        f'[{CRI}]\nconfig_path = "/etc/containerd/certs.d"\n',
        'a = """\n==\n',
    ],
)
def test_where_nothing_is_said_nothing_is_made(text: str) -> None:
    found = old_mirrors(text)
    assert (found.files, found.left) == ({}, ())


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "", "a b", ".", "a:b:c"])
def test_what_is_no_registry_is_no_folder(name: str) -> None:
    found = old_mirrors(f'[{CRI}.mirrors."{name}"]\nendpoint = ["https://m.example"]\n')
    assert found.files == {}
    assert found.left == (f"the mirrors of '{name}'",)


@pytest.mark.parametrize(
    "value", ["3", '"x"', "[1, 2]", "[[]]", "{}", '{endpoint = "x"}', "{endpoint = [1]}"]
)
def test_odd_values_are_no_mirrors(value: str) -> None:
    text = f'[{CRI}.mirrors]\n"docker.io" = {value}\n[{CRI}.configs]\n"a.example" = {value}\n'
    files = old_mirrors(text).files
    assert tomllib.loads(files["docker.io"]) == {"server": "https://registry-1.docker.io"}
    assert tomllib.loads(files["a.example"]) == {"server": "https://a.example"}


def test_on_a_host_they_are_carried_over_once(here: Here) -> None:
    here.shell("mkdir -p certs.d/quay.io")
    Path(here.target, "config.toml").write_text(CONFIG.rstrip("\n"))
    here.shell("echo theirs >certs.d/quay.io/hosts.toml")
    task = {
        "config": "{{ root }}/config.toml",
        "folder": "{{ root }}/certs.d",
        "but": ["_default", "reg.example:5000"],
    }
    desired = here.desired([{"migrated_mirrors": task}])
    (change,) = here.changes(desired)
    assert taken(change) == (
        "makes hosts.toml files for docker.io, mirror.example:5000, alone.example; "
        "not the mirrors of '*', the token for alone.example"
    )
    assert "me" not in str(change.before).split("'"), "no account is in what a plan shows"
    assert ACCOUNT not in f"{change}"
    assert here.apply(desired) is None
    told = here.events[-1]
    assert isinstance(told, Changed)
    assert told.detail == taken(change)
    made = {each.parent.name: each for each in Path(here.target, "certs.d").glob("*/hosts.toml")}
    assert set(made) == {"docker.io", "quay.io", "mirror.example:5000", "alone.example"}
    assert made["quay.io"].read_text() == "theirs\n"
    memory = Path(here.session.root, "own/var/lib/provision/carried-mirrors").read_text()
    carried = [line.split(" ", 1) for line in memory.splitlines()]
    assert {path for _, path in carried} == {str(made[name]) for name in made if name != "quay.io"}
    assert all(hashlib.sha256(Path(path).read_bytes()).hexdigest() == digest for digest, path in carried)
    assert made["docker.io"].read_text() == old_mirrors(CONFIG).files["docker.io"]
    assert {name: oct(each.stat().st_mode & 0o777) for name, each in made.items()} == {
        "docker.io": "0o600",
        "mirror.example:5000": "0o600",
        "quay.io": "0o644",
        "alone.example": "0o644",
    }


def test_a_host_without_a_configuration(here: Here) -> None:
    task = {"config": "{{ root }}/config.toml", "folder": "{{ root }}/certs.d"}
    assert here.changes(here.desired([{"migrated_mirrors": task}])) == []


def test_what_cannot_be_written_is_told(here: Here) -> None:
    Path(here.target, "config.toml").write_text(CONFIG)
    here.shell(": >certs.d")
    task = {"config": "{{ root }}/config.toml", "folder": "{{ root }}/certs.d"}
    failure = here.apply(here.desired([{"migrated_mirrors": task}]))
    assert failure is not None
    assert "certs.d" in failure.reason
