"""A host, a switch and pods as network namespaces, in which CNI plug-ins are run as a runtime runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provisioner.network.attachments import objects
from provisioner.playbook.factscript import facts_script
from provisioner.playbook.factsread import parse_facts
from provisioner.spec.attachments import Attachment


def done(*argv: str, text: str = "", environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    made = subprocess.run(
        argv,
        input=text,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return made.returncode, made.stdout + made.stderr


class Wires:
    """`host` has the link eth1, whose other end is a port of the switch's bridge; the switch answers for 192.0.2.254.
    Nothing of it is in the machine's own namespace, nor in its /var/lib/cni."""

    def __init__(self, name: str, folder: Path, plugins: Path) -> None:
        self.mark = f"{name}{os.getpid()}-"
        self._plugins, self._state = plugins, folder / "lib"
        self._state.mkdir()
        self._pods: list[str] = []
        """Those that are there now."""
        for part in ("host", "switch"):
            self._add(part)
        self.must("host", "ip link add eth1 type veth peer name port netns " + self.mark + "switch")
        self.must("host", "ip link set eth1 up; ip link set lo up")
        self.must(
            "switch",
            "ip link add br0 type bridge && ip link set port master br0 && ip link set port up && ip link set br0 up"
            " && ip address add 192.0.2.254/24 dev br0",
        )

    def close(self) -> None:
        self.without_pods()
        for name in ("host", "switch"):
            done("ip", "netns", "del", self.mark + name)

    def links(self, *names: str) -> Mapping[str, tuple[str, ...]]:
        """What facts say of links of the host. What began this machine is of no interest, and facts want systemd."""
        said = self.must("host", facts_script(masters=names).main)
        said = re.sub(r"^=init\n.*$", "=init\nsystemd", said, flags=re.MULTILINE)
        return parse_facts("host", said.encode(), time.time()).masters

    def without_pods(self) -> None:
        while self._pods:
            done("ip", "netns", "del", self.mark + self._pods.pop())

    def _add(self, name: str) -> None:
        status, said = done("ip", "netns", "add", self.mark + name)
        assert status == 0, said

    def run(self, where: str, script: str) -> tuple[int, str]:
        return done("ip", "netns", "exec", self.mark + where, "sh", "-c", script)

    def must(self, where: str, script: str) -> str:
        status, said = self.run(where, script)
        assert status == 0, f"{script}\n{said}"
        return said

    def has(self, script: str) -> bool:
        """Whether the kernel can do it, tried in a namespace of its own."""
        return done("unshare", "--net", "sh", "-c", script)[0] == 0

    def hairpin(self, *, on: bool) -> None:
        """Whether the switch sends frames back by where they came from, as VEPA asks of it (802.1Qbg)."""
        self.must("switch", f"bridge link set dev port hairpin {'on' if on else 'off'}")

    def reaches(self, pod: str, address: str) -> bool:
        """Within a second; to be asked of links that carry packets already."""
        return self.run(pod, f"busybox ping -c 1 -W 1 {address} >/dev/null")[0] == 0

    def comes_to_reach(self, pod: str, address: str) -> bool:
        """The kernel takes up to a second to see that a link has come up (net/core/link_watch.c), and drops until
        then."""
        return any(self.reaches(pod, address) for _ in range(4))

    def call(
        self, verb: str, pod: str, config: Mapping[str, Any], link: str = "net1"
    ) -> tuple[bool, dict[str, Any]]:
        """Whether it went well, and the answer. The state of host-local is this test's own."""
        if pod not in self._pods:
            self._add(pod)
            self._pods.append(pod)
            self.must(pod, "ip link set lo up")
        environment = {
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": pod,
            "CNI_NETNS": f"/run/netns/{self.mark}{pod}",
            "CNI_IFNAME": link,
            "CNI_PATH": str(self._plugins),
        }
        script = f"mount --bind {self._state} /var/lib && exec {self._plugins / config['type']}"
        argv = ("ip", "netns", "exec", self.mark + "host", "sh", "-c", script)
        status, said = done(*argv, text=json.dumps(config), environment=environment)
        answer: dict[str, Any] = json.loads(said) if said.strip() else {}
        return status == 0, answer

    def attach(self, pod: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """ADD and CHECK. A runtime gives CHECK what ADD has answered."""
        well, answer = self.call("ADD", pod, config)
        assert well, answer
        well, said = self.call("CHECK", pod, {**config, "prevResult": answer})
        assert well, said
        return answer

    def detach(
        self, pod: str, config: Mapping[str, Any], answer: Mapping[str, Any], *, times: int = 2
    ) -> None:
        """DEL, and once more, because runtimes do."""
        for _ in range(times):
            well, said = self.call("DEL", pod, {**config, "prevResult": answer})
            assert well, said
        assert "net1" not in self.must(pod, "ip -o link show")


def rendered(attachment: Attachment) -> dict[str, Any]:
    """What multus finds in the definition, and hands to the plug-in."""
    loaded: dict[str, Any] = json.loads(objects([attachment])[-1]["spec"]["config"])
    return loaded
