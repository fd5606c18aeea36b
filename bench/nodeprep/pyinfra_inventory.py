"""The hosts for pyinfra, read from the same inventory file."""

import os
from pathlib import Path

import yaml

_ALL = yaml.safe_load(Path(os.environ["BENCH_INVENTORY"]).read_text(encoding="utf-8"))["all"]
_STATE = os.environ["BENCH_LAB"]

node = [
    (
        name,
        {
            "ssh_hostname": host["ansible_host"],
            "ssh_user": "root",
            "ssh_key": f"{_STATE}/id_ed25519",
            "ssh_known_hosts_file": f"{_STATE}/known_hosts",
        },
    )
    for name, host in _ALL["children"]["node"]["hosts"].items()
]
