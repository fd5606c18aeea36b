"""What is one plug-in's alone, and what the look says of it."""

from __future__ import annotations

import pytest

from provisioner.kube.remains import Remain, clean_script, parse_remains
from provisioner.kube.traces import BACKENDS, PLUGINS


@pytest.mark.parametrize("plugin", PLUGINS)
def test_nothing_of_a_plugin_goes_while_it_is_kept(plugin: str) -> None:
    left = PLUGINS[plugin].without([PLUGINS[plugin]])
    assert left == type(left)()


def test_what_two_have_goes_with_the_last_of_them() -> None:
    alone = PLUGINS["flannel"].without([PLUGINS["canal"]])
    assert (alone.links, alone.chains, alone.comments, alone.tables) == ((), (), (), ())
    assert alone.bridges == ("cni0",)
    assert alone.files == ("/etc/cni/net.d/10-flannel.conflist", "/etc/cni/net.d/10-flannel.conf")
    assert "/opt/cni/bin/flannel" in PLUGINS["flannel"].without([PLUGINS["calico"]]).files


@pytest.mark.parametrize(("plugin", "backend"), [(each, way) for each in BACKENDS for way in BACKENDS[each]])
def test_a_backend_has_nothing_that_its_plugin_has_not(plugin: str, backend: str) -> None:
    """So what goes with a backend goes with the plug-in, too."""
    more = BACKENDS[plugin][backend].without([PLUGINS[plugin]])
    assert not any((more.links, more.gateways, more.emptied))
    assert all(each.split()[0] in PLUGINS[plugin].protocols for each in more.protocols)
    assert all(each.startswith(PLUGINS[plugin].files) for each in more.files)


def test_what_the_look_says() -> None:
    twice = "there\tset\tcali40\t\n" * 2
    said = f"waiting\nthere\tlink\tcni0\ta pod\nleft\tlink\ttunl0\tipip\n{twice}there\n"
    assert parse_remains(said) == (
        Remain("link", "cni0", "a pod"),
        Remain("link", "tunl0", "ipip", left=True),
        Remain("set", "cali40"),
    )


def test_wrong_arguments() -> None:
    with pytest.raises(KeyError):
        clean_script("weave")
    with pytest.raises(ValueError, match="host bits set"):
        clean_script("flannel", pod_cidrs=["10.244.1.1/24"])
