"""A client that writes all the time, and remembers what the API server has acknowledged."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import ssl
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

import yaml
from lab_cluster import LabCluster, provision

NAMESPACE = "default"
LABEL = "writer"


@dataclass
class Writer:
    """Makes one ConfigMap after the other at the cluster's endpoint. `acknowledged` are their names with the moment
    (monotonic) of the answer; `refused` is what was said to requests that had no good answer."""

    folder: Path
    server: str
    acknowledged: dict[str, float] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    over: Event = field(default_factory=Event)
    ends: list[float] = field(default_factory=list)

    def run(self) -> None:
        self.ends.append(time.monotonic())
        context = ssl.create_default_context(cafile=str(self.folder / "ca"))
        context.load_cert_chain(self.folder / "crt", self.folder / "key")
        place, number = urlsplit(self.server), 0
        while not self.over.is_set():
            wire = http.client.HTTPSConnection(str(place.hostname), place.port, timeout=3, context=context)
            try:
                while not self.over.wait(0.02):
                    number += 1
                    self._write(wire, f"written-{number}")
            except (OSError, http.client.HTTPException) as fault:
                self.refused.append(repr(fault))
                self.over.wait(0.05)
            finally:
                wire.close()
        self.ends.append(time.monotonic())

    def _write(self, wire: http.client.HTTPSConnection, name: str) -> None:
        body = json.dumps({"metadata": {"name": name, "labels": {LABEL: "yes"}}, "data": {"name": name}})
        wire.request(
            "POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps", body, {"Content-Type": "application/json"}
        )
        answer = wire.getresponse()
        said = answer.read().decode(errors="replace")
        if answer.status == 201:
            self.acknowledged[name] = time.monotonic()
        else:
            self.refused.append(f"{answer.status} {said[:300]}")

    @property
    def longest_pause(self) -> float:
        """Seconds between two acknowledged writes, or from one to the start or the end."""
        moments = sorted([*self.acknowledged.values(), *self.ends])
        return max(later - earlier for earlier, later in itertools.pairwise(moments))


@contextmanager
def a_writer(lab: LabCluster, inventory: Path, folder: Path, plane: str) -> Iterator[Writer]:
    """Beside the block. After it everything that was acknowledged is there, or the test fails; `plane` is the control
    plane that is asked for that."""
    path = folder / "kubeconfig"
    done = provision("kubeconfig", inventory, "--output", path, "--force")
    assert done.status == 0, done
    config = yaml.safe_load(path.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    for name, text in (
        ("ca", cluster["certificate-authority-data"]),
        ("crt", user["client-certificate-data"]),
        ("key", user["client-key-data"]),
    ):
        (folder / name).write_bytes(base64.b64decode(text))
    writer = Writer(folder, cluster["server"])
    thread = Thread(target=writer.run)
    thread.start()
    try:
        yield writer
    finally:
        writer.over.set()
        thread.join()
    kubectl = "/opt/kubernetes/bin/kubectl --kubeconfig=/etc/kubernetes/admin.kubeconfig"
    listed = lab.one(plane, f"{kubectl} -n {NAMESPACE} get configmaps -l {LABEL} -o name")
    there = {line.removeprefix("configmap/") for line in listed.splitlines()}
    lost = writer.acknowledged.keys() - there
    assert len(writer.acknowledged) > 50, f"it hardly wrote: {len(writer.acknowledged)}"
    assert not lost, f"{len(lost)} acknowledged writes are lost: {sorted(lost)[:5]}"
    lab.one(plane, f"{kubectl} -n {NAMESPACE} delete configmaps -l {LABEL} --wait=false >/dev/null")
    sys.stdout.write(
        f"{len(writer.acknowledged)} acknowledged, {len(writer.refused)} refused {dict(Counter(writer.refused))},"
        f" longest pause {writer.longest_pause:.2f} s\n"
    )
