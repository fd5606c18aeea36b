"""`provision init`: an inventory that is whole, and that names every key there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from provisioner.cli.init import command
from provisioner.cli.inventory import command as inventory_command
from provisioner.errors import InputError
from provisioner.spec.attachments import TYPES
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec
from provisioner.spec.schema import CLUSTER, HOST


def init(*words: str | Path) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


def text_of(*words: str) -> str:
    done = init(*words)
    assert done.exit_code == 0, done
    return done.output


def uncommented(text: str) -> str:
    """With every key that is offered."""
    return re.sub(r"^( *)#(?=[^ \n])", r"\1", text, flags=re.MULTILINE)


def at_once(text: str) -> str:
    """Without what some other choice excludes: options of another back end, further ways to find the link, networks of
    ours on a cluster of others."""
    others = ("port_ipv6", "mode", "keepalive", "interface_regex", "can_reach", "node_address_second")
    text = re.sub(
        r" {8}#(?:calico|cilium|attachments|pods|policies):\n(?: {10}.*\n)+| {8}#multus: .*\n", "", text
    )
    return re.sub(rf"^ {{10}}#?(?:{'|'.join(others)}): .*\n", "", text, flags=re.MULTILINE)


def spec_of(text: str, folder: Path) -> ClusterSpec:
    """Without the account at a registry that is not ours, because it names one that is."""
    path = folder / "inventory.yaml"
    text = re.sub(r"^ {8}(?:ca|username|password): .*\n", "", text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")
    return load_cluster(path)[1]


def keys(schema: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, rules in schema.items():
        yield (*above, name)
        if rules["type"] == "dict" and "schema" in rules:
            yield from keys(rules["schema"], (*above, name))


def test_it_is_whole_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    done = init("-o", path)
    assert done.exit_code == 0, done
    assert path.read_text(encoding="utf-8") == text_of()
    told = json.loads(CliRunner().invoke(inventory_command, [str(path), "--list"]).output)
    assert sorted(told["_meta"]["hostvars"]) == ["cp1", "registry1", "worker1", "worker2"]
    assert load_cluster(path)[1].name == "cluster"


def test_it_is_whole_with_all_that_it_offers(tmp_path: Path) -> None:
    spec = spec_of(uncommented(at_once(text_of())), tmp_path)
    assert spec.endpoint.host == "192.0.2.100"
    # Control planes of a cluster that others have built are no nodes by themselves.
    text = re.sub(r" {6}#existing:\n(?: {8}#.*\n)+", "", at_once(text_of()))
    spec = spec_of(uncommented(text), tmp_path)
    assert spec.nodes["cp1"].labels["example.com/disk"] == "ssd"


def test_calico_is_whole_with_all_that_it_offers(tmp_path: Path) -> None:
    text = re.sub(r" {8}(?:flannel|#cilium):\n(?: {10}.*\n)+", "", text_of())
    text = text.replace("plugin: flannel", "plugin: calico")
    text = re.sub(r" {6}#existing:\n(?: {8}#.*\n)+", "", text)
    text = re.sub(r" {10}#node_address_second: .*\n", "", text)  # its pods are of one family
    text = re.sub(r" {10}#operator:\n(?: {12}.*\n)+", "", text)  # the manifests have none
    spec = spec_of(uncommented(text), tmp_path)
    bare = spec_of(re.sub(r" {8}#calico:\n(?: {10}.*\n)+", "", text), tmp_path)
    assert spec.network.calico.pools == bare.network.calico.pools, "what it offers are the defaults"
    assert {each.type for each in spec.network.attachments} == set(TYPES), "one of each"


def test_cilium_is_whole_with_all_that_it_offers(tmp_path: Path) -> None:
    text = re.sub(r" {8}(?:flannel|#calico):\n(?: {10}.*\n)+", "", text_of())
    text = re.sub(r" {6}#existing:\n(?: {8}#.*\n)+", "", text).replace("plugin: flannel", "plugin: cilium")
    text = re.sub(r" {10}#node_address_second: .*\n", "", text)  # its pods are of one family
    # These two are of the mode native.
    text = re.sub(
        r"^ {10}#(?:native_routing_cidrs|auto_direct_node_routes): .*\n", "", text, flags=re.MULTILINE
    )
    offered = spec_of(uncommented(text), tmp_path).network.cilium
    bare = spec_of(re.sub(r" {8}#cilium:\n(?: {10}.*\n)+", "", text), tmp_path).network.cilium
    examples = ("tunnel_port", "mtu", "devices", "config")
    chosen = {name: getattr(bare, name) for name in examples}
    assert replace(offered, **chosen) == bare, "what it offers are the defaults"
    assert offered.udp_port == bare.udp_port


def test_what_it_offers_are_the_defaults(tmp_path: Path) -> None:
    """So that to take a "#" away changes nothing, but where the value is an example."""
    plain, full = (spec_of(each, tmp_path) for each in (text_of(), uncommented(at_once(text_of()))))
    assert (full.dns, full.registry, full.proxy, full.runtime) == (
        plain.dns, plain.registry, plain.proxy, plain.runtime
    )  # fmt: skip
    assert full.network.node_cidr_mask == plain.network.node_cidr_mask


@pytest.mark.parametrize("path", [*keys(CLUSTER)], ids=".".join)
def test_every_key_of_the_cluster_is_there(path: tuple[str, ...]) -> None:
    value = yaml.safe_load(uncommented(text_of()).replace("!secret ", ""))["all"]["vars"]["cluster"]
    for key in path:
        assert key in value
        value = value[key]


@pytest.mark.parametrize("key", HOST)
def test_every_key_of_a_host_is_there(key: str) -> None:
    assert re.search(rf"^ +#{key}: ", text_of(), re.MULTILINE)


def test_every_key_is_explained() -> None:
    """By the line above it, or by that above the keys that come with it."""
    lines = text_of().splitlines()
    for number, line in enumerate(lines):
        key = re.match(r" {6,}#?([a-z_]+):", line)
        if key is None or re.match(r" +#?(hosts|ansible_host|[a-z]+[0-9]):|.*:$", line):
            continue
        above = number - 1
        while re.match(r" +#?(?:- )?[a-z_]+:", lines[above]):
            above -= 1
        assert re.match(r" +# \S", lines[above]), line


@pytest.mark.parametrize(("planes", "members"), [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (6, 5), (7, 5)])
def test_etcd_has_an_odd_number_of_members(planes: int, members: int, tmp_path: Path) -> None:
    addresses = ",".join(f"198.51.100.{number}" for number in range(1, planes + 1))
    path = tmp_path / "inventory.yaml"
    init("-o", path, "--control-plane", addresses)
    inventory, _ = load_cluster(path)
    assert len(inventory.group("kube_control_plane")) == planes
    assert len(inventory.group("etcd")) == members


def test_hosts_by_name(tmp_path: Path) -> None:
    words = ("--name", "office", "--control-plane", "alpha=198.51.100.1", "--worker", "w=198.51.100.2")
    path = tmp_path / "inventory.yaml"
    init("-o", path, *words, "--worker", "198.51.100.3", "--registry", "no=198.51.100.4")
    inventory, spec = load_cluster(path)
    assert spec.registry.host == "registry.office.internal"
    found = {name: host.connection.address for name, host in inventory.hosts.items()}
    assert found == {
        "alpha": "198.51.100.1", "w": "198.51.100.2", "worker2": "198.51.100.3", "no": "198.51.100.4"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--name", "No_Name"), "'No_Name' is not a DNS label"),
        (("--control-plane", "198.51.100.300"), "198.51.100.300"),
        (("--control-plane", "198.51.100.1", "--worker", "198.51.100.1"), "has the address 198.51.100.1"),
        (("-o", "/dev/null/x"), "cannot be written"),
    ],
)
def test_what_makes_no_inventory_is_refused(words: tuple[str, ...], reason: str) -> None:
    fault = init(*words).exception
    assert isinstance(fault, InputError)
    assert reason in str(fault)


def test_no_file_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text("mine")
    done = init("-o", path)
    assert isinstance(done.exception, InputError)
    assert path.read_text() == "mine"


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    assert json.loads(init("--json", "-o", path).output) == {"event": "Written", "path": str(path)}
    assert json.loads(init("--json").output)["text"] == text_of()
