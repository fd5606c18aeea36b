"""The names of modules, which are kept apart from the kinds for the sake of a fast start, are those of the kinds."""

from __future__ import annotations

import subprocess
import sys

from provisioner.action.kinds import base_modules
from provisioner.action.modules import BASE_MODULES, CLUSTER_MODULES


def test_every_module_has_a_kind() -> None:
    assert set(BASE_MODULES) == set(base_modules())
    assert not set(BASE_MODULES) & set(CLUSTER_MODULES)


def test_what_comes_before_the_hosts_are_dialled_is_light() -> None:
    ask = "import sys, provisioner.cli.apply, provisioner.action.apply; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    heavy = {
        "jinja2",
        "rich",
        "cerberus",
        "urllib3",
        "cryptography.x509",
        "asyncio",
        "provisioner.engine.execute",
    }
    assert not heavy & set(done.stdout.split())
