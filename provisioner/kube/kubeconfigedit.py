"""Other people's kubeconfigs: which API servers they name, and those names changed with all else left as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import yaml


def servers(text: str) -> tuple[str, ...]:
    """The `server` of each cluster, in order. Raises ValueError for what is no kubeconfig."""
    return tuple(node.value for node in _servers(text))


def with_servers(text: str, instead: Callable[[str], str]) -> str:
    """`text` with every server replaced by `instead(server)`, and elsewhere the same byte for byte: comments, quotes.

    Raises ValueError for what is no kubeconfig.
    """
    for node in reversed(list(_servers(text))):
        server = instead(node.value)
        if server != node.value:
            begin, end = node.start_mark.index, node.end_mark.index
            quote = node.style if node.style in {"'", '"'} else '"' if "[" in server else ""
            text = f"{text[:begin]}{quote}{server}{quote}{text[end:]}"
    return text


def _servers(text: str) -> Iterator[yaml.ScalarNode]:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as fault:
        raise ValueError(f"it is no YAML ({type(fault).__name__})") from None
    clusters = _at(root, "clusters")
    if not isinstance(clusters, yaml.SequenceNode):
        raise ValueError("it is no kubeconfig: it has no list of clusters")
    for each in clusters.value:
        server = _at(_at(each, "cluster"), "server")
        if isinstance(server, yaml.ScalarNode):
            yield server


def _at(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)
