"""Playbooks: what they come to mean on a host. How wrong ones are refused: test_broken_input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from broken import VARIABLES

from provisioner.action.kinds import base_modules
from provisioner.action.modules import CLUSTER_MODULES
from provisioner.errors import InputError
from provisioner.playbook.compile import Compiler
from provisioner.playbook.load import load_playbook, shipped
from provisioner.playbook.model import Selection
from provisioner.resources.model import Present, Resource

TEMPLATES = {
    "good.j2": b"word={{ word }}\n{% for item in items %}\n{{ item }}\n{% endfor %}\n",
    "secret.j2": b"pw={{ password }}\n{% for key, value in deep.items() %}{{ key }}={{ value }}{% endfor %}\n",
}


def compiled(folder: Path, text: str, *, stage: int = 0, **chosen: Any) -> tuple[Resource, ...]:
    (folder / "templates").mkdir(exist_ok=True)
    for name, content in TEMPLATES.items():
        (folder / "templates" / name).write_bytes(content)
    (folder / "book.yaml").write_text(text, encoding="utf-8")
    modules = base_modules()
    playbook = load_playbook(folder / "book.yaml", set(modules))
    compiler = Compiler(playbook, modules, Selection(**chosen))
    return compiler.stage(playbook.stages[stage], "here", VARIABLES)


STAGE = "- name: a\n  hosts: all\n  tags: [s]\n  vars: {where: /etc}\n  tasks:\n"


def names(resources: tuple[Resource, ...]) -> list[str]:
    return [each.name for each in resources]


MEANT = [
    ("    - copy: {dest: '{{ where }}/{{ word }}', content: x}", ["/etc/w"]),
    ("    - copy: {dest: '/etc/{{ item }}', content: x}\n      loop: [a, b]", ["/etc/a", "/etc/b"]),
    (
        "    - copy: {dest: '/etc/{{ item }}', content: x}\n      with_items: '{{ items }}'",
        ["/etc/1", "/etc/2"],
    ),
    ("    - copy: {dest: '/etc/{{ item.n }}', content: x}\n      loop: [{n: a}]", ["/etc/a"]),
    (
        "    - copy: {dest: '/etc/{{ item }}', content: x}\n      loop: [1, 2]\n      when: item > 1",
        ["/etc/2"],
    ),
    ("    - copy: {dest: '/etc/{{ item }}', content: x}\n      loop: []", []),
    ("    - copy: {dest: /etc/a, content: x}\n      when: not flag", []),
    ("    - copy: {dest: /etc/a, content: x}\n      when: [flag, word == 'w']", ["/etc/a"]),
    ("    - copy: {dest: /etc/a, content: x}\n      when: [flag, word == 'v']", []),
    ("    - copy: {dest: /etc/a, content: x}\n      when: false", []),
    ("    - copy: {dest: /etc/a, content: x}\n      when: no_such is defined and no_such", []),
    ("    - copy: {dest: '/etc/{{ x }}', content: x}\n      vars: {x: '{{ word }}{{ word }}'}", ["/etc/ww"]),
    ("    - copy: {dest: '/etc/{{ where }}', content: x}\n      vars: {where: mine}", ["/etc/mine"]),
    ("    - systemd: {name: a}", ["a.service"]),
    ("    - service: {name: a}", ["a.service"]),
    ("    - copy: {dest: /etc/a, content: x}\n      become: true", ["/etc/a"]),
    ("    - copy: {dest: /etc/a, content: x}\n    - copy: {dest: /etc/a, content: x}", ["/etc/a"]),
]


@pytest.mark.parametrize(("tasks", "wanted"), MEANT)
def test_keywords_mean_what_they_mean_in_ansible(tasks: str, wanted: list[str], tmp_path: Path) -> None:
    assert names(compiled(tmp_path, STAGE + tasks + "\n")) == wanted


def test_command_lines_as_text(tmp_path: Path) -> None:
    text = STAGE + "    - command: touch {{ word }}\n      args: {creates: /etc/w}\n"
    (resource,) = compiled(tmp_path, text)
    assert (resource.spec["cmd"], resource.spec["creates"]) == ("touch w", "/etc/w")


TAGGED = (
    STAGE
    + "    - copy: {dest: /etc/a, content: x}\n      tags: one\n"
    + "    - copy: {dest: /etc/b, content: x}\n      tags: [two, three]\n"
    + "    - copy: {dest: /etc/c, content: x}\n      tags: always\n"
)
CHOSEN = [
    (set(), ["/etc/a", "/etc/b", "/etc/c"]),
    ({"one"}, ["/etc/a", "/etc/c"]),
    ({"three"}, ["/etc/b", "/etc/c"]),
    ({"s"}, ["/etc/a", "/etc/b", "/etc/c"]),
    ({"none"}, ["/etc/c"]),
]


@pytest.mark.parametrize(("tags", "wanted"), CHOSEN)
def test_tags_choose_tasks_and_stages_pass_theirs_on(
    tags: set[str], wanted: list[str], tmp_path: Path
) -> None:
    assert names(compiled(tmp_path, TAGGED, tags=frozenset(tags))) == wanted


def test_templates_render_with_the_task_s_variables(tmp_path: Path) -> None:
    (resource,) = compiled(tmp_path, STAGE + "    - template: {src: good.j2, dest: /etc/a}\n")
    assert resource.text == "word=w\n1\n2\n"


@pytest.mark.parametrize("task", ["copy: {dest: /etc/a, content: '{{ password }}', secret: true}",
                                  "template: {dest: /etc/a, src: secret.j2, secret: true}"])  # fmt: skip
def test_secrets_are_sent_but_never_shown(task: str, tmp_path: Path) -> None:
    (resource,) = compiled(tmp_path, f"{STAGE}    - {task}\n")
    blob = resource.spec["content"]
    assert b"hunter2" in blob.data
    assert b"***" not in blob.data
    assert (resource.secret, blob.secret, resource.text) == (True, True, None)
    assert isinstance(resource.desired, Present)
    assert resource.desired.attrs["mode"] == "600"
    assert "hunter2" not in repr(resource)


def test_a_template_with_a_secret_needs_the_word(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"secret\.j2:1:7: 'password' is a secret"):
        compiled(tmp_path, STAGE + "    - template: {dest: /etc/a, src: secret.j2}\n")


def test_imports_keep_their_order_and_count_in_the_digest(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("- {name: one, hosts: all}\n")
    (tmp_path / "two.yaml").write_text("- {name: two, hosts: all}\n")
    book = tmp_path / "site.yaml"
    book.write_text(
        "- import_playbook: two.yaml\n- {name: mine, hosts: all}\n- {name: x, import_playbook: one.yaml}\n"
    )
    first = load_playbook(book, set())
    assert [stage.name for stage in first.stages] == ["two", "mine", "one"]
    assert load_playbook(book, set()).digest == first.digest
    (tmp_path / "one.yaml").write_text("- {name: one, hosts: all, serial: 1}\n")
    second = load_playbook(book, set())
    assert second.digest != first.digest
    assert second.stages[2].serial == (1,)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "a.j2").write_text("x")
    assert load_playbook(book, set()).digest != second.digest


def test_the_shipped_playbooks_load() -> None:
    playbook = load_playbook(shipped("playbooks") / "site.yaml", {*base_modules(), *CLUSTER_MODULES})
    assert len({stage.name for stage in playbook.stages}) == len(playbook.stages)


@pytest.mark.parametrize("site", ["site.yaml", "existing.yaml"])
def test_load_balancers_get_their_packages_and_listen_before_they_are_made(site: str) -> None:
    """Also those before a cluster that others have built: nobody has installed anything there."""
    stages = load_playbook(shipped("playbooks") / site, {*base_modules(), *CLUSTER_MODULES}).stages
    names = [stage.name for stage in stages]
    before = stages[: names.index("load balancers")]
    wanted = [(stage.hosts, task.module, str(task.args)) for stage in before for task in stage.tasks]
    for module, what in (("package", "balancer_packages"), ("command", "virtual-router-free")):
        found = [hosts for hosts, each, said in wanted if each == module and what in said]
        assert found == ["load_balancer:kube_node"], what
    for stage in stages:
        if stage.name in ("load balancer files", "load balancers"):
            assert stage.needs == "load balancer packages", "all have listened before one speaks"


def test_what_firewalls_are_opened_for_is_tried_before_the_network_is_there() -> None:
    stages = load_playbook(shipped("playbooks") / "site.yaml", {*base_modules(), *CLUSTER_MODULES}).stages
    names = [stage.name for stage in stages]
    tried = [stage for stage in stages if stage.gate == "firewall_open"]
    assert [task.args["name"] for task in tried[0].tasks if "name" in task.args] == ["provision-firewall"]
    assert [stage.name for stage in tried] == ["firewall"]
    assert names.index("firewall") < names.index("network")


@pytest.mark.parametrize("other", ["99-hand.conf", "99-sysctl.conf", "99-z.conf"])
def test_kernel_settings_of_ours_are_read_last(other: str) -> None:
    """sysctl.d(5): files are read in the order of their names, and the last one wins."""
    stages = load_playbook(shipped("playbooks") / "site.yaml", {*base_modules(), *CLUSTER_MODULES}).stages
    paths = {task.args["sysctl_file"] for stage in stages for task in stage.tasks if task.module == "sysctl"}
    assert len(paths) == 3
    for path in paths:
        assert Path(path).parent == Path("/etc/sysctl.d")
        assert Path(path).name > other
