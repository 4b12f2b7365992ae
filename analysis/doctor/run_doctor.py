"""`python -m analysis.doctor data.yaml`: looks at a data set before training does.

Writes index.html and findings.json, and with --weights suspects.json for a labelling tool. Exit code 1 if there are
errors, 0 if not, 2 for a mistake on the command line or in the YAML.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from analysis.doctor.checks import CHECKS, suspects
from analysis.doctor.checks.look import by_cleanvision
from analysis.doctor.evidence import Evidence, read_splits
from analysis.doctor.finding import ERROR, Finding, examine
from analysis.doctor.page import as_json, page, summary
from analysis.doctor.pictures import look_at
from analysis.doctor.suspects_file import suspects_json
from data.dataset.dataset_yaml import DatasetSpec, load_dataset_spec
from data.hyp import Hyperparameters, load_hyp
from engine.config.files import new_run_folder
from engine.config.parser import ArgumentParser
from engine.runtime.console import say
from files.atomic import write_atomically
from files.disk import require_writable, results_in

_STOCK = "yolov5n.yaml"  # its anchors are those of every stock size


@dataclass(frozen=True)
class Request:
    """What is to be looked at, and how."""

    data: str
    weights: str = ""
    image_px: int = 640
    hyp: str | None = None
    device: str = ""
    pixels: bool = True
    progress: bool = True


@dataclass(frozen=True)
class Diagnosis:
    """What was looked at, what was found, and what was not looked at."""

    evidence: Evidence
    findings: list[Finding]
    left_out: list[str]

    @property
    def has_errors(self) -> bool:
        """Whether something should be mended before training."""
        return any(finding.check.severity == ERROR for finding in self.findings)


def diagnose(request: Request) -> Diagnosis:
    """Look at a data set.

    Raises:
        ValueError: If the YAML, a split, the weights or the hyperparameters cannot be read.
    """
    dataset = load_dataset_spec(request.data)
    hyp = _hyperparameters(request, dataset)
    eye = None
    if request.weights:
        from analysis.doctor.detect import detect_on, open_eye  # with torch

        eye = open_eye(request.weights, dataset.names, request.image_px, request.device)
    evidence = Evidence(
        dataset, read_splits(dataset, request.progress, say), request.image_px, hyp, _anchors(request.weights)
    )
    if request.pixels:
        seen = {one.name: look_at(one.images, f"{one.name}: looking", request.progress) for one in evidence.splits}
        evidence = replace(evidence, pictures=seen, cleanvision=by_cleanvision(evidence))
    if eye is not None:
        found = {split.name: detect_on(split, eye, request.progress) for split in evidence.splits}
        evidence = replace(evidence, detected=found)
    return Diagnosis(evidence, examine(CHECKS, evidence), _left_out(request))


def _hyperparameters(request: Request, dataset: DatasetSpec) -> Hyperparameters:
    name = request.hyp or dataset.hyp
    return load_hyp(name) if name else Hyperparameters()


def _anchors(weights: str) -> np.ndarray:
    if weights:
        from analysis.doctor.detect import anchors_of

        anchors = anchors_of(weights)
        if anchors is not None:
            return anchors
    from models.model_yaml import load_spec

    return np.array(load_spec(_STOCK).anchors, dtype=np.float64).reshape(-1, 2)


def _left_out(request: Request) -> list[str]:
    texts = []
    if not request.pixels:
        texts.append("Pixels (--no-pixels): suffixes, EXIF rotation, duplicates across splits, brightness and blur.")
    if not request.weights:
        texts.append("Suspected label errors: they need a trained model, --weights best.pt.")
    return texts


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    defaults = Request("")
    parser = ArgumentParser(
        prog="python -m analysis.doctor",
        description="Finds what is wrong with a data set.",
        examples=(
            "python -m analysis.doctor data/roadsigns_demo.yaml --img 320",
            "python -m analysis.doctor my.yaml --weights runs/train/exp/weights/best.pt",
        ),
        page="docs/doctor.md",
    )
    add = parser.add_argument
    add("data", help="data set YAML, as for train.py --data")
    add("--weights", default="", help="a model trained on these classes, which doubts labels")
    add("--img", "--imgsz", "--img-size", dest="image_px", type=int, default=defaults.image_px, help="training size")
    add("--hyp", default=None, help="hyperparameters that training will use; default: those that the YAML names")
    add("--device", default="", help="of the model: cpu, 0, 1, ...")
    add("--no-pixels", dest="pixels", action="store_false", help="read labels and the headers of images only")
    add("--project", default="runs/doctor", help="folder of the results")
    add("--name", default="exp", help="folder below it")
    add("--exist-ok", action="store_true", help="write into that folder even if it is there")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, look, and write what was found."""
    given = vars(build_parser().parse_args(argv))
    project, name, exist_ok = given.pop("project"), given.pop("name"), given.pop("exist_ok")
    request = Request(**given)
    if request.image_px < 32:
        raise ValueError(f"--img {request.image_px}: expected a training size of at least 32 px")
    require_writable(project, "--project")
    diagnosis = diagnose(request)
    folder = new_run_folder(project, name, exist_ok=exist_ok)
    with results_in(folder):
        write(diagnosis, folder)
    for check, found in diagnosis.findings:
        say(f"{check.severity}: {check.title}: {found.count}" + (f" ({found.text})" if found.text else ""))
    say(f"{summary(diagnosis.findings)}; {folder / 'index.html'} shows and says what to do")
    return 1 if diagnosis.has_errors else 0


def write(diagnosis: Diagnosis, folder: Path) -> None:
    """Write the page, the JSON and, where a model was asked, the list for the labelling tool."""
    evidence, findings, left_out = diagnosis.evidence, diagnosis.findings, diagnosis.left_out
    text = page(evidence, findings, left_out).encode("utf-8", "backslashreplace")  # names of files may be no Unicode
    write_atomically(folder / "index.html", text)
    write_atomically(folder / "findings.json", as_json(evidence, findings, left_out))
    if evidence.detected is not None:
        doubts = [finding for finding in findings if finding.check in suspects.SUSPECTS]
        write_atomically(folder / "suspects.json", suspects_json(evidence, doubts))
