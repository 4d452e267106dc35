"""On a bare Linux the tests install Qt's system libraries where they may, or say the one command that does."""

from __future__ import annotations

import subprocess

import pytest

from host import system_libraries


@pytest.fixture()
def bare(monkeypatch):
    """A Linux without one library, and what apt-get is asked to do there."""
    asked: list[list[str]] = []
    monkeypatch.setattr(system_libraries.sys, "platform", "linux")
    monkeypatch.setattr(system_libraries, "_PACKAGES", {"libnowhere.so.7": "libnowhere7"})
    monkeypatch.setattr(system_libraries.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(system_libraries.subprocess, "run", lambda command, **named: asked.append(command))
    monkeypatch.setattr(system_libraries.os, "geteuid", lambda: 1000, raising=False)
    return asked


def test_a_missing_library_is_told_by_its_package(bare):
    assert system_libraries.missing() == ["libnowhere7"]


def test_nothing_is_missing_on_other_systems(bare, monkeypatch):
    monkeypatch.setattr(system_libraries.sys, "platform", "darwin")
    assert system_libraries.missing() == []
    system_libraries.install_or_explain()


def test_a_user_gets_one_sentence_with_the_command_and_nothing_is_run(bare):
    with pytest.raises(system_libraries.SystemLibrariesError, match="sudo apt-get update && sudo apt-get install .*libnowhere7$") as error:
        system_libraries.install_or_explain()
    assert "\n" not in str(error.value) and bare == []


def test_root_installs_and_goes_on(bare, monkeypatch):
    monkeypatch.setattr(system_libraries.os, "geteuid", lambda: 0, raising=False)

    def install(command, **named):
        bare.append(command)
        if "install" in command:
            monkeypatch.setattr(system_libraries, "_PACKAGES", {})
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(system_libraries.subprocess, "run", install)
    system_libraries.install_or_explain()
    assert [each[1] for each in bare] == ["update", "install"] and bare[1][-1] == "libnowhere7"


def test_root_gets_the_sentence_when_installing_did_not_help(bare, monkeypatch):
    monkeypatch.setattr(system_libraries.os, "geteuid", lambda: 0, raising=False)
    with pytest.raises(system_libraries.SystemLibrariesError, match="libnowhere7"):
        system_libraries.install_or_explain()
    assert len(bare) == 2
