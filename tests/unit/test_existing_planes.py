"""What is refused of a cluster that others have built, and the control plane that is made after its first one."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest

from provisioner.action.existing import Takeover, take_over
from provisioner.errors import ProvisionError
from provisioner.inventory.secrets import Secret
from provisioner.kube.serviceflags import environment
from provisioner.pki.authority import Leaf, issue, new_authority
from provisioner.playbook.facts import Facts
from provisioner.resources.model import Owned
from provisioner.spec.load import load_cluster

INVENTORY = Path(__file__).parents[1] / "cluster" / "handbuilt.yaml"
FIRST, SECOND, VIP = "10.98.2.11", "10.98.2.12", "10.98.2.9"
SSL, CFG = "/opt/kubernetes/ssl", "/opt/kubernetes/cfg"
CA, ETCD = new_authority("kubernetes"), new_authority("etcd")
SERVER = issue(CA, Leaf("kubernetes", ("k8s",), (FIRST, "kubernetes", VIP), ("server", "client")))
NARROW = issue(CA, Leaf("kubernetes", ("k8s",), (FIRST,), ("server",)))
STRANGE = issue(new_authority("kubernetes"), Leaf("kubernetes", ("k8s",), (FIRST, VIP), ("server",)))
CLIENT = issue(ETCD, Leaf("etcd", ("k8s",), (FIRST,), ("server", "client")))
API = f"""--authorization-mode=RBAC,Node \\
--etcd-servers=https://127.0.0.1:2379 \\
--bind-address={FIRST} \\
--advertise-address={FIRST} \\
--service-cluster-ip-range=10.97.0.0/24 \\
--tls-cert-file={SSL}/server.pem \\
--tls-private-key-file={SSL}/server-key.pem \\
--kubelet-client-certificate={SSL}/server.pem \\
--kubelet-client-key={SSL}/server-key.pem \\
--client-ca-file={SSL}/ca.pem \\
--service-account-key-file={SSL}/server-key.pem \\
--service-account-signing-key-file={SSL}/server-key.pem \\
--etcd-cafile=/opt/etcd/ssl/ca.pem \\
--etcd-certfile=/opt/etcd/ssl/server.pem \\
--etcd-keyfile=/opt/etcd/ssl/server-key.pem \\
--audit-log-path=/data/audit/a.log"""
CONTROLLERS = f"""--leader-elect=true \\
--kubeconfig={CFG}/kube-controller-manager.kubeconfig \\
--cluster-signing-key-file={SSL}/ca-key.pem \\
--service-account-private-key-file={SSL}/server-key.pem"""
SCHEDULER = f"--leader-elect --kubeconfig={CFG}/kube-scheduler.kubeconfig"


def files() -> dict[str, str]:
    kubeconfig = f"clusters: [{{name: a, cluster: {{server: 'https://{FIRST}:6443'}}}}]\n"
    return {
        **_service("kube-apiserver", API),
        **_service("kube-controller-manager", CONTROLLERS),
        **_service("kube-scheduler", SCHEDULER),
        f"{SSL}/ca.pem": CA.cert,
        f"{SSL}/ca-key.pem": CA.key.reveal(),
        f"{SSL}/server.pem": SERVER.cert,
        f"{SSL}/server-key.pem": SERVER.key.reveal(),
        "/opt/etcd/cfg/etcd.conf": "",
        "/opt/etcd/ssl/ca.pem": ETCD.cert,
        "/opt/etcd/ssl/ca-key.pem": ETCD.key.reveal(),
        "/opt/etcd/ssl/server.pem": CLIENT.cert,
        "/opt/etcd/ssl/server-key.pem": CLIENT.key.reveal(),
        f"{CFG}/kube-controller-manager.kubeconfig": kubeconfig,
        f"{CFG}/kube-scheduler.kubeconfig": kubeconfig,
        "/opt/kubernetes/bin/kube-apiserver": "Kubernetes v1.33.13\n",
    }


def _service(name: str, flags: str) -> dict[str, str]:
    unit = f"[Service]\nEnvironmentFile={CFG}/{name}.conf\nExecStart=/opt/kubernetes/bin/{name} $OPTS\n"
    return {f"unit:/lib/systemd/system/{name}.service": unit, f"{CFG}/{name}.conf": f'OPTS="{flags}"\n'}


def facts(has: Mapping[str, str]) -> Facts:
    lines = (f"{path} {base64.b64encode(text.encode()).decode()}\n" for path, text in has.items())
    existing = Secret.text("".join(lines))
    return Facts("amd64", "6.1", "a", "debian", "12", 0.0, False, 10**7, {}, "eth0", existing=existing)


def taken_over(has: Mapping[str, str], path: Path = INVENTORY) -> Takeover:
    inventory, spec = load_cluster(path)
    read = {name: facts(has if name == "cp1" else {}) for name in inventory.hosts}
    takeover = take_over(inventory, spec, read, {name: {} for name in inventory.hosts})
    assert takeover
    return takeover


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        (f"{CFG}/kube-apiserver.conf", "--tls", "--secure-port=7443 --tls", "only 6443 is supported"),
        (f"{CFG}/kube-apiserver.conf", "--client-ca-file", "--client-ca", "has no --client-ca-file"),
        (f"{CFG}/kube-apiserver.conf", "--tls", "--anonymous-auth=false --tls", "without a name"),
        (f"{CFG}/kube-apiserver.conf", "--tls", "--anonymous-auth 0 --tls", "--anonymous-auth=0"),
        (f"{CFG}/kube-apiserver.conf", "RBAC,Node", "RBAC,AlwaysAllow", "there are no anonymous requests"),
        (f"{CFG}/kube-apiserver.conf", "--authorization-mode=RBAC,Node", "--v=2", "no anonymous requests"),
        (f"{CFG}/kube-apiserver.conf", '"', "'", "a quote that begins a value does not end"),
        (
            f"{CFG}/kube-controller-manager.conf",
            "elect=true",
            "elect=false",
            "a second one would act beside it",
        ),
        (f"{SSL}/ca-key.pem", CA.key.reveal(), ETCD.key.reveal(), "is not the key of"),
        (f"{SSL}/ca-key.pem", CA.key.reveal(), "no key", "cp1: "),
        (f"{SSL}/server.pem", SERVER.cert, NARROW.cert, f"lacks {VIP}"),
        (f"{SSL}/server.pem", SERVER.cert, CLIENT.cert, "is signed by CN=etcd, and not with the key of"),
        # The right name, and another key.
        (
            f"{SSL}/server.pem",
            SERVER.cert,
            STRANGE.cert,
            "is signed by CN=kubernetes, and not with the key of",
        ),
        (f"{CFG}/kube-apiserver.conf", "10.97.0.0/24", "10.96.0.0/12", r"write \[10.96.0.0/12\]"),
        ("/opt/kubernetes/bin/kube-apiserver", "v1.33.13", "v1.33.1", "write 1.33.1"),
    ],
)
def test_what_is_in_the_way_is_told(path: str, old: str, new: str, said: str) -> None:
    has = files()
    assert old in has[path]
    with pytest.raises(ProvisionError, match=said):
        taken_over({**has, path: has[path].replace(old, new, 1)})


def made_by_us(*paths: str) -> dict[str, Owned]:
    files = [Owned("file", path, frozenset({"site"}), {}, {}) for path in paths]
    return {each.id: each for each in files}


@pytest.mark.parametrize("conf", [f"{CFG}/kube-apiserver.conf", "/etc/api/options"])
def test_a_further_control_plane_is_none_to_make_others_after(tmp_path: Path, conf: str) -> None:
    """Whose builder's one has left the inventory; whichever file the options are in."""
    inventory_file, has = tmp_path / "inventory.yaml", files()
    named = INVENTORY.read_text().replace("        cp1:\n          ansible_host: 10.98.2.11\n", "")
    inventory_file.write_text(named.replace("      hosts:\n        cp1:\n", "      hosts:\n        cp2:\n"))
    unit = has.pop("unit:/lib/systemd/system/kube-apiserver.service")
    options = has.pop(f"{CFG}/kube-apiserver.conf")
    has |= {
        conf: options,
        "unit:/etc/systemd/system/kube-apiserver.service": unit.replace(f"{CFG}/kube-apiserver.conf", conf),
    }
    inventory, spec = load_cluster(inventory_file)
    read = {name: facts(has if name == "cp2" else {}) for name in inventory.hosts}
    owned: dict[str, Mapping[str, Owned]] = {name: {} for name in inventory.hosts}
    owned["cp2"] = made_by_us(conf, "/etc/systemd/system/kube-apiserver.service")
    with pytest.raises(ProvisionError, match="cp2: made by provision after a control plane") as raised:
        take_over(inventory, spec, read, owned)
    assert "name one that they have built there again" in raised.value.hint


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("kind: AuthenticationConfiguration\n", ""),
        ("anonymous: {enabled: true}\n", ""),
        ("anonymous: {enabled: true, conditions: [{path: /livez}, {path: /readyz}]}\n", ""),
        ("anonymous: {enabled: false}\n", "anonymous.enabled is not true"),
        ("anonymous: {conditions: [{path: /readyz}]}\n", "anonymous.enabled is not true"),
        ("anonymous: {enabled: true, conditions: [{path: /livez}]}\n", "has no path /readyz"),
    ],
)
def test_who_may_ask_for_health_stands_in_a_file_too(config: str, said: str) -> None:
    conf, path = f"{CFG}/kube-apiserver.conf", f"{CFG}/authentication.yaml"
    has = files() | {path: config}
    has[conf] = has[conf].replace("--tls", f"--authentication-config={path} --tls", 1)
    if not said:
        taken_over(has)
        return
    with pytest.raises(ProvisionError, match=f"cp1: {path}: .*{said}") as raised:
        taken_over(has)
    assert "write anonymous: {enabled: true" in raised.value.hint


def test_without_load_balancers_of_ours_nobody_asks_without_a_name(tmp_path: Path) -> None:
    inventory, has = tmp_path / "inventory.yaml", files()
    inventory.write_text(INVENTORY.read_text().replace("load_balancer:", "others:"))
    conf = f"{CFG}/kube-apiserver.conf"
    has[conf] = has[conf].replace("--tls", "--anonymous-auth=false --tls", 1)
    taken_over(has, inventory)


def test_a_certificate_of_another_authority_is_not_signed_anew(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.yaml"
    asked = "existing: {preset: opt-kubernetes, reissue_api_certificate: true}"
    inventory.write_text(INVENTORY.read_text().replace("existing: opt-kubernetes", asked))
    has = files() | {f"{SSL}/server.pem": STRANGE.cert}
    with pytest.raises(ProvisionError, match=f"{SSL}/server.pem is signed by") as raised:
        taken_over(has, inventory)
    assert raised.value.hint == (
        f"have {SSL}/server.pem signed by the CA in {SSL}/ca.pem, and let every kubeconfig trust that CA"
    )


@pytest.mark.parametrize(
    "path", [path for path in files() if not path.startswith("/opt/etcd") or "ca.pem" in path]
)
def test_what_is_missing_is_told(path: str) -> None:
    has = files()
    del has[path]
    with pytest.raises(ProvisionError, match=r"is not there|there is no|no version"):
        taken_over(has)


def test_the_clusters_own_keys_are_adopted() -> None:
    state = taken_over(files()).adopt("a")
    assert state.authorities == {"kubernetes": CA, "etcd": ETCD}
    assert state.service_account.key.reveal() == SERVER.key.reveal()


def test_a_further_control_plane_has_its_own_addresses_and_certificates() -> None:
    made = taken_over(files()).of("cp2")
    texts = {each["path"]: each["content"].reveal() for each in made["files"]}
    conf = environment(texts[f"{CFG}/kube-apiserver.conf"])["OPTS"].split()
    own = f"{SSL}/apiserver"
    assert f"--bind-address={SECOND}" in conf
    assert f"--advertise-address={SECOND}" in conf
    assert f"--etcd-servers=https://{FIRST}:2379" in conf
    assert f"--tls-private-key-file={own}.key" in conf
    assert f"--kubelet-client-certificate={own}.crt" in conf
    assert f"--etcd-certfile={SSL}/apiserver-etcd-client.crt" in conf
    # Tokens are signed and checked with the one key that the cluster has for that.
    assert f"--service-account-key-file={SSL}/server-key.pem" in conf
    assert texts[f"{SSL}/server-key.pem"] == SERVER.key.reveal()
    assert f"https://{SECOND}:6443" in texts[f"{CFG}/kube-scheduler.kubeconfig"]
    modes = {each["path"]: (each["mode"], each["secret"]) for each in made["files"]}
    assert modes[f"{SSL}/ca-key.pem"] == ("0600", True)
    assert "/opt/etcd/ssl/server-key.pem" not in modes
    assert "/opt/etcd/ssl/ca-key.pem" not in modes
    server = made["certificates"][0]
    assert (server["common_name"], server["organizations"]) == ("kubernetes", ["k8s"])
    assert set(server["sans"]) == {"kubernetes", VIP, SECOND, "cp2"}
    assert "/data/audit" in made["folders"]


def test_where_etcds_authority_cannot_sign_its_client_is_copied() -> None:
    has = files()
    del has["/opt/etcd/ssl/ca-key.pem"]
    made = taken_over(has).of("cp2")
    texts = {each["path"]: each for each in made["files"]}
    assert texts["/opt/etcd/ssl/server-key.pem"]["content"].reveal() == CLIENT.key.reveal()
    assert texts["/opt/etcd/ssl/server-key.pem"]["mode"] == "0600"
    assert [each["dest"] for each in made["certificates"]] == [f"{SSL}/apiserver"]
