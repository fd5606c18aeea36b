"""The backup of a pod network's objects: few questions, all that is there, and one that is whole stays."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from localhost import SHELLS, LocalSession

from provisioner.kube.kubectl import KUBECTL, KUBECTL_WAITING
from provisioner.kube.oldnetwork import backup, remove, stop
from provisioner.remote.outcome import Result
from provisioner.shell.script import Script

FOLDER = "/var/lib/provision/migration/0011aabb"
ANSWERS = """#!/bin/sh
echo "$*" >>{log}
case "$*" in
  *" delete "*) ;;
  *" crd "*) echo customresourcedefinition.apiextensions.k8s.io/ippools.calico.org ;;
  *" -f "*) cat "$4" ;;
  *) echo "what is defined" ;;
esac
"""


@dataclass
class Plane(LocalSession):
    """A control plane whose kubectl notes down what it is asked."""

    def run(self, script: Script, **more: Any) -> Result:
        text = script.main
        for each in (KUBECTL, KUBECTL_WAITING):
            text = text.replace(each, f"{self.root}/kubectl -")
        return super().run(replace(script, main=text), **more)

    @property
    def asked(self) -> list[str]:
        return (self.root / "log").read_text().splitlines()


@pytest.fixture(params=SHELLS)
def plane(request: pytest.FixtureRequest, tmp_path: Path) -> Plane:
    made = Plane(tmp_path, request.param)
    (tmp_path / "kubectl").write_text(ANSWERS.format(log=tmp_path / "log"))
    (tmp_path / "kubectl").chmod(0o755)
    return made


def thing(version: str, kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}}


ACCOUNT = thing("v1", "ServiceAccount", "agent")
DEFINED = "apiextensions.k8s.io/v1", "CustomResourceDefinition"
OBJECTS = [
    ACCOUNT,
    thing(*DEFINED, "ippools.calico.org"),
    thing(*DEFINED, "gone.calico.org"),
    thing("calico.org/v1", "IPPool", "one"),
]


def test_all_is_kept_by_three_questions_and_asked_once(plane: Plane) -> None:
    backup(plane, OBJECTS, FOLDER)
    kept = (plane.root / f"own{FOLDER}" / "objects.yaml").read_text()
    objects, defined = kept.split("---\n")
    assert [each["kind"] for each in json.loads(objects)["items"]] == [
        "ServiceAccount",
        *["CustomResourceDefinition"] * 2,
    ], "what its definitions define is asked for by these"
    assert defined == "what is defined\n"
    assert len(plane.asked) == 3
    assert "get ippools.calico.org -A" in plane.asked[-1]
    backup(plane, OBJECTS, FOLDER)
    assert len(plane.asked) == 3


def test_definitions_of_kubernetes_own_groups_stay_with_what_others_have_made_of_them(plane: Plane) -> None:
    name = "adminnetworkpolicies.policy.networking.k8s.io"
    objects = [*OBJECTS, thing(*DEFINED, name)]
    stop(plane, objects)
    assert [each.split(" --")[0] for each in plane.asked] == [
        "- delete crd ippools.calico.org gone.calico.org"
    ]
    remove(plane, objects)
    backup(plane, objects, FOLDER)
    assert not any(name in each for each in plane.asked)
    kept = (plane.root / f"own{FOLDER}" / "objects.yaml").read_text()
    assert name in kept, "the definition itself is one of the manifest's objects"


def test_a_network_that_defines_nothing_is_one_question(plane: Plane) -> None:
    backup(plane, [ACCOUNT], FOLDER)
    assert len(plane.asked) == 1
