"""A small drawn set without faults, and copies of it to plant faults in."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.doctor.run_doctor import Diagnosis, Request, diagnose
from data.synth import CLASS_NAMES, ensure

Look = Callable[..., Diagnosis]


@pytest.fixture(autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures, of which fourteen are for training; never written to."""
    root = tmp_path_factory.mktemp("drawn") / "set"
    ensure(root, {"seed": 5, "train": 14, "val": 6, "test": 0, "image_px": [640, 360]}, processes=1, progress=False)
    text = f"train: images/train\nval: images/val\nnames: [{', '.join(CLASS_NAMES)}]\nhyp: hyp.no-mirror.yaml\n"
    (root / "set.yaml").write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def planted(drawn: Path, tmp_path: Path) -> Path:
    """A copy that shares the pictures' files; replace a file, never write into it."""
    root = tmp_path / "set"
    shutil.copytree(drawn, root, copy_function=os.link, ignore=shutil.ignore_patterns("*.npz", "*.yaml"))
    shutil.copy(drawn / "set.yaml", root)
    return root


@pytest.fixture
def look() -> Look:
    """Run the doctor on a set's folder."""

    def run(root: Path, **changes: object) -> Diagnosis:
        return diagnose(Request(str(root / "set.yaml"), progress=False, **changes))

    return run
