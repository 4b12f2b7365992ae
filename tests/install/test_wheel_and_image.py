"""The wheel and the Docker image, as far as they can be made without a network: their own pip lines are run."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.support.page_blocks import copy_of_repository

# No network: what pip would fetch must be here already, and the build uses this environment's setuptools.
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def new_environment(folder: Path) -> Path:
    """An environment that has this one's packages; its folder of programs."""
    venv.create(folder, with_pip=True, symlinks=True)
    own = next((folder / "lib").glob("python*/site-packages"))
    for old in own.glob("setuptools*"):  # of Python 3.11 and before, older than the lock's
        shutil.rmtree(old)
    (own / "parent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "bin"


def run(words: list[str] | str, folder: Path, programs: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment = {**kept, **OFFLINE, "PATH": f"{programs}:{os.environ['PATH']}", **variables}
    shell = isinstance(words, str)
    return subprocess.run(words, shell=shell, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def clone(root, tmp_path_factory) -> Path:
    return copy_of_repository(root, tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="module")
def installed(clone, tmp_path_factory) -> Path:
    """The programs of an environment in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    programs = new_environment(folder / "venv")
    built = run([sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(folder), str(clone)], folder, programs)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    done = run(["pip", "install", "--no-deps", str(wheel)], folder, programs)
    assert done.returncode == 0, done.stderr
    return programs


def test_the_wheel_detects_checks_and_trains_far_from_the_repository(installed, tmp_path) -> None:
    shared = {"YOLO_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    found = run(["yolo-attention", "detect", "--img", "320", "--save-txt"], tmp_path, installed, **shared)
    assert found.returncode == 0, found.stderr
    assert list((tmp_path / "runs/detect/exp/labels").glob("*.txt"))
    right = run(["yolo-attention", "check", "yolov5n.yaml"], tmp_path, installed, **shared)
    assert (right.returncode, right.stderr) == (0, "")
    words = ["--data", "roadsigns_demo.yaml", "--img", "64", "--batch", "64", "--epochs", "1", "--noplots"]
    words += ["--workers", "0", "--attention", "ECA@neck.P3"]
    trained = run(["yolo-attention", "train", *words], tmp_path, installed, **shared)
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "runs/train/exp/weights/best.pt").is_file()


def test_the_wheel_says_what_it_is(installed, tmp_path) -> None:
    code = "from importlib.metadata import metadata; m = metadata('yolov5-attention')"
    code += "; print(m['License-Expression'], m['Description'][:40])"
    told = run(["python", "-c", code], tmp_path, installed)
    assert told.stdout.startswith("AGPL-3.0-only # YOLOv5 with attention")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--help"], 0, "commands: train, val, detect"),
        ([], 2, "usage: yolo-attention COMMAND"),
        (["trian"], 2, "no command 'trian'; there are train, "),
        (["train", "--help"], 0, "--attention MODULE@PLACE"),
        (["val", "--weights", "none.pt"], 2, "none.pt"),
        (["convert", "--help"], 0, "--split"),
        (["doctor", "--help"], 0, "--weights"),
        (["compare", "--help"], 0, "--seeds"),
        (["app", "--help"], 0, "--port"),
    ],
)
def test_commands(installed, tmp_path, words, code, said) -> None:
    done = run(["yolo-attention", *words], tmp_path, installed)
    assert done.returncode == code
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def instructions(file: Path) -> list[tuple[str, str]]:
    """Of a Dockerfile: instruction and the rest of it, lines that go on joined."""
    text = re.sub(r"(?m)^#.*\n", "", file.read_text(encoding="utf-8")).replace("\\\n", " ")
    return [(word, rest.strip()) for word, rest in re.findall(r"(?m)^([A-Z]+) +(.*)$", text)]


def copy(words: list[str], context: Path, image: Path, ignored: list[str]) -> None:
    """COPY, without what .dockerignore names."""
    *sources, target = words
    for source in sources:
        place = context / source
        assert place.exists(), f"COPY {source}: not in a clone"
        if place.is_dir():
            leave = shutil.ignore_patterns(*(name.removeprefix("**/") for name in ignored))
            shutil.copytree(place, image / target, dirs_exist_ok=True, ignore=leave)
        else:
            shutil.copy(place, image / target)


def test_the_image_is_built_and_its_command_runs(root, clone, tmp_path) -> None:
    programs, image = new_environment(tmp_path / "venv"), tmp_path / "app"
    image.mkdir()
    ignored = [line for line in (root / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    command, ran = "", 0
    for instruction, rest in instructions(root / "Dockerfile"):
        if instruction == "COPY":
            copy(rest.split(), clone, image, ignored)
        elif instruction == "RUN" and "pip" in rest.split("venv")[0]:
            done = run(rest, image, programs, TORCH_INDEX="")
            assert done.returncode == 0, f"{rest}: {done.stderr}"
            ran += 1
        elif instruction == "CMD":
            command = " ".join(json.loads(rest))
    assert ran == 3
    done = run(f"{command} --img 320 && yolo-attention check yolov5n.yaml", image, programs, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert list((image / "runs/detect/exp").glob("*.jpg"))
