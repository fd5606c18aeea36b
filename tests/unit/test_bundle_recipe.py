"""The key under which a component is cached: all that its result depends on, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.bundle import catalogue
from provisioner.bundle.catalogue import Component, Debian, Edit, File, ImageRecipe, Module, Release
from provisioner.bundle.frommodule import NO_INPUTS
from provisioner.bundle.recipe import module_key, release_key

COMPONENTS = {component.name: component for component in catalogue.load()}
PAUSE = COMPONENTS["pause"]
FIXED = Component(
    "name",
    "image",
    "v1",
    "linux/amd64",
    "https://example.org",
    "title",
    Module("example.org/m", packages=("example.org/m/cmd/a",), ldflags=("-X a=b",), cgo=True),
    Release("https://example.org/a", "https://example.org/sums", "member"),
    "example.org/name",
    "v1",
    ImageRecipe(("/a",), (("/a", "example.org/m/cmd/a"),), debian=Debian(("libc6",), links=(("/b", "a"),))),
)


def test_the_key_knows_the_recipe() -> None:
    keys = {
        module_key(PAUSE, NO_INPUTS, "go1.26.0"),
        module_key(PAUSE, NO_INPUTS, "go1.26.1"),
        module_key(replace(PAUSE, version="3.11"), NO_INPUTS, "go1.26.0"),
        release_key(PAUSE),
    }
    assert len(keys) == 4
    assert module_key(PAUSE, NO_INPUTS, "go1.26.0") in keys


def test_what_was_built_before_keeps_its_key() -> None:
    """A key of the catalogue that is added must not have everything built again: mark its field as ADDED."""
    assert release_key(FIXED) == "844f73c1660880e463e1de0bba8d64c53bb3734e66564206bbd82cdfd5627079"


@pytest.mark.parametrize(
    "changed",
    [
        replace(PAUSE, without=("quay.io/x:1",)),
        replace(PAUSE, release=Release("https://example.org/a", sha256="0" * 64)),
        replace(PAUSE, module=replace(PAUSE.module, toolchain="go1.23.8")),
        *(
            replace(PAUSE, image=replace(PAUSE.image, **{name: value}))  # type: ignore[type-var]
            for name, value in {
                "tree": (("/etc", "etc"),),
                "scripts": ("/etc/a",),
                "edits": (Edit("/etc/a", "b"),),
                "files": (File("/etc/hosts"),),
                "links": (("/a", "b"),),
                "environment": (("A", "b"),),
                "directory": "/opt",
            }.items()
        ),
    ],
)
def test_the_key_knows_what_was_added(changed: Component) -> None:
    assert module_key(changed, NO_INPUTS, "go1.26.0") != module_key(PAUSE, NO_INPUTS, "go1.26.0")


def test_another_go_of_the_machine_is_nothing_to_a_component_with_its_own() -> None:
    calico = COMPONENTS["typha"]
    assert module_key(calico, NO_INPUTS, "go1.26.0") == module_key(calico, NO_INPUTS, "go1.26.1")
