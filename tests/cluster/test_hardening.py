"""What confines services, nodes and connections, read from what runs; and that all that people do still works."""

from __future__ import annotations

import base64
import json
import shlex
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from lab_cluster import ADMIN, NODES, LabCluster, until
from test_api_security import ask, fetch

SERVERS = {
    "cp1/etcd": "/var/lib/etcd",
    "cp1/kube-apiserver": "/var/log/kubernetes",
    "cp1/kube-controller-manager": "",
    "cp1/kube-scheduler": "",
    "registry1/docker-registry": "/var/lib/docker-registry",
}
"""Units that are confined as servers, and what each may write."""
ALL = {
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_NETLINK AF_UNIX",
    "RestrictRealtime": "yes",
    "SystemCallArchitectures": "native",
}
APART = {
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHome": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectSystem": "strict",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "UMask": "0077",
}
SERVER = {"ProtectKernelModules": "yes", "ProtectKernelTunables": "yes", "CapabilityBoundingSet": ""}
PROXY = {"CapabilityBoundingSet": "cap_net_admin cap_net_raw", "ReadWritePaths": "/run"}
UNITS: Mapping[str, Mapping[str, str]] = {
    **{unit: {**ALL, **APART, **SERVER, "ReadWritePaths": path} for unit, path in SERVERS.items()},
    **{f"{node}/kube-proxy": {**ALL, **APART, **PROXY} for node in NODES},
    **{f"{node}/kubelet": {**ALL, "ProtectSystem": "no", "PrivateTmp": "no"} for node in NODES},
}
NAMES = " ".join(sorted({unit.partition("/")[2] for unit in UNITS}))
LOST_TO_KUBELETS = {"cap_sys_module", "cap_sys_time", "cap_sys_boot", "cap_sys_rawio", "cap_mac_admin"}

KUBELET = {
    "authentication.anonymous.enabled": False,
    "authentication.webhook.enabled": True,
    "authorization.mode": "Webhook",
    "makeIPTablesUtilChains": True,
    "maxParallelImagePulls": 4,
    "podPidsLimit": 4096,
    "protectKernelDefaults": True,
    "readOnlyPort": None,
    "rotateCertificates": True,
    "seccompDefault": True,
    "serializeImagePulls": False,
    "serverTLSBootstrap": None,
    "streamingConnectionIdleTimeout": "1h0m0s",
    "tlsMinVersion": "VersionTLS12",
}
"""In the kubelet's own answer, where what is zero is left out."""

GOOD, CBC = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA"
PORTS = {
    "kube-apiserver": ("cp1", 6443),
    "kubelet": ("worker1", 10250),
    "etcd": ("cp1", 2379),
    "etcd peers": ("cp1", 2380),
    "docker-registry": ("registry1", 5000),
}


@pytest.fixture(scope="module")
def shown(cluster: LabCluster) -> dict[str, dict[str, str]]:
    """systemd's own words on each unit, by host/unit."""
    properties = ",".join(sorted({*ALL, *APART, *SERVER, *PROXY}))
    found: dict[str, dict[str, str]] = {}
    for host, text in cluster.on("all", f"systemctl show --property=Id,{properties} {NAMES}").items():
        for block in text.split("\n\n"):
            words = dict(line.split("=", 1) for line in block.splitlines())
            found[f"{host}/{words['Id'].removesuffix('.service')}"] = words
    return found


@pytest.fixture(scope="module")
def confined(cluster: LabCluster) -> dict[str, list[str]]:
    """What the kernel says of each unit's process, and which of some folders it could write; by host/unit."""
    script = f"""
    for u in {NAMES}; do
      pid=$(systemctl show --property=MainPID --value $u)
      [ "$pid" != 0 ] || continue
      echo "=$u"
      sed -n 's/^\\(CapBnd\\|NoNewPrivs\\|Seccomp\\):\\t//p' /proc/$pid/status
      for f in /etc /root /tmp /var/lib {" ".join(filter(None, SERVERS.values()))}; do
        nsenter --target=$pid --mount touch $f/.probe 2>/dev/null && echo "$f"
        [ ! -e $f/.probe ] || echo "seen:$f"
        nsenter --target=$pid --mount rm -f $f/.probe 2>/dev/null || :
      done
    done"""
    found: dict[str, list[str]] = {}
    for host, text in cluster.on("all", script).items():
        for block in f"\n{text}".split("\n=")[1:]:
            unit, *words = block.split()
            found[f"{host}/{unit}"] = words
    return found


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_confines_the_unit(shown: dict[str, dict[str, str]], unit: str) -> None:
    has = {name: " ".join(sorted(shown[unit][name].split())) for name in UNITS[unit]}
    assert has == UNITS[unit]
    if unit.endswith("/kubelet"):
        assert not LOST_TO_KUBELETS & set(shown[unit]["CapabilityBoundingSet"].split())


@pytest.mark.parametrize("unit", SERVERS)
def test_the_kernel_confines_servers(confined: dict[str, list[str]], unit: str) -> None:
    """No capability, no new rights, a filter of system calls; of the disk its own folder, and a /tmp of its own."""
    own = SERVERS[unit]
    assert confined[unit] == ["0" * 16, "1", "2", "/tmp", *([own, f"seen:{own}"] if own else [])]


@pytest.mark.parametrize("node", NODES)
def test_the_kernel_confines_what_nodes_run(confined: dict[str, list[str]], node: str) -> None:
    net_admin_and_raw = f"{1 << 12 | 1 << 13:016x}"
    assert confined[f"{node}/kube-proxy"] == [net_admin_and_raw, "1", "2", "/tmp"]
    _, rights, filtered, *written = confined[f"{node}/kubelet"]
    assert (rights, filtered) == ("1", "2")
    assert "seen:/var/lib" in written, "a file system of its own would hide volumes from the runtime"


@pytest.fixture(scope="module")
def kubelets(cluster: LabCluster) -> dict[str, dict[str, Any]]:
    """What each kubelet says that it runs with."""
    loop = f"for n in {' '.join(NODES)}; do {ADMIN} get --raw /api/v1/nodes/$n/proxy/configz; echo; done"
    answers = cluster.one("cp1", loop).splitlines()
    return {node: json.loads(text)["kubeletconfig"] for node, text in zip(NODES, answers, strict=True)}


@pytest.mark.parametrize("key", KUBELET)
def test_kubelets_run_with(kubelets: dict[str, dict[str, Any]], key: str) -> None:
    for node, config in kubelets.items():
        value: Any = config
        for step in key.split("."):
            value = value.get(step) if value else None
        assert value == KUBELET[key], node


@pytest.fixture(scope="module")
def client(cluster: LabCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """etcd's doors open to this one only; the others ask for none."""
    return fetch(cluster, "apiserver-etcd-client", tmp_path_factory.mktemp("client"))


@pytest.mark.parametrize("what", PORTS)
def test_connections_are_encrypted_well(cluster: LabCluster, client: Path, what: str) -> None:
    """Of TLS 1.2's ciphers only those that authenticate what they encrypt."""
    host, port = PORTS[what]
    assert ask(cluster.address(host), port, "/", client=client, ciphers=GOOD) < 500
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        ask(cluster.address(host), port, "/", client=client, ciphers=CBC)


def test_the_controllers_doors_are_as_good(cluster: LabCluster) -> None:
    """They are open to their own host only."""
    units = ("kube-controller-manager", "kube-scheduler")
    script = "; ".join(f"tr '\\0' ' ' </proc/$(pidof {unit})/cmdline; echo" for unit in units)
    for unit, line in zip(units, cluster.one("cp1", script).splitlines(), strict=True):
        words = dict(word.partition("=")[::2] for word in line.split())
        assert "ECDHE_ECDSA_WITH_AES_128_GCM" in words["--tls-cipher-suites"]
        assert "CBC" not in words["--tls-cipher-suites"]
        assert (words["--bind-address"], words["--profiling"]) == ("127.0.0.1", "false")
        assert words.get("--terminated-pod-gc-threshold") == ("1000" if unit == units[0] else None)


def test_who_did_what_is_on_record(cluster: LabCluster) -> None:
    cluster.kubectl("create secret generic audited --from-literal=word=hunter3")
    cluster.kubectl("delete secret audited")
    log = "/var/log/kubernetes/audit.log"
    assert cluster.one("cp1", f"stat -c %a /var/log/kubernetes {log}").split() == ["700", "600"]
    events = [json.loads(line) for line in cluster.one("cp1", f"grep audited {log}").splitlines()]
    done = {(each["user"]["username"], each["verb"], each["level"]) for each in events}
    assert done >= {("kubernetes-admin", verb, "Metadata") for verb in ("create", "delete")}
    word = base64.b64encode(b"hunter3").decode()
    assert cluster.one("cp1", f"grep -c -e hunter3 -e {word} {log} || :") == "0"
    noise = cluster.one("cp1", f'grep -c -e \'"resource":"leases"\' -e \'"requestURI":"/readyz\' {log} || :')
    assert noise == "0"


def test_tokens_of_pods_end_when_they_say(cluster: LabCluster) -> None:
    """An hour and the few seconds that a kubelet asks for; the API server's own default makes it a year."""
    token = cluster.one(
        "worker1", "cat /var/lib/kubelet/pods/*/volumes/kubernetes.io~projected/*/token | head -n 1"
    )
    part = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    assert 3000 < claims["exp"] - claims["iat"] < 4000


@pytest.fixture(scope="module")
def pod(cluster: LabCluster) -> Iterator[dict[str, Any]]:
    """A pod on worker1 that says nothing of its security, with both kinds of probes, when it is ready."""
    image = cluster.one("worker1", "ctr -n k8s.io images ls -q | grep -m 1 'agnhost@sha256'")
    container = {
        "name": "c",
        "image": image,
        "args": ["netexec", "--http-port=8080"],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
        "livenessProbe": {"exec": {"command": ["/agnhost", "--help"]}, "periodSeconds": 2},
    }
    spec = {"nodeName": "worker1", "terminationGracePeriodSeconds": 0, "containers": [container]}
    wanted = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probed"}, "spec": spec})
    cluster.one("cp1", f"{ADMIN} apply -f - <<'END'\n{wanted}\nEND")
    try:
        cluster.kubectl("wait --for=condition=Ready --timeout=60s pod/probed")
        yield json.loads(cluster.kubectl("get pod probed -o json"))
    finally:
        cluster.kubectl("delete pod probed --wait=false")


def test_what_people_do_with_pods_works(cluster: LabCluster, pod: dict[str, Any]) -> None:
    assert "Usage" in cluster.kubectl("exec probed -- /agnhost --help")
    assert "Started HTTP server" in cluster.kubectl("logs probed")
    forward = f"""
    {ADMIN} port-forward pod/probed 18080:8080 >/run/forward 2>&1 & p=$!
    trap 'kill $p' EXIT
    until grep -q Forwarding /run/forward; do sleep 0.1; done
    exec 5<>/dev/tcp/127.0.0.1/18080
    printf 'GET /echo?msg=forwarded HTTP/1.0\\r\\n\\r\\n' >&5
    timeout 5 cat <&5"""
    assert "forwarded" in cluster.one("cp1", f"timeout 20 bash -c {shlex.quote(forward)}")
    until(lambda: "livenessProbe" not in cluster.kubectl("get events -o json"), "no probe has failed", 5)
    state = json.loads(cluster.kubectl("get pod probed -o json"))["status"]["containerStatuses"][0]
    assert (state["ready"], state["restartCount"]) == (True, 0)


def test_a_pod_that_says_nothing_is_filtered_and_limited(cluster: LabCluster, pod: dict[str, Any]) -> None:
    uid = pod["metadata"]["uid"].replace("-", "_")
    script = f"""
    d=$(find /sys/fs/cgroup -type d -name '*pod{uid}.slice' -exec test -e '{{}}/pids.max' ';' -print | head -n 1)
    cat "$d/pids.max"
    sed -n 's/^Seccomp:\\t//p' /proc/$(pgrep -n -f 'agnhost netexec --http-port=8080')/status"""
    assert cluster.one("worker1", script).split() == ["4096", "2"]
