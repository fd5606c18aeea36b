"""The HTTP proxy: what goes around it, and who is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.action.proxied import use_proxy_of
from provisioner.engine.events import Event, silent
from provisioner.inventory.model import load_inventory
from provisioner.playbook.render import render_file
from provisioner.spec.model import HttpProxy, load_spec
from provisioner.spec.proxies import environment, no_proxy

ROOT = Path(__file__).parents[2]
BASE = ROOT / "tests/data/spec/base.yaml"
TEMPLATE = ROOT / "templates/containerd/http-proxy.conf.j2"
NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def test_nothing_of_the_cluster_goes_through_it() -> None:
    spec = load_spec(load_inventory(BASE))
    assert environment(spec) == {}
    proxied = replace(spec, http_proxy=HttpProxy("http://proxy:3128", (".example.com", "10.98.0.11")))
    found = no_proxy(proxied)
    wanted = {"localhost", "10.244.0.0/16", "10.96.0.0/16", "10.98.0.11", "10.98.0.21", "10.98.0.10", "cp1"}
    assert set(found) >= wanted | {"registry.lab.internal", ".svc", ".cluster.local", ".example.com"}
    assert len(set(found)) == len(found)
    told = environment(proxied)
    assert told["HTTPS_PROXY"] == told["http_proxy"] == "http://proxy:3128"
    assert told["NO_PROXY"].split(",") == list(found)


def test_containerd_is_told_by_a_drop_in() -> None:
    text = render_file(TEMPLATE, {"proxy_environment": {"HTTP_PROXY": "http://a%20b:1", "NO_PROXY": "a,b"}})
    assert text.splitlines()[1:] == [
        "[Service]",
        'Environment="HTTP_PROXY=http://a%%20b:1"',
        'Environment="NO_PROXY=a,b"',
    ]


def test_a_build_for_an_inventory_uses_its_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "before")
        monkeypatch.setenv(name.lower(), "before")
    use_proxy_of(BASE, silent)
    import os

    assert os.environ["HTTP_PROXY"] == "before"
    text = BASE.read_text().replace(
        "      network:\n", "      http_proxy: {url: 'http://p:1'}\n      network:\n"
    )
    (tmp_path / "i.yaml").write_text(text)
    said: list[Event] = []
    use_proxy_of(tmp_path / "i.yaml", said.append)
    assert os.environ["https_proxy"] == "http://p:1"
    assert "10.244.0.0/16" in os.environ["NO_PROXY"]
    assert "p:1" in str(said)
