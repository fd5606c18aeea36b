"""A push into a project of Harbor's: its API by the server that checks each request, the images by docker-registry."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path
from typing import ClassVar

import pytest
from harborserver import HarborHandler, HarborState
from registryserver import Running, certificate, reached, serve
from test_registry_push import Server, image, program, server  # noqa: F401

from provisioner.engine.events import silent
from provisioner.errors import ProvisionError
from provisioner.registry.client import Registry
from provisioner.registry.harbor import Harbor
from provisioner.registry.harborproject import HarborProject
from provisioner.registry.transport import RefusedError
from provisioner.registry.upload import MONOLITHIC_LIMIT

pytestmark = pytest.mark.hosts

HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


class Front(HarborHandler):
    """As Harbor's own proxy: it admits as Harbor does, and all else of images is the registry's."""

    target: ClassVar[int]

    def serve_images(self) -> None:
        self.state.requests.append((self.command, self.path))
        self.forward()

    def forward(self) -> None:
        context = ssl._create_unverified_context()  # noqa: S323  # the front's own loopback
        connection = HTTPSConnection("127.0.0.1", self.target, context=context, timeout=30)
        # The account is the front's matter.
        kept = self.headers.items()
        headers = {name: value for name, value in kept if name.lower() not in {"connection", "authorization"}}
        connection.request(self.command, self.path, self.body(), headers)
        answer = connection.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        connection.close()


@pytest.fixture
def front(server: Server, tmp_path: Path) -> Iterator[Running]:  # noqa: F811
    handler = type("Bound", (Front,), {"target": server.port})
    with serve(*certificate(tmp_path), HarborState(), handler) as running:
        yield running
    assert running.state.violations == []


def test_images_arrive_in_a_project_that_is_made_first(front: Running, tmp_path: Path) -> None:
    project = HarborProject(
        lambda: Harbor(reached(front.port, "admin", "secret", ca_pem=front.ca)),
        "infra",
    )
    small, large = image(tmp_path, b"layer"), image(tmp_path, bytes(MONOLITHIC_LIMIT + 1))
    with Registry(reached(front.port, "admin", "secret", ca_pem=front.ca)) as registry:
        with pytest.raises(RefusedError) as caught:
            registry.push(small, "infra/calico/node", "v1", silent)
        assert isinstance(project.explained(caught.value), ProvisionError)
        assert "Harbor has no project infra" in project.explained(caught.value).reason
        assert project.ensure()
        for name, each in (("infra/calico/node", small), ("infra/calico/cni", large)):
            registry.push(each, name, "v1", silent)
            assert registry.digest(name, "v1") == each.digest
