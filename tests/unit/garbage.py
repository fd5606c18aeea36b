"""What anything may be made of, for tests that feed parsers with it: bytes, texts, trees, and right ones damaged.

For hypothesis: its strategies, over words that mean something to the parsers, so that they get beyond the first check.
"""

from __future__ import annotations

import copy
import string
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import strategies as st

from provisioner.inventory.names import KNOWN
from provisioner.spec.schema import CLUSTER, HOST

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
Tree = Any

SCALARS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 10**30, 1.5, float("nan"), float("inf")),
    *(
        "",
        " ",
        "\t",
        "x" * 5000,
        "é☃",
        "²",
        "٣",
        "yes",
        "1e999",
        "$(id)",
        "[",
        "-o",
        "a:b:c",
        "\x00",
        "../..",
        "%",
    ),
    *(
        "10.0.0.0/8",
        "10.96.0.0/16",
        "10.98.0.11",
        "::1",
        "fe80::1%eth0",
        "0.0.0.0/0",
        "::/0",
        "010.0.0.1",
        "1.2.3",
    ),
    *(
        "{{ x }}",
        "{{ 1/0 }}",
        "{% for %}",
        "{{",
        "{{ [1] }}",
        "{{ hostvars }}",
        "1.33",
        "1.99999999999.1",
        "v1.33.1",
    ),
    *("a=b:NoSchedule", "web[1:3]", "[fe80::1]:22", ">=0.1,<2", "all", "cp1", "-J a -p 22", "ssh"),
)
"""Values that have broken a parser before, or look as if they could."""
EMPTY_OR_ODD: tuple[Any, ...] = (
    [],
    [[]],
    [None],
    {},
    {"a": 1},
    {1: 2},
    {None: {}},
    ["10.0.0.0/8"] * 3,
    [{"key": "k"}],
)

_SECTIONS = (
    "all",
    "hosts",
    "children",
    "vars",
    "etcd",
    "kube_control_plane",
    "kube_node",
    "cluster",
    "plugin",
    "<<",
)
_CLUSTER = tuple(CLUSTER) + tuple(key for rule in CLUSTER.values() for key in rule.get("schema", {}))
_STAGES = ("name", "hosts", "serial", "gate", "always", "barrier", "tags", "vars", "tasks", "import_playbook")
_TASKS = (
    "copy",
    "file",
    "template",
    "command",
    "systemd",
    "sysctl",
    "when",
    "loop",
    "with_items",
    "args",
    "become",
)
_ARGUMENTS = (
    "dest",
    "content",
    "src",
    "path",
    "state",
    "mode",
    "cmd",
    "creates",
    "owner",
    "recurse",
    "secret",
)

# Not all of Unicode: hypothesis' table of it takes 200 MB, and these are what is special to somebody.
_LETTERS = (
    string.printable
    + "\x00\x1b\x7f\x85\xa0\xadé²٣☃漢\u0301\u200b\u2028\u202e\ufeff\ufffe\ud800\udfff\U0001f600\U000e0041"
)
scalars = st.sampled_from(SCALARS) | st.integers() | st.floats() | st.text(_LETTERS, max_size=20)
texts = st.sampled_from([each for each in SCALARS if isinstance(each, str)]) | st.text(_LETTERS, max_size=40)
deep = st.sampled_from(["[" * 5_000, '{"a":' * 5_000])
"""What makes a parser that calls itself call itself too often."""
unclean = st.text(_LETTERS, max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
markup = st.text(st.sampled_from(" \n\t:-[]{}&*!|>'\"#%@,?abc01\x00\xff"), max_size=120).map(str.encode)
raw = st.binary(max_size=200) | unclean | markup | deep.map(str.encode)
"""Bytes of a file."""


def trees(*words: str) -> st.SearchStrategy[Tree]:
    """Mappings and lists in each other, with these words as keys mostly."""
    keys = st.sampled_from(words) | st.sampled_from(
        [each for each in SCALARS if isinstance(each, str | int | bool)]
    )
    leaves = st.sampled_from(SCALARS + EMPTY_OR_ODD) | st.sampled_from(words)
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


inventories = trees(*_SECTIONS, *_CLUSTER, *HOST, *sorted(KNOWN))
playbooks = st.lists(trees(*_STAGES, *_TASKS, *_ARGUMENTS), max_size=3) | trees(*_STAGES)
tasks = st.dictionaries(
    st.sampled_from(_TASKS),
    st.dictionaries(st.sampled_from(_ARGUMENTS), st.sampled_from(SCALARS + EMPTY_OR_ODD), max_size=4)
    | st.sampled_from(SCALARS + EMPTY_OR_ODD),
    min_size=1,
    max_size=3,
)
stages = st.builds(
    lambda inside: [{"name": "a", "hosts": "all", "tasks": inside}], st.lists(tasks, max_size=3)
)


def places(value: Tree, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of everything in a tree, mappings and lists included."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


@st.composite
def damaged(draw: st.DrawFn, whole: Tree) -> Tree:
    """A right tree in which a few places hold something else, or nothing."""
    data = copy.deepcopy(whole)
    chosen = draw(st.lists(st.sampled_from(list(places(whole))), min_size=1, max_size=4, unique=True))
    for path in sorted(chosen, key=len, reverse=True):
        inside = data
        for step in path[:-1]:
            inside = inside[step]
        if draw(st.booleans()) or isinstance(inside, list):
            inside[path[-1]] = copy.deepcopy(draw(st.sampled_from(SCALARS + EMPTY_OR_ODD) | inventories))
        else:
            del inside[path[-1]]
    return data


@st.composite
def bent(draw: st.DrawFn, whole: bytes) -> bytes:
    """Right bytes of which a few are others, are missing or are doubled."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        data[start:end] = draw(markup | st.just(bytes(data[start:end]) * 2) | st.binary(max_size=4))
    return bytes(data)


def dumped(tree: Tree) -> bytes:
    """A tree as a YAML file."""
    return str(yaml.dump(tree, Dumper=_DUMPER, allow_unicode=True)).encode("utf-8", "surrogatepass")
