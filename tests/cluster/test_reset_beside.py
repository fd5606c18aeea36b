"""A cluster goes from hosts that do other work, too: docker, a firewall and open connections stay as they are."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import platformdirs
from lab_cluster import BESIDE, LabCluster, is_verified, own_lab, provision, until
from resets import BESIDE_OTHERS, changed, is_asked_for, kept_for_the_next, stopped
from snapshot import snapshot, strange_of

PACKAGES = ("docker.io", "tini", "libdevmapper1.02.1", "dmsetup")
"""Docker and what a lab host lacks of what it needs."""
PORT = 8088
# Overlay on overlay is refused: Docker finds that vfs is left.
INSTALL = f"""
mkdir -p /root/docker
tar -xf - -C /root/docker
dpkg -i /root/docker/*.deb >/dev/null 2>&1
systemctl is-active docker.service
docker import /root/docker/web.tar web:1 >/dev/null
docker run -d --name web -p {PORT}:80 web:1 /bin/busybox httpd -f -p 80 -h /www >/dev/null
"""
FIREWALL = """
nft -f - <<'END'
table inet mine {
  chain input {
    type filter hook input priority 5; policy accept;
    tcp dport 9999 counter drop comment "mine"
  }
}
END
iptables -N MINE
iptables -A MINE -p tcp --dport 9998 -m comment --comment "KUBE-SVC and cali-INPUT are others" -j DROP
iptables -I INPUT -j MINE
iptables -t nat -A POSTROUTING -s 203.0.113.0/24 -j MASQUERADE
ip6tables -A INPUT -p tcp --dport 9997 -j REJECT
"""
# Chains of the kernel's own come with the first rule in their table, and go with the machine; the rest is somebody's.
RULES = r"""
for t in iptables ip6tables; do
  "$t-save" | sed -E 's/ \[[0-9]+:[0-9]+\]$//' |
    grep -vE '^(#|COMMIT|[*]|:(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) ACCEPT$)'
done
nft --stateless list table inet mine
"""
WEB = "docker inspect -f '{{.Id}} {{.State.StartedAt}} {{.State.Running}}' web"


def test_docker_a_firewall_and_connections_stay(tmp_path: Path) -> None:
    """And another reset before has kept what the next cluster needs, and one was stopped in the middle."""
    source = changed(tmp_path, BESIDE_OTHERS)
    with own_lab(f"reset-{BESIDE.partition('/')[0].replace('.', '-')}", source, BESIDE) as lab:
        with_docker(lab, "worker1")
        lab.one("worker1", FIREWALL)
        before = lab.one("worker1", RULES).splitlines()
        bare = {host: snapshot(lab, host) for host in ("registry1", "cp1")}
        assert any("DOCKER" in line for line in before)
        # There it is the cluster that the runtime runs for, until docker comes.
        lab.one("worker2", "systemctl disable --quiet --now containerd.service")
        first = lab.apply()
        assert is_verified(first), first
        is_asked_for(lab)
        kept_for_the_next(lab, {"worker2"})
        with_docker(lab, "worker2")
        webs = lab.on("worker1:worker2", WEB)
        with counting(lab, "worker1") as counted:
            stopped(lab, tmp_path)
            gone = provision("reset", lab.inventory, "--yes", "--json")
            assert gone.status == 0, gone
            reached = counted()
            until(lambda: counted() > reached, "the open connection goes on")
        assert not strange_of(lab, bare)
        after = lab.one("worker1", RULES).splitlines()
        assert sorted(after) == sorted(before), set(after) ^ set(before)
        assert lab.on("worker1:worker2", WEB) == webs
        for host in ("worker1", "worker2"):
            assert served(lab, host) == "hello", host
            assert lab.one(host, "docker run --rm web:1 /bin/busybox echo new") == "new"
        again = lab.apply()
        assert is_verified(again), again
        assert lab.plan().status == 0
        assert served(lab, "worker1") == "hello"
        told = " ".join(
            each["message"] for each in gone.named("Note") if each["message"].startswith("worker2: stays")
        )
        assert "containerd (of use to docker)" in told, gone
        assert "net.ipv4.ip_forward (of use to docker0)" in told, gone


def with_docker(lab: LabCluster, host: str) -> None:
    """Installs Docker there, and a container of it that serves a page."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for deb in debs():
            tar.add(deb, deb.name)
        image = page()
        info = tarfile.TarInfo("web.tar")
        info.size = len(image)
        tar.addfile(info, io.BytesIO(image))
    argv = [*ssh(lab, host), f"set -e\n{INSTALL}"]
    done = subprocess.run(argv, input=stream.getvalue(), capture_output=True, check=False)
    assert done.returncode == 0, done
    until(lambda: served(lab, host) == "hello", f"{host} serves the page")


def served(lab: LabCluster, host: str) -> str:
    try:
        with urllib.request.urlopen(f"http://{lab.address(host)}:{PORT}/", timeout=3) as answer:
            return str(answer.read().decode().strip())
    except OSError as fault:
        return str(fault)


def debs() -> list[Path]:
    """The packages' files, fetched once."""
    folder = platformdirs.user_cache_path("provision") / "tests" / "docker-packages"
    if not folder.is_dir():
        work = folder.with_suffix(f".{os.getpid()}")
        work.mkdir(parents=True)
        subprocess.run(["apt-get", "-q", "download", *PACKAGES], cwd=work, check=True)
        work.rename(folder)
    return sorted(folder.glob("*.deb"))


def page() -> bytes:
    """The root of a container with a server and a page, as a tar: this machine's busybox is static."""
    busybox = shutil.which("busybox")
    assert busybox
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.add(os.path.realpath(busybox), "bin/busybox")
        info = tarfile.TarInfo("www/index.html")
        info.size = 6
        tar.addfile(info, io.BytesIO(b"hello\n"))
    return stream.getvalue()


def ssh(lab: LabCluster, host: str) -> list[str]:
    options = ("-i", str(lab.folder / "id_ed25519"), "-o", f"UserKnownHostsFile={lab.folder / 'known_hosts'}")
    return ["ssh", *options, "-o", "BatchMode=yes", f"root@{lab.address(host)}"]


@contextmanager
def counting(lab: LabCluster, host: str) -> Iterator[Callable[[], int]]:
    """A connection over which numbers come, ten a second; called, it gives the last one."""
    count = "i=0; while sleep 0.1; do i=$((i + 1)); echo $i; done"
    process = subprocess.Popen([*ssh(lab, host), count], stdout=subprocess.PIPE, text=True)
    last = [0]

    def follow() -> None:
        assert process.stdout
        for line in process.stdout:
            last[0] = int(line)

    reader = Thread(target=follow)
    reader.start()
    try:
        until(lambda: last[0] > 0, "numbers come")
        yield lambda: last[0]
        assert process.poll() is None, "the connection ended"
    finally:
        process.kill()
        process.wait()
        reader.join()
