"""No input gives a traceback: whatever a parser is fed with, it takes it or says what is wrong.

The inputs are the same in every run. `-m soak` runs many more of them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from archives import Made, layer, named_layout, old_docker, packed
from broken import VARIABLES, said
from cnioutput import cluster_output, node_output
from garbage import (
    bent,
    damaged,
    deep,
    dumped,
    inventories,
    playbooks,
    raw,
    scalars,
    stages,
    texts,
    trees,
)
from hypothesis import HealthCheck, Phase, configuration, given, settings
from hypothesis import strategies as st
from seeds import (
    CILIUM,
    ETCD,
    FACTS,
    FACTS_FILE,
    FULL,
    JOURNAL,
    KNOWN_HOSTS,
    OWNED,
    PLAN,
    PLAYBOOK,
    POLICED,
    STATE,
)
from test_bundle_signature import KEY_FILE, LEGACY, PREHASHED, PUBLIC

from provisioner.action import anonymous
from provisioner.action.foundcluster import FoundHost
from provisioner.action.kinds import base_modules, kinds_of
from provisioner.action.planfile import read_plan
from provisioner.action.plankind import is_plan_file
from provisioner.bundle import catalogue
from provisioner.bundle.ingest.names import full_name
from provisioner.bundle.ingest.take import take
from provisioner.bundle.minisign import PublicKey, SecretKey, Signature
from provisioner.bundle.store import Store
from provisioner.engine.events import silent
from provisioner.engine.history import find_run, records
from provisioner.engine.ownership import leftovers
from provisioner.errors import InputError, ProvisionError, UnreachableError
from provisioner.inventory.load import read_inventory
from provisioner.inventory.patterns import PatternError, match
from provisioner.inventory.ranges import RangeError, expand
from provisioner.inventory.secrets import Secret
from provisioner.inventory.sshargs import SshArgumentError, SshArguments, read_ssh_arguments
from provisioner.kube.cnicluster import parse_cluster
from provisioner.kube.cnifaults import Seen, faults_of
from provisioner.kube.cniread import parse_node
from provisioner.kube.kubeconfigedit import servers
from provisioner.kube.leader import voters
from provisioner.kube.remains import parse_remains
from provisioner.kube.serviceflags import command, environment
from provisioner.pki.cluster import agreed_state, parse_state
from provisioner.playbook.compile import Compiler
from provisioner.playbook.facts import Facts
from provisioner.playbook.factsfile import read_facts
from provisioner.playbook.factsread import parse_facts
from provisioner.playbook.load import load_playbook
from provisioner.playbook.model import Selection
from provisioner.remote.hostkeys import HostKey, KnownHosts
from provisioner.report.history import run_table
from provisioner.report.printable import printable
from provisioner.resources.owned import parse_owned
from provisioner.spec import labels, nameservers, policywords, values, versions
from provisioner.spec.load import load_cluster

EXAMPLES = 120
AT_LENGTH = 5000
"""How many inputs each parser gets: in every run, in a soak run."""
PATH = Path("input")
"""In a folder of the test's own."""
MADE = Made((layer("one"), layer("two")))
SAVED: dict[str, Any] = old_docker(MADE)
CONFIG = f"{MADE.image_id[7:]}.json"
COMPONENTS = catalogue.load()
MODULES = base_modules()
KINDS = kinds_of(MODULES)
GROUPS = {"all": ("h1", "h2", "web01.lan"), "a": ("h1",), "kube_control_plane": ("h1",)}
KEY = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIKYH2jbRX0ZUiWl6jVEbfOy3G+xBAzJ4e0d4nfDCmVY5")


def _file(content: bytes) -> Path:
    PATH.write_bytes(content)
    return PATH


def _cluster(content: bytes) -> None:
    load_cluster(_file(content))


def _variables(content: bytes) -> None:
    """Templates too, which are rendered when they are read."""
    inventory, _ = read_inventory(_file(content))
    for host in inventory.hosts.values():
        for name in host.vars:
            host.vars[name]


def _playbook(content: bytes) -> None:
    playbook = load_playbook(_file(content), set(MODULES))
    for stage in playbook.stages:
        Compiler(playbook, MODULES, Selection()).stage(stage, "here", VARIABLES)


def _plan(content: bytes) -> None:
    is_plan_file(_file(content))
    read_plan(PATH)


def _state(text: str) -> None:
    state = parse_state(Secret.text(text), "cp1")
    state.to_json()
    agreed_state("lab", {"cp1": Secret.text(text)}, {"h": state.mark()})


def _owned(text: str) -> None:
    known = parse_owned(text)
    leftovers((), {"h": known}, "site.yaml", KINDS)
    leftovers((), {"h": known}, "other.yaml", KINDS)


def _known_hosts(content: bytes) -> None:
    hosts = KnownHosts.load([_file(content)])
    for address, port in (("worker1", 22), ("10.98.0.21", 22), ("worker2", 2222), ("a.lan", 22)):
        hosts.known(address, port)
        with contextlib.suppress(UnreachableError):
            hosts.check(address, port, KEY)


def _one_value(text: str) -> None:
    for check in (
        *(values.cidr, values.address, values.host, values.any_cidr, values.dns_label, values.dns_name),
        *(
            values.project,
            values.interface,
            values.path,
            versions.kubernetes,
            versions.requires,
            versions.plugin,
        ),
        *(nameservers.upstream, nameservers.name_server, policywords.ports),
        *(versions.backend, versions.runtime, labels.label_key, labels.node_label_key, labels.label_value),
    ):
        with contextlib.suppress(values.RefusedError):
            check(text)


def _journal(text: str) -> None:
    folder = Path("runs")
    folder.mkdir(exist_ok=True)
    (folder / "20260101T000000-abc.jsonl").write_text(text, encoding="utf-8", errors="surrogatepass")
    _file(b"")
    run_table(list(records(PATH, folder)))
    if any(records(PATH, folder)):
        find_run(PATH, "2026", folder)


def _archive(content: bytes) -> None:
    """Also whatever is called so: archives of images, programs, manifests."""
    store = Store(Path("store"))
    take([_file(content)], COMPONENTS, store, silent)


def _documents(documents: tuple[object, object]) -> None:
    """An archive that is whole, around documents that are not."""
    listed, config = (json.dumps(each).encode() for each in documents)
    _archive(packed({**SAVED, "manifest.json": listed, CONFIG: config}))


def _lines(*lines: Any) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


_addresses = st.text(st.sampled_from("0123456789./:%abf -e²"), max_size=24)
_names = st.text(st.sampled_from("web[]:0129az-._ é*?~&!,(|)\\"), max_size=30)


def _journal_of(lines: list[Any]) -> str:
    """Of this inventory, whatever else is damaged: others are left out."""
    head = {**JOURNAL[0], **(lines[0] if lines else {})}
    return _lines({**head, "event": "RunStarted", "path": str(PATH)}, *lines[1:])


_lists = st.lists(trees(*OWNED), max_size=3).map(lambda lines: _lines(*lines))


def dumped_text(tree: object) -> str:
    return dumped(tree).decode(errors="replace")


def _found(text: str) -> None:
    host = FoundHost.of(
        "h",
        Facts(
            "amd64",
            "6.1",
            "h",
            "debian",
            "12",
            0.0,
            False,
            1,
            {},
            "",
            existing=Secret.text(f"{text} {text}\n/a {text}"),
        ),
        "/opt/kubernetes",
    )
    assert not host.has("kubelet")


def _facts(output: bytes) -> None:
    parse_facts("h", output, 0.0)


NODE_NETWORK = node_output({"complaints": ["100 c1 failed"], "left": ["dead 10.244.1.9 cni-1"]})


def _pod_network(output: bytes) -> None:
    node = parse_cluster(cluster_output({"unavailable": True}))[0]
    faults_of(Seen("h", parse_node(output), node))


@dataclass(frozen=True)
class Parser:
    """One parser: what it is fed with, and what it may raise beside ProvisionError."""

    inputs: st.SearchStrategy[Any]
    parse: Callable[[Any], object]
    raises: tuple[type[Exception], ...] = ()


PARSERS: Mapping[str, Parser] = {
    "inventory, any bytes": Parser(raw, _cluster),
    "inventory, any tree": Parser(inventories.map(dumped), _cluster),
    "inventory, a right one bent": Parser(bent(FULL.encode()), _cluster),
    "inventory, a right one with other values": Parser(damaged(yaml.safe_load(FULL)).map(dumped), _cluster),
    "policies, right ones with other values": Parser(damaged(yaml.safe_load(POLICED)).map(dumped), _cluster),
    "Cilium, a right one with other values": Parser(damaged(yaml.safe_load(CILIUM)).map(dumped), _cluster),
    "variables": Parser(inventories.map(dumped) | bent(FULL.encode()), _variables),
    "ranges": Parser(_names | texts, expand, (RangeError,)),
    "patterns": Parser(_names | texts, lambda text: match(text, GROUPS["all"], GROUPS), (PatternError,)),
    "values": Parser(_addresses | texts, _one_value),
    "taints": Parser(
        texts | st.dictionaries(st.sampled_from(["key", "value", "effect", 1]), scalars, max_size=3),
        labels.taint,
    ),
    "ssh arguments": Parser(
        texts
        | st.lists(st.sampled_from(["-o", "-J", "-p", "=", "'", "Port=1", "a b", "-C", "²"])).map(" ".join),
        lambda text: read_ssh_arguments(text, SshArguments()),
        (SshArgumentError,),
    ),
    "playbooks, any tree": Parser(playbooks.map(dumped) | raw, _playbook),
    "playbooks, any task": Parser(stages.map(dumped), _playbook),
    "playbooks, a right one": Parser(
        damaged(yaml.safe_load(PLAYBOOK)).map(dumped) | bent(PLAYBOOK.encode()), _playbook
    ),
    "kubeconfigs of others": Parser(
        texts | trees("clusters", "cluster", "server").map(dumped_text) | deep, servers, (ValueError,)
    ),
    "units of others": Parser(texts, lambda text: command(text, environment(text)), (ValueError,)),
    "files of others": Parser(texts, _found),
    "authentication of others": Parser(
        texts | trees("anonymous", "enabled", "conditions", "path").map(dumped_text) | deep,
        anonymous.refused,
    ),
    "members of etcd": Parser(
        texts | deep | damaged(ETCD).map(lambda told: "\n==\n".join(map(json.dumps, told.values()))), voters
    ),
    "what a plug-in has left": Parser(
        texts | texts.map(lambda text: f"there\t{text}\tname\t\nleft\tkind\t{text}"), parse_remains
    ),
    "pod networks of nodes": Parser(raw | bent(NODE_NETWORK), _pod_network),
    "nodes of clusters": Parser(raw | bent(cluster_output({})), parse_cluster),
    "plan files": Parser(
        raw | damaged(PLAN).map(json.dumps).map(str.encode) | bent(_lines(PLAN).encode()), _plan
    ),
    "facts": Parser(raw | bent(FACTS), _facts),
    "facts, parts in any order": Parser(
        st.permutations(FACTS.split(b"\n="))
        .flatmap(lambda parts: st.integers(0, 3).map(lambda n: parts[n:]))
        .map(b"\n=".join),
        _facts,
    ),
    "facts files": Parser(
        raw | damaged(FACTS_FILE).map(dumped), lambda content: read_facts(_file(content), ["h"])
    ),
    "state": Parser(
        texts | deep | damaged(STATE).map(json.dumps) | damaged({**STATE, "format": 1}).map(json.dumps),
        _state,
    ),
    "marks": Parser(
        texts | deep | damaged({"name": "lab", "uuid": "u"}).map(json.dumps),
        lambda text: agreed_state("lab", {"cp1": Secret.text(json.dumps(STATE))}, {"h": text}),
    ),
    "owned": Parser(
        texts
        | deep
        | _lists
        | damaged(OWNED).map(_lines)
        | damaged(OWNED).map(lambda line: _lines(OWNED, line)),
        _owned,
    ),
    "journals": Parser(
        texts | deep | _lists | st.lists(damaged(JOURNAL[0]) | damaged(JOURNAL[1])).map(_journal_of), _journal
    ),
    "archives of images": Parser(raw | bent(packed(SAVED)) | bent(packed(named_layout(MADE))), _archive),
    "documents of archives": Parser(
        st.tuples(damaged(json.loads(SAVED["manifest.json"])), damaged(json.loads(MADE.config))), _documents
    ),
    "programs and manifests": Parser(
        bent(
            b"\x7fELF\x02\x01"
            + bytes(12)
            + b">"
            + bytes(13)
            + b"\xff Go buildinf:\x08\x02"
            + bytes(16)
            + b"\x02go\x03a"
        )
        | trees("kind", "apiVersion", "metadata", "containers", "image", "ConfigMap", "DaemonSet").map(
            dumped
        ),
        _archive,
    ),
    "names of images": Parser(texts | _names, lambda text: full_name(text, "manifest.json")),
    "known hosts": Parser(raw | bent(KNOWN_HOSTS), _known_hosts),
    "signatures": Parser(raw | bent(PREHASHED) | bent(LEGACY), Signature.parse, (ValueError,)),
    "public keys": Parser(
        texts | bent(PUBLIC.encode()).map(lambda key: key.decode(errors="replace")),
        PublicKey.parse,
        (ValueError,),
    ),
    "secret keys": Parser(
        raw | bent(KEY_FILE.encode()), lambda content: SecretKey.parse(content, bytes), (ValueError,)
    ),
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the inputs, and whatever hypothesis keeps, go where nothing stays."""
    monkeypatch.chdir(tmp_path)
    configuration.set_hypothesis_home_dir(tmp_path / "hypothesis")


def _refused(parser: Parser, value: Any) -> str | None:
    """What is said against the value; None when it is taken."""
    try:
        parser.parse(value)
    except InputError as error:
        return said(error) if error.problems else ""
    except ProvisionError as error:
        return printable(error.reason)
    except parser.raises as error:
        return printable(str(error))
    return None


def _run(parser: Parser, examples: int) -> None:
    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(parser.inputs)
    def parsed(value: Any) -> None:
        reason = _refused(parser, value)
        assert reason is None or reason.encode(), "what is printed says something, and can be printed"

    parsed()


@pytest.mark.parametrize("name", PARSERS)
def test_no_input_gives_a_traceback(name: str) -> None:
    _run(PARSERS[name], EXAMPLES)


@pytest.mark.soak
@pytest.mark.parametrize("name", PARSERS)
def test_no_input_gives_a_traceback_at_length(name: str) -> None:
    _run(PARSERS[name], AT_LENGTH)


@pytest.mark.parametrize(
    ("seed", "parse"),
    [
        (FULL.encode(), _cluster),
        (POLICED.encode(), _cluster),
        (CILIUM.encode(), _cluster),
        (PLAYBOOK.encode().replace(b"    - {template: {dest: /etc/t, src: none.j2}}\n", b""), _playbook),
        (json.dumps(PLAN).encode(), _plan),
        (FACTS, lambda output: parse_facts("h", output, 0.0)),
        (dumped(FACTS_FILE), lambda content: read_facts(_file(content), ["h"])),
        (json.dumps(STATE).encode(), lambda text: _state(text.decode())),
    ],
)
def test_what_is_damaged_was_right(seed: bytes, parse: Callable[[bytes], object]) -> None:
    """Or the rest would prove little."""
    parse(seed)
    assert parse_owned(_lines(OWNED)).keys() == {"file:/etc/a"}
    (voter,) = voters("\n==\n".join(map(json.dumps, ETCD.values())))
    assert voter.leads
    assert len(KnownHosts.load([_file(KNOWN_HOSTS)]).known("worker1", 22)) == 1
