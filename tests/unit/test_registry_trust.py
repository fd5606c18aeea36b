"""What containerd gets to know of the registry, and what is refused as its authority."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.action.registrytrust import registry_authority
from provisioner.errors import ProvisionError
from provisioner.inventory.model import load_inventory
from provisioner.inventory.secrets import Secret
from provisioner.pki.cluster import new_state
from provisioner.playbook.render import render_file
from provisioner.spec.model import ClusterSpec, Registry, load_spec

ROOT = Path(__file__).parents[2]
SPEC = load_spec(load_inventory(ROOT / "tests/data/spec/base.yaml"))
TEMPLATES = ROOT / "templates/containerd"
PAUSE = f"r:5000/pause@sha256:{'1' * 64}"
CA = "/etc/containerd/certs.d/_default/ca.crt"


def hosts(registry: Registry, *, reveals: bool = False) -> dict[str, Any]:
    variables = {"cluster": replace(SPEC, registry=registry), "registry_ca": CA}
    return tomllib.loads(render_file(TEMPLATES / "hosts.toml.j2", variables, reveals=reveals))


def test_a_registry_of_ours_is_asked_at_its_address() -> None:
    at = "https://10.98.0.10:5000"
    assert hosts(SPEC.registry) == {
        "server": at,
        "ca": CA,
        "host": {at: {"capabilities": ["pull", "resolve"], "ca": CA}},
    }


def test_the_account_is_said_to_the_server_too_and_only_where_secrets_may_be() -> None:
    registry = Registry("r.example", 443, username="puller", password=Secret.text('pa$$ "w'))
    found = hosts(registry, reveals=True)
    said = {"Authorization": "Basic cHVsbGVyOnBhJCQgInc="}
    assert found["header"] == found["host"]["https://r.example:443"]["header"] == said
    with pytest.raises(Exception, match="is a secret"):
        hosts(registry)


def test_containerd_has_one_way_to_all_images() -> None:
    text = render_file(TEMPLATES / "config.toml.j2", {"pause_image": PAUSE})
    cri = tomllib.loads(text)["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["sandbox_image"] == PAUSE
    assert cri["registry"] == {"config_path": "/etc/containerd/certs.d"}


def with_ca(path: Path) -> ClusterSpec:
    return replace(SPEC, registry=Registry("r.example", ca=str(path)))


def test_the_authority_is_the_clusters_or_that_of_the_file(tmp_path: Path) -> None:
    state = new_state("lab")
    ours = state.authorities["kubernetes"].cert
    assert registry_authority(SPEC, state) == ours
    (tmp_path / "ca").write_text("# ours\n" + ours)
    assert registry_authority(with_ca(tmp_path / "ca"), state) == "# ours\n" + ours
    (tmp_path / "both").write_text(ours + "-----BEGIN PRIVATE KEY-----\n")
    (tmp_path / "text").write_text("none")
    (tmp_path / "odd").write_bytes(b"\xff")
    for name, why in (
        ("both", "a key beside it"),
        ("text", "no certificate"),
        ("odd", "not PEM"),
        ("no", "No such"),
    ):
        with pytest.raises(ProvisionError, match=why):
            registry_authority(with_ca(tmp_path / name), state)


def test_an_ipv6_address_stands_in_brackets() -> None:
    said = hosts(Registry("r.internal", 5000, address="fd00::1"))
    assert said["server"] == "https://[fd00::1]:5000"
    assert list(said["host"]) == ["https://[fd00::1]:5000"]
