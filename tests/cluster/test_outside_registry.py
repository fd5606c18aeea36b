"""A cluster whose images are a Harbor's: its API by the server that checks each request, the images by docker-registry.

Provision pushes with a robot's account, which gets a token; nodes pull with it by the Basic scheme.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from urllib.parse import urlsplit

from harborserver import HarborState
from lab_cluster import BESIDE, DEFAULT_LAB, LabCluster, is_verified, own_lab, provision
from registryserver import certificate, serve
from test_harbor_front import Front
from test_registry_push import program  # noqa: F401
from test_registry_push import serve as serve_registry

PORT = 5443
GATEWAY = str(IPv4Network(BESIDE)[1])
NODES = ("cp1", "worker1")
ROBOT, SECRET = "robot$infra+nodes", "Rob0tSecret"


class Guarded(Front):
    """It notes whose requests of images these are."""

    def handle_any(self) -> None:
        path, who = urlsplit(self.path).path, self.actor()
        refused = path.startswith("/v2/") and who is None
        self.state.requests.append(
            ("nobody" if refused else str(who), f"{'refused ' * refused}{self.command} {path}")
        )
        return super().handle_any()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815


@dataclass(frozen=True)
class Harbor:
    state: HarborState
    folder: Path

    @property
    def words(self) -> tuple[str, ...]:
        return ("--to", f"{GATEWAY}:{PORT}/infra", "--ca", str(self.folder / "ca.pem"))


@contextmanager
def harbor(folder: Path, registry: Path) -> Iterator[Harbor]:
    """On the lab's gateway, where controller and hosts reach it."""
    behind = folder / "behind"
    behind.mkdir()
    state = HarborState()
    key, crt = certificate(folder, address=GATEWAY)
    (folder / "ca.pem").write_bytes(crt.read_bytes())
    with serve_registry(registry, behind) as server:
        handler = type("Bound", (Guarded,), {"target": server.port})
        with serve(key, crt, state, handler, at=(GATEWAY, PORT)):
            yield Harbor(state, folder)
    assert state.violations == []


def lab_with_harbor(folder: Path) -> Path:
    text = DEFAULT_LAB.read_text()
    own = text[text.index("    registry:\n      hosts:") : text.index("    etcd:\n")]
    named = text[text.index("        host: registry.lab.internal") : text.index("\n  children:")]
    spec = (
        f"        host: {GATEWAY}\n        port: {PORT}\n        kind: harbor\n        project: infra\n"
        f"        ca: {folder}/ca.pem\n        username: {ROBOT}\n"
        f"        password: !secret {{file: {folder}/secret}}\n"
    )
    path = folder / "harbor.yaml"
    text = text.replace(own, "").replace(named, spec)
    path.write_text(text[: text.index("        worker2:")])
    return path


def test_a_cluster_from_a_project_of_harbor(tmp_path: Path, program: Path) -> None:  # noqa: F811
    name = f"harbor-{BESIDE.partition('/')[0].replace('.', '-')}"
    with own_lab(name, lab_with_harbor(tmp_path), BESIDE) as lab, harbor(tmp_path, program) as site:
        (tmp_path / "admin").write_text("secret")
        admin = ("--username", "admin", "--password-file", str(tmp_path / "admin"))
        first = ("--create-project", "private", "--image", "registry.k8s.io/pause:3.10")
        pushed = provision("bundle", "push", *site.words, *admin, *first)
        assert pushed.status == 0, pushed
        made = provision("bundle", "robot", "nodes", *site.words, *admin, "-o", tmp_path / "secret")
        assert made.status == 0, made
        assert (tmp_path / "secret").read_text().strip() == SECRET
        wrong_password(lab, tmp_path)
        done = lab.apply()
        assert is_verified(done), done
        assert site.state.projects == {"infra": False}
        nodes_pulled(lab, site)
        assert lab.apply().changed == set()
        another_password(lab, site)


def wrong_password(lab: LabCluster, folder: Path) -> None:
    """Told before any host is changed."""
    (folder / "secret").write_text("wrong")
    done = lab.apply()
    assert done.status == 1, done
    assert "the registry wants another user or password" in done.stdout + done.stderr
    assert not done.changed
    (folder / "secret").write_text(SECRET)


def another_password(lab: LabCluster, site: Harbor) -> None:
    """Nodes take it without a restart."""
    site.state.rotate(ROBOT, "N3wSecret")
    (site.folder / "secret").write_text("N3wSecret")
    done = lab.apply()
    assert is_verified(done), done
    files = [f"file:/etc/containerd/certs.d/{each}/hosts.toml" for each in ("_default", f"{GATEWAY}:{PORT}")]
    assert done.changed == {(node, file, "update") for node in NODES for file in files}


def nodes_pulled(lab: LabCluster, site: Harbor) -> None:
    requests = site.state.requests
    basic = base64.b64encode(f"{ROBOT}:{SECRET}".encode()).decode()
    for node in NODES:
        files = lab.one(
            node, "stat -c %a /etc/containerd/certs.d/*/hosts.toml; cat /etc/containerd/certs.d/*/hosts.toml"
        )
        assert set(files.splitlines()[:2]) == {"600"}
        assert basic in files
    assert not [path for _, path in requests if path.startswith("refused GET") and "/manifests/" in path]
    pulled = {
        path for who, path in requests if who == ROBOT and path.startswith("GET ") and "/manifests/" in path
    }
    assert pulled
    assert all(path.startswith("GET /v2/infra/") for path in pulled)
