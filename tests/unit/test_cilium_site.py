"""A whole run with Cilium, compiled: what hosts get with it and without kube-proxy, and what is said before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from paperbundle import paper_bundle

from provisioner.action import load as loading
from provisioner.action.firewall import ports_of
from provisioner.action.load import Request, load
from provisioner.action.prepare import compile_with
from provisioner.action.render import _text
from provisioner.action.status import _services
from provisioner.bundle.layout import Bundle, Image
from provisioner.engine.events import silent
from provisioner.errors import InputError
from provisioner.playbook.facts import Facts
from provisioner.resources.model import Resource

BASE = (Path(__file__).parents[1] / "data" / "spec" / "base.yaml").read_text(encoding="utf-8")
BARE = Facts("amd64", "6.1.0", "h", "debian", "12", 0.0, False, 4 << 20, {}, "")
KUBE_PROXY = "kube-proxy"


@pytest.fixture(autouse=True)
def _caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))


def inventory(folder: Path, section: str) -> Path:
    path = folder / "inventory.yaml"
    text = f"        plugin: cilium\n        cilium: {section}\n        pod_cidrs"
    path.write_text(BASE.replace("        pod_cidrs", text, 1), encoding="utf-8")
    return path


def resources(folder: Path, section: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Resource]]:
    """(host, resource) of a new cluster."""
    monkeypatch.setattr(loading, "_bundle", lambda *_: paper_bundle(folder))
    loaded = load(Request(inventory(folder, section)))
    prepared = compile_with(loaded, dict.fromkeys(loaded.hosts, BARE), silent, for_show=True)
    return [
        (host, each) for stage in prepared.desired for host, found in stage.hosts.items() for each in found
    ]


@pytest.mark.parametrize("replaced", [False, True])
def test_kube_proxy_is_there_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool) -> None:
    section = f"{{kube_proxy_replacement: {str(replaced).lower()}}}"
    found = resources(tmp_path, section, monkeypatch)
    named = {each.name for host, each in found if host == "worker1" and KUBE_PROXY in each.name}
    assert bool(named) is not replaced, named
    assert {each.name for host, each in found if host == "worker1"} >= {"/opt/kubernetes/bin/kubelet"}
    (displaced,) = {
        str(each.spec) for host, each in found if host == "worker1" and each.kind == "displaced_paths"
    }
    assert "05-cilium.conflist" in displaced


def test_the_relay_has_certificates_which_nobody_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (network,) = [
        each
        for _, each in resources(tmp_path, "{hubble: {relay: true}}", monkeypatch)
        if each.kind == "manifest" and each.name == "cilium"
    ]
    objects: list[dict[str, Any]] = network.spec["objects"]
    kinds = [each["kind"] for each in objects]
    assert kinds.count("Secret") == 2
    assert kinds.index("Secret") < kinds.index("DaemonSet"), "they are mounted"
    text = _text(network) or ""
    assert "(secret)" in text
    for each in objects:
        for value in each.get("data", {}).values() if each["kind"] == "Secret" else ():
            assert value not in text


def test_ports_that_firewalls_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_bundle", lambda *_: paper_bundle(tmp_path))
    section = "{hubble: {relay: true}, wireguard: true, tunnel_protocol: geneve}"
    loaded = load(Request(inventory(tmp_path, section)))
    assert loaded.spec
    ports = ports_of(loaded.inventory, loaded.spec)
    assert {"4240", "4244"} <= set(ports["worker1"].node_tcp)
    assert {"6081", "51871"} <= set(ports["worker1"].node_udp)
    assert not {"4240", "4244"} & set(ports["worker1"].tcp), "to nodes alone"
    assert not {"4240", "6081"} & {
        *(each for _, each in ports["registry1"].each()),
        *ports["registry1"].node_tcp,
    }
    assert "geneve" in loaded.kernel_modules
    assert _services({"kube_node"}, loaded.spec, BARE) == [KUBE_PROXY]
    network = replace(
        loaded.spec.network, cilium=replace(loaded.spec.network.cilium, kube_proxy_replacement=True)
    )
    assert _services({"kube_node"}, replace(loaded.spec, network=network), BARE) == []


def test_images_that_the_bundle_lacks_are_named_before_a_host_is_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = paper_bundle(tmp_path)
    kubernetes = "1.33.13"
    without = ("quay.io/cilium/cilium", "quay.io/cilium/hubble-relay")
    contents = tuple(
        each for each in whole.contents if not (isinstance(each, Image) and each.name in without)
    )
    assert any(getattr(each, "version", "") == f"v{kubernetes}" for each in contents)
    lacking = Bundle(whole.path, whole.digest, contents)
    monkeypatch.setattr(Bundle, "open", lambda _path: lacking)
    with pytest.raises(InputError) as caught:
        load(Request(inventory(tmp_path, "{}")))
    (problem,) = caught.value.problems
    assert problem.reason == (
        f"plugin: the bundle {whole.path} has not all images of cilium: "
        "quay.io/cilium/cilium:v1, quay.io/cilium/hubble-relay:v1"
    )
    assert problem.hint == (
        "`provision bundle build --with cilium`, where quay.io can be reached, brings them in"
    )
    assert (problem.line, problem.column) == (8, 17)
    monkeypatch.setattr(Bundle, "open", lambda _path: whole)
    assert load(Request(inventory(tmp_path, "{}"))).bundle is whole
