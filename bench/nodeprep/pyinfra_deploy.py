"""The same work for pyinfra. An archive is put and unpacked when it changed, as its users do it."""

import os
from pathlib import Path

import yaml
from pyinfra import host
from pyinfra.operations import files, server

data = yaml.safe_load(Path(os.environ["BENCH_INVENTORY"]).read_text(encoding="utf-8"))["all"]["vars"]
root = {"user": "root", "group": "root"}

for path in ("/etc/bench", "/etc/bench/conf.d", "/etc/bench/pki", "/opt/bench", "/opt/bench/bin"):
    files.directory(path=path, mode="755", **root)
files.put(src="files/ca.crt", dest="/etc/bench/pki/ca.crt", mode="644", **root)
files.put(src="files/node.env", dest="/etc/bench/node.env", mode="644", **root)
for number in data["configs"]:
    files.template(
        src=f"templates/{number}.conf.j2",
        dest=f"/etc/bench/conf.d/{number}.conf",
        mode="644",
        **root,
        jinja_env_kwargs={"trim_blocks": True},
        ansible_host=host.data.ssh_hostname,
        **{key: data[key] for key in ("site", "log_level", "upstreams", "limits")},
    )
archive = files.put(src="files/payload.tgz", dest="/opt/bench/payload.tgz", mode="644", **root)
server.shell(
    name="unpack",
    commands=["tar -C /opt/bench/bin --no-same-owner -xzf /opt/bench/payload.tgz"],
    _if=archive.did_change,
)
files.file(path="/etc/bench/old.conf", present=False)
server.shell(
    name="digest",
    commands=[
        "[ -e /etc/bench/pki/ca.sha256 ] || sha256sum /etc/bench/pki/ca.crt >/etc/bench/pki/ca.sha256",
    ],
)
