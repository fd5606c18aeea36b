"""What is taken away of a network that goes, on a cluster of others'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from localhost import LocalSession

from provisioner.kube.oldnetwork import remove

OBJECTS: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-flannel"}},
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kube-flannel-cfg", "namespace": "kube-flannel"},
    },
]
ITS_OWN = "configmap/kube-root-ca.crt\nserviceaccount/default\nevent/x\nendpointslice.discovery.k8s.io/x\n"
TYPES = "secrets\ndeployments.apps\n"
KUBECTL = """#!/bin/sh
case " $* " in
*" api-resources "*) cat {root}/types ;;
*" get secrets,deployments.apps "*) cat {root}/found ;;
*" delete "*" -f "*) ;;
*" delete "*" namespace kube-flannel "*) echo gone >{root}/gone ;;
*) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""


class Plane(LocalSession):
    def _text(self, text: str) -> str:
        return super()._text(text).replace("/opt/kubernetes/bin/kubectl", f"{self.root}/kubectl")


@pytest.mark.parametrize("shell", ["dash", "busybox"])
@pytest.mark.parametrize(
    ("types", "found", "gone"),
    [
        (TYPES, ITS_OWN, True),
        (TYPES, "", True),
        (TYPES, f"{ITS_OWN}secret/others\n", False),
        (TYPES, "deployment.apps/at-zero\n", False),
        (TYPES, None, False),  # the API server does not answer
        (None, "", False),
    ],
)
def test_a_namespace_stays_where_others_have_anything_in_it(
    tmp_path: Path, shell: str, types: str | None, found: str | None, gone: bool
) -> None:
    plane = Plane(tmp_path, shell)
    for name, text in (("kubectl", KUBECTL.format(root=tmp_path)), ("types", types), ("found", found)):
        if text is not None:
            (tmp_path / name).write_text(text)
    (tmp_path / "kubectl").chmod(0o755)
    assert remove(plane, OBJECTS) == ([] if gone else ["kube-flannel"])
    assert (tmp_path / "gone").exists() == gone
    assert remove(plane, OBJECTS[1:]) == []  # none of its own
