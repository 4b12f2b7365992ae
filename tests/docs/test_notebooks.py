"""The notebooks run from the first cell to the last in a clone, and are stored without results."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.page_blocks import copy_of_repository

NOTEBOOKS = ["own_data", "insert_and_look"]


def cells(notebook: Path) -> list[str]:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    return ["".join(cell["source"]) for cell in code]


def program(notebook: Path) -> str:
    """The cells as a program: lines that begin with ! go to the shell, with {names} filled in; one epoch will do."""
    text = "\n".join(cells(notebook)).replace("EPOCHS = 15", "EPOCHS = 1")
    call = "subprocess.run([sys.executable, *f{!r}.split()], check=True)"
    return "import subprocess\n" + re.sub(r"(?m)^!python (.*)$", lambda found: call.format(found[1]), text)


def test_all_notebooks_are_here(root) -> None:
    assert {file.stem for file in (root / "notebooks").glob("*.ipynb")} == set(NOTEBOOKS)
    for file in (root / "notebooks").glob("*.ipynb"):
        for target in re.findall(r"\]\(([^)#:]+)\)", file.read_text(encoding="utf-8")):
            assert (file.parent / target).exists(), f"{file.name}: {target}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(root, tmp_path, name) -> None:
    folder = copy_of_repository(root, tmp_path)
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-W", "ignore", "-c", program(root / "notebooks" / f"{name}.ipynb")]
    place = folder / "notebooks"  # as a notebook server starts its kernels
    done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    if name == "own_data":
        assert re.search(r"test: P 0\.\d+, R 0\.\d+, mAP50 0\.\d+", done.stdout)
        assert list((folder / "runs/detect/notebook").glob("*.jpg"))
    else:
        assert "equal outputs: True" in done.stdout
        assert "CoordAtt column" in done.stdout
