"""A closed site: hosts that reach nothing but each other, and of what was built one file alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from lab_cluster import BESIDE, is_verified, own_lab, provision

HA = Path(__file__).parents[2] / "inventories" / "ha.yaml"
LAB = """      name: ha
      subnet: 10.98.1.0/24
"""
BARE = f"""{LAB}      suite: trixie
      packages: bare
"""
NOTHING = "command -v containerd runc nginx keepalived docker-registry etcd || :"


@pytest.mark.soak
def test_a_cluster_with_all_of_it_from_one_file(tmp_path: Path) -> None:
    source, file = tmp_path / "ha.yaml", tmp_path / "site.tar"
    text = HA.read_text()
    assert LAB in text
    source.write_text(text.replace(LAB, BARE))
    built = provision("bundle", "build", "--for", source, "--os", "debian-13", "-o", file, seconds=1800)
    assert built.status == 0, built
    assert file.is_file()
    with own_lab(f"closed-{BESIDE.partition('/')[0].replace('.', '-')}", source, BESIDE) as lab:
        assert set(lab.on("all", NOTHING).values()) == {""}
        inventory = lab.edited(
            tmp_path, {"      kubernetes:\n": f"      bundle: {file}\n      kubernetes:\n"}
        )
        # Of the builder nothing is there: no cache, no Go.
        cache = tmp_path / "cache"
        closed = {**os.environ, "XDG_CACHE_HOME": str(cache), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        whole = provision("bundle", "verify", file, "--for", inventory, "--os", "debian-13", env=closed)
        assert whole.status == 0, whole
        done = provision("apply", inventory, "--json", env=closed)
        assert is_verified(done), done
        said = " ".join(event["message"] for event in done.named("Note"))
        assert "packages come from the bundle, their own package sources are not reached" in said
        again = provision("apply", inventory, "--json", env=closed)
        assert (again.status, again.changed) == (0, set()), again
        images = lab.kubectl("get pods -A -o json")
        pulled = {
            status["image"]
            for pod in json.loads(images)["items"]
            for status in pod["status"]["containerStatuses"]
        }
        assert all(each.startswith(("registry.ha.internal:5000/", "sha256:")) for each in pulled), pulled
