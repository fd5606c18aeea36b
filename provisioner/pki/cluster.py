"""The cluster's own state: its identity and its keys. The truth lies on the control-plane hosts, in STATE_FILE."""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.inventory.secrets import Secret
from provisioner.inventory.spelling import kind_of
from provisioner.pki.authority import KeyPair, new_authority, new_signing_pair

FORMAT = 2
STATE_FILE = "/var/lib/provision/state/state.json"
MARK_FILE = "/var/lib/provision/cluster.json"

_AUTHORITIES = {"kubernetes": "kubernetes-ca", "etcd": "etcd-ca", "front-proxy": "front-proxy-ca"}


Fixed = Mapping[str, str | int | list[str]]
"""What cannot be changed once a cluster runs (action.fixed), as JSON holds it."""


@dataclass(frozen=True)
class ClusterState:
    """`uuid` names the cluster for ever; `authorities` are CAs by name; `service_account` signs tokens; with
    `encryption_key`, 32 bytes in base64, the API server encrypts Secrets before they reach etcd (secretbox).
    """

    uuid: str
    name: str
    authorities: Mapping[str, KeyPair] = field(repr=False)
    service_account: KeyPair = field(repr=False)
    encryption_key: Secret = field(repr=False)
    fixed: Fixed = field(default_factory=dict)

    @property
    def keys(self) -> tuple[object, ...]:
        """What every copy has to have in common."""
        return self.uuid, dict(self.authorities), self.service_account, self.encryption_key

    def to_json(self) -> Secret:
        """The state file's text; the same state gives the same text."""
        pairs = {
            name: {"cert": pair.cert, "key": pair.key.reveal()}
            for name, pair in sorted(self.authorities.items())
        }
        data = {
            "format": FORMAT,
            "uuid": self.uuid,
            "name": self.name,
            "authorities": pairs,
            "service_account": {
                "public": self.service_account.cert,
                "key": self.service_account.key.reveal(),
            },
            "encryption_key": self.encryption_key.reveal(),
            "fixed": self.fixed,
        }
        return Secret.text(json.dumps(data, indent=1, sort_keys=True) + "\n")

    def mark(self) -> str:
        """The text of the file by which every host of the cluster knows whose it is."""
        return marked(self.name, self.uuid)


def new_state(name: str) -> ClusterState:
    """A new cluster's identity and keys."""
    authorities = {each: new_authority(common) for each, common in _AUTHORITIES.items()}
    key = Secret.text(base64.b64encode(secrets.token_bytes(32)).decode())
    return ClusterState(str(uuid.uuid4()), name, authorities, new_signing_pair(), key)


def parse_state(text: Secret, host: str) -> ClusterState:
    """The state, brought to the format of now. Raises ProvisionError when the file is damaged or of a newer format than
    this version knows."""
    try:
        data = json.loads(text.reveal())
        if data["format"] > FORMAT:
            raise ProvisionError(
                f"{host}: {STATE_FILE} has format {data['format']}, this version knows {FORMAT}",
                "use the version of provision that wrote it, or a newer one",
            )
        data = _migrated(data)
        authorities = {name: _pair(each["cert"], each["key"]) for name, each in data["authorities"].items()}
        signing = _pair(data["service_account"]["public"], data["service_account"]["key"])
        key = Secret.text(_text(data["encryption_key"]))
        fixed = {_text(name): _fixed(value) for name, value in data["fixed"].items()}
        return ClusterState(_text(data["uuid"]), _text(data["name"]), authorities, signing, key, fixed)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        reason = f"{host}: {STATE_FILE} is damaged ({type(fault).__name__}: {fault})"
        raise ProvisionError(reason, "restore it from another control-plane host or a backup") from None


def marked(name: str, uuid: str) -> str:
    """The text of the mark that all hosts of a cluster carry."""
    return json.dumps({"name": name, "uuid": uuid}, sort_keys=True) + "\n"


def agreed_state(
    name: str,
    found: Mapping[str, Secret],
    marks: Mapping[str, str],
    pending: Secret | None = None,
    make: Callable[[str], ClusterState] = new_state,
    *,
    keyless: bool = False,
) -> ClusterState:
    """The cluster's state from what the hosts carry: `found` state files of the control planes and `marks` of all
    hosts, by host.

    A new state is made by `make` (or `pending` taken, the text of one that was promised) only when no host has ever
    belonged to a cluster; with `keyless` also where its keys are gone. Raises ProvisionError otherwise, and when two
    control planes carry different keys. What is fixed may be missing in some copies: a run that brings an older format
    to the one of now can end between two hosts.
    """
    states = {host: parse_state(text, host) for host, text in found.items()}
    identities = {state.uuid: host for host, state in states.items()}
    for host, text in marks.items():
        identities.setdefault(_mark_uuid(text, host), host)
    if len(identities) > 1:
        first, second = list(identities.values())[:2]
        raise ProvisionError(
            f"{first} and {second} belong to different clusters",
            "take one of them out of the inventory, or reset it",
        )
    if states:
        first, state = next(iter(states.items()))
        for host, other in states.items():
            if other.keys != state.keys:
                raise ProvisionError(
                    f"{first} and {host} carry different keys of the same cluster",
                    f"find out which {STATE_FILE} is right and put it on both",
                )
        return replace(state, fixed=_fixed_of(states.values()))
    if identities and keyless:
        return replace(make(name), uuid=next(iter(identities)))
    if identities:
        host = next(iter(identities.values()))
        raise ProvisionError(
            f"{host} belongs to a cluster whose keys are on none of the control-plane hosts of this inventory",
            f"restore {STATE_FILE} on a control-plane host; a reset that was stopped goes on with the same command",
        )
    return parse_state(pending, "the plan's promise") if pending else make(name)


def _fixed_of(states: Iterable[ClusterState]) -> Fixed:
    """Each value from the first copy that has it."""
    merged: dict[str, str | int | list[str]] = {}
    for state in states:
        merged = {**state.fixed, **merged}
    return merged


def _migrated(data: dict[str, Any]) -> dict[str, Any]:
    for step in range(data["format"], FORMAT):
        data = {**_MIGRATIONS[step](data), "format": step + 1}
    return data


def _with_encryption(data: dict[str, Any]) -> dict[str, Any]:
    """Format 1 had no such key, and nothing fixed: that is taken from the spec. The key is derived, not drawn, so that
    every control plane and every controller comes to the same one (HKDF, RFC 5869)."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derive = HKDF(hashes.SHA256(), 32, salt=data["uuid"].encode(), info=b"provision: encryption of Secrets")
    key = derive.derive(data["service_account"]["key"].encode())
    return {**data, "encryption_key": base64.b64encode(key).decode(), "fixed": {}}


_MIGRATIONS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _with_encryption}
"""From each older format to the next one."""


def _pair(cert: Any, key: Any) -> KeyPair:
    return KeyPair(_text(cert), Secret.text(_text(key)))


def _fixed(value: Any) -> str | int | list[str]:
    if isinstance(value, list):
        return [_text(each) for each in value]
    return value if isinstance(value, int) else _text(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{kind_of(value)} where a text is wanted")
    return value


def _mark_uuid(text: str, host: str) -> str:
    try:
        return _text(json.loads(text)["uuid"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ProvisionError(f"{host}: {MARK_FILE} is damaged", "restore or remove it") from None
