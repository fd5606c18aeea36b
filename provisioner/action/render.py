"""`render`: what would be sent, as files on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from provisioner.action.load import Request, load
from provisioner.action.prepare import compile_with, connect, gather
from provisioner.engine.events import Emit, Step
from provisioner.engine.patched import Patched
from provisioner.engine.plan import Desired
from provisioner.playbook.facts import Facts
from provisioner.playbook.factsfile import read_facts, write_facts
from provisioner.resources.model import Resource


def render(
    request: Request,
    output: Path,
    emit: Emit,
    *,
    facts_file: Path | None = None,
    save_facts: Path | None = None,
) -> list[Patched]:
    """Writes `output`/HOST/PATH for every file and `output`/manifests/NAME.yaml for every manifest.

    With `facts_file` no host is reached. Secrets are written as "(secret)". What is changed in those of the manifests
    that publishers have made, and why. Raises ProvisionError.
    """
    loaded = load(request, emit)
    if facts_file is not None:
        facts: Mapping[str, Facts] = read_facts(facts_file, loaded.hosts)
    else:
        with connect(loaded) as pool:
            facts = gather(loaded, pool)
    if save_facts is not None:
        write_facts(save_facts, facts)
    prepared = compile_with(loaded, facts, emit, for_show=True)
    count = 0
    for path, text in _files(prepared.desired):
        target = output / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        count += 1
    emit(Step(task="render", subject=f"{count} files in {output}"))
    written = {resource.name for resource in _resources(prepared.desired) if resource.kind == "manifest"}
    every = prepared.cluster.patched() if prepared.cluster else []
    return [each for each in every if each.manifest in written]


def _resources(desired: tuple[Desired, ...]) -> Iterator[Resource]:
    for stage in desired:
        for resources in stage.hosts.values():
            yield from resources


def _files(desired: tuple[Desired, ...]) -> Iterator[tuple[Path, str]]:
    for stage in desired:
        for host, resources in stage.hosts.items():
            for resource in resources:
                text = _text(resource)
                if text is None:
                    continue
                if resource.kind == "manifest":
                    yield Path("manifests") / f"{resource.name}.yaml", text
                else:
                    yield Path(host) / resource.name.lstrip("/"), text


def _text(resource: Resource) -> str | None:
    if resource.kind == "manifest":
        return yaml.safe_dump_all(map(_shown, resource.spec["objects"]), sort_keys=False)
    if resource.kind == "file" and resource.spec.get("content") is not None:
        return "(secret)\n" if resource.secret else resource.text
    return None


def _shown(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """An object, a Secret without what is secret in it."""
    if item["kind"] != "Secret":
        return item
    return {**item, "data": dict.fromkeys(item.get("data") or {}, "(secret)")}
