"""`render`: what would be sent, as files on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from provisioner.action.load import Request, compile_with, connect, gather, load
from provisioner.engine.events import Emit, Step
from provisioner.engine.plan import Desired
from provisioner.errors import InputError, Problem
from provisioner.playbook.facts import Facts
from provisioner.resources.model import Resource


def render(
    request: Request,
    output: Path,
    emit: Emit,
    *,
    component: str | None = None,
    facts_file: Path | None = None,
    save_facts: Path | None = None,
) -> None:
    """Writes `output`/HOST/PATH for every file and `output`/manifests/NAME.yaml for every manifest.

    With `facts_file` no host is reached. Secrets are written as "(secret)". Raises ProvisionError.
    """
    loaded = load(request)
    if facts_file is not None:
        facts = _read_facts(facts_file)
    else:
        with connect(loaded) as pool:
            facts = gather(pool, loaded.hosts)
    if save_facts is not None:
        # Without the keys the cluster's mark must go, too: it would stand for keys that were lost.
        bare = {
            host: asdict(replace(each, state="", mark="", kubelet_certificate=""))
            for host, each in facts.items()
        }
        save_facts.write_text(json.dumps(bare, indent=1) + "\n", encoding="utf-8")
    desired = compile_with(loaded, facts, emit).desired
    count = 0
    for path, text in _files(desired, _wanted(loaded.playbook.stages, component)):
        target = output / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        count += 1
    emit(Step(task="render", subject=f"{count} files in {output}"))


def _wanted(stages: object, component: str | None) -> set[str] | None:
    if component is None:
        return None
    names = {stage.name for stage in stages if component == stage.name or component in stage.tags}  # type: ignore[attr-defined]
    if not names:
        known = ", ".join(stage.name for stage in stages)  # type: ignore[attr-defined]
        raise InputError([Problem(component, 0, 0, "no stage has this name or tag", f"there are: {known}")])
    return names


def _files(desired: tuple[Desired, ...], stages: set[str] | None) -> Iterator[tuple[Path, str]]:
    for stage in desired:
        if stages is not None and stage.name not in stages:
            continue
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
        return yaml.safe_dump_all(resource.spec["objects"], sort_keys=False)
    if resource.kind == "file" and resource.spec.get("content") is not None:
        return "(secret)\n" if resource.secret else resource.text
    return None


def _read_facts(path: Path) -> dict[str, Facts]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {host: Facts(**each) for host, each in data.items()}
    except (OSError, ValueError, TypeError, AttributeError) as fault:
        raise InputError([Problem(str(path), 0, 0, f"is no file of facts: {fault}")]) from None
