"""What a report's last lines say of the machine."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from analysis.compare.execute import machine
from analysis.compare.execute.machine import describe_machine


def test_processor_versions_and_commit(root):
    told = describe_machine(torch.device("cpu"))
    assert told["hardware"].endswith(" cores")
    if (info := Path("/proc/cpuinfo")).is_file() and "model name" in (text := info.read_text()):
        assert told["hardware"].split(",")[0] in text
    assert told["versions"].startswith(f"Python {platform.python_version()}, torch {version('torch')}, ")
    assert told["versions"].endswith(platform.system())
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    commit = told["commit"].removesuffix("-dirty")
    assert done.stdout.startswith(commit)
    assert bool(commit) == (done.returncode == 0)


def test_a_graphics_card_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card {device.index}")
    assert describe_machine(torch.device("cuda", 1))["hardware"] == "Card 1"


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.CalledProcessError(128, "git")])
def test_without_git_there_is_no_commit(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(machine.subprocess, "run", fail)
    assert describe_machine(torch.device("cpu"))["commit"] == ""
