"""Images that nodes have before a kubelet asks: what is read of containerd. That it pulls is seen on clusters."""

from __future__ import annotations

from provisioner.registry.pulled import PulledImageKind
from provisioner.resources.model import Absent, Present, Resource

IMAGE = f"r:5000/a@sha256:{'1' * 64}"
OTHER = f"r:5000/b@sha256:{'2' * 64}"
KIND = PulledImageKind()


def wished(name: str) -> Resource:
    return Resource("pulled_image", name, Present())


def test_what_containerd_has() -> None:
    states = KIND.parse(f"{IMAGE}\nsha256:{'3' * 64}\n".encode(), [wished(IMAGE), wished(OTHER)])
    assert states == {f"pulled_image:{IMAGE}": Present(), f"pulled_image:{OTHER}": Absent()}
