"""What containerd's `mirrors` and `configs` say, as the hosts.toml files that took their place.

Source: containerd, docs/hosts.md and docs/cri/registry.md (1.7): with `config_path` set, `mirrors` are refused.
"""

from __future__ import annotations

import base64
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_PLUGINS = ("io.containerd.grpc.v1.cri", "cri", "io.containerd.cri.v1.images")
"""Of configurations of version 2, 1 and 3."""
_DOCKER_IO = "registry-1.docker.io"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?|\[[0-9a-fA-F:]+\](:[0-9]+)?")


@dataclass(frozen=True)
class OldMirrors:
    """`files`: the text of hosts.toml by registry, with accounts where it has `secret` ones; `left`: what has no place
    there, in words."""

    files: Mapping[str, str]
    secret: frozenset[str]
    left: tuple[str, ...]


def old_mirrors(config: str) -> OldMirrors:
    """Of the text of a config.toml. One that containerd could not read, either, says nothing."""
    try:
        plugins = _table(tomllib.loads(config), "plugins")
    except (ValueError, RecursionError):
        return OldMirrors({}, frozenset(), ())
    mirrors: dict[str, Any] = {}
    configs: dict[str, Any] = {}
    for name in _PLUGINS:
        registry = _table(_table(plugins, name), "registry")
        mirrors |= _table(registry, "mirrors")
        configs |= _table(registry, "configs")
    return _written(mirrors, configs)


def _written(mirrors: Mapping[str, Any], configs: Mapping[str, Any]) -> OldMirrors:
    files: dict[str, str] = {}
    secret: set[str] = set()
    left: list[str] = []
    endpoints = {name: _endpoints(mirrors[name]) for name in mirrors}
    alone = ("docker.io" if name == _DOCKER_IO else name for name in configs)
    for name in dict.fromkeys([*mirrors, *alone]):
        if not _NAME.fullmatch(name):
            left.append(f"the mirrors of '{name}'")
            continue
        server = _DOCKER_IO if name == "docker.io" else name
        blocks = [_block("", f"https://{server}", configs.get(server) or configs.get(name))]
        blocks += [
            _block("host", each, configs.get(urlsplit(each).netloc)) for each in endpoints.get(name, ())
        ]
        files[name] = "\n".join(block.text for block in blocks)
        if any(block.account for block in blocks):
            secret.add(name)
        left += [f"the token for {block.at}" for block in blocks if block.token]
    return OldMirrors(files, frozenset(secret), tuple(dict.fromkeys(left)))


@dataclass(frozen=True)
class _Block:
    at: str
    text: str
    account: bool
    token: bool


def _block(kind: str, url: str, config: object) -> _Block:
    """The lines on one server: the registry itself, which is asked last, or (`kind` "host") a mirror."""
    lines = (
        [f"[host.{_quoted(url)}]", 'capabilities = ["pull", "resolve"]']
        if kind
        else [f"server = {_quoted(url)}"]
    )
    if kind and urlsplit(url).path.rstrip("/") not in ("", "/v2"):
        # There a mirror's path was taken as it stands; here "/v2" would be put behind it.
        lines.append("override_path = true")
    lines += _trust(_table(config, "tls"))
    auth = _table(config, "auth")
    account = _account(auth)
    if account:
        lines += [
            f"[host.{_quoted(url)}.header]" if kind else "[header]",
            f"Authorization = {_quoted(account)}",
        ]
    token = not account and bool(auth.get("identitytoken"))
    return _Block(urlsplit(url).netloc, "\n".join(lines) + "\n", bool(account), token)


def _trust(tls: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(tls.get("ca_file"), str) and tls["ca_file"]:
        yield f"ca = {_quoted(tls['ca_file'])}"
    if tls.get("insecure_skip_verify") is True:
        yield "skip_verify = true"
    cert, key = tls.get("cert_file"), tls.get("key_file")
    if isinstance(cert, str) and isinstance(key, str) and cert and key:
        yield f"client = [[{_quoted(cert)}, {_quoted(key)}]]"


def _account(auth: Mapping[str, Any]) -> str:
    """The header that says it; "" for none."""
    said = auth.get("auth")
    if isinstance(said, str) and said:
        return f"Basic {said}"
    name, password = auth.get("username"), auth.get("password")
    if isinstance(name, str) and name and isinstance(password, str):
        return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"
    return ""


def _endpoints(mirror: object) -> tuple[str, ...]:
    said = mirror.get("endpoint") if isinstance(mirror, dict) else None
    urls = said if isinstance(said, list) else []
    return tuple(each for each in urls if isinstance(each, str) and urlsplit(each).netloc)


def _table(within: object, key: str) -> dict[str, Any]:
    """{} where there is none."""
    found = within.get(key) if isinstance(within, Mapping) else None
    return found if isinstance(found, dict) else {}


def _quoted(text: str) -> str:
    """As a basic string of TOML, which a string of JSON is."""
    return json.dumps(text, ensure_ascii=False)
