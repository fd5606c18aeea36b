"""The way to a host: the inventory's word, then the SSH configuration, then the defaults."""

from __future__ import annotations

import getpass
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.errors import ProvisionError
from provisioner.inventory.model import Connection
from provisioner.inventory.secrets import Secret
from provisioner.remote.route import Hop, UserConfig

CONFIG = """\
Host node
  HostName 10.0.0.9
  Port 2200
  User deploy
  IdentityFile /keys/node
  HostKeyAlias node-key
Host inner
  ProxyJump ops@bastion:2022,second
Host second
  User two
Host bastion
  HostName 192.0.2.1
  IdentityFile /keys/bastion
Host far
  ProxyCommand nc -X connect %h %p
Host circle
  ProxyJump circle
Host behind
  ProxyJump inner
"""


@pytest.fixture
def config(tmp_path: Path) -> UserConfig:
    path = tmp_path / "config"
    path.write_text(CONFIG)
    return UserConfig.load(path)


def show(hops: tuple[Hop, ...]) -> list[str]:
    return [str(hop) for hop in hops]


ME = getpass.getuser()


@pytest.mark.parametrize(
    ("connection", "way"),
    [
        (Connection("plain"), [f"{ME}@plain"]),
        (Connection("node"), ["deploy@10.0.0.9:2200"]),
        (Connection("node", port=22022, user="root"), ["root@10.0.0.9:22022"]),
        (Connection("inner"), ["ops@192.0.2.1:2022", "two@second", f"{ME}@inner"]),
        (Connection("behind"), ["ops@192.0.2.1:2022", "two@second", f"{ME}@inner", f"{ME}@behind"]),
        (Connection("inner", proxy_jump="none"), [f"{ME}@inner"]),
        (Connection("plain", proxy_jump="a@[fd00::1]:23"), ["a@fd00::1:23", f"{ME}@plain"]),
        (Connection("plain", proxy_jump="fd00::1"), [f"{ME}@fd00::1", f"{ME}@plain"]),
    ],
)
def test_way(config: UserConfig, connection: Connection, way: list[str]) -> None:
    assert show(config.route(connection)) == way


def test_keys_of_a_host(config: UserConfig) -> None:
    (hop,) = config.route(Connection("node"))
    assert (hop.key_files, hop.only_key_files, hop.key_address) == ((Path("/keys/node"),), False, "node-key")
    (hop,) = config.route(Connection("node", key_file=Path("/mine")), [Path("/run")])
    assert (hop.key_files, hop.only_key_files) == ((Path("/mine"),), True)
    (hop,) = config.route(Connection("node"), [Path("/run")])
    assert (hop.key_files, hop.only_key_files) == ((Path("/run"),), True)
    (hop,) = config.route(Connection("plain", password=Secret.text("x")))
    assert (hop.key_files, hop.only_key_files) == ((), True)


def test_a_gateway_uses_its_own_key_then_the_hosts(config: UserConfig) -> None:
    first, second, _ = config.route(Connection("inner", key_file=Path("/mine"), password=Secret.text("x")))
    assert first.key_files == (Path("/keys/bastion"),)
    assert second.key_files == (Path("/mine"),)
    assert first.password is second.password is None


@pytest.mark.parametrize(
    ("connection", "command"),
    [
        (Connection("far"), "nc -X connect far 22"),
        (Connection("far", proxy_jump="b"), None),
        (Connection("node", proxy_command="relay %r@%h:%p 100%%"), "relay deploy@10.0.0.9:2200 100%"),
        (Connection("far", proxy_command="none"), None),
    ],
)
def test_proxy_command(config: UserConfig, connection: Connection, command: str | None) -> None:
    assert config.route(connection)[-1].proxy_command == command


@pytest.mark.parametrize(
    "connection", [Connection("circle"), Connection("a", proxy_jump="b:x"), Connection("a", proxy_jump="b,")]
)
def test_refuses(config: UserConfig, connection: Connection) -> None:
    with pytest.raises(ProvisionError):
        config.route(connection)


def test_no_file_says_nothing(tmp_path: Path) -> None:
    assert show(UserConfig.load(tmp_path / "none").route(replace(Connection("a"), user="u"))) == ["u@a"]
