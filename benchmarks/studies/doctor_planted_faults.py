"""docs/results/doctor: how many planted faults the doctor of data sets finds, and what it says of a clean set.

python -m benchmarks.studies.doctor_planted_faults --weights weights/yolov5n_ca_signs.pt > table.md

A signs set is generated. Then, for each kind of fault, ten are planted in a copy of it, one each in ten images (or, for
what concerns the whole set, one each in ten copies), and the doctor is run. Found is a fault whose finding names the
image, the file or the class it was planted in; a false alarm is whatever else that finding, or another one that the
fault does not bring with it, names beyond what it says of the clean set.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.doctor.finding import Case
from analysis.doctor.run_doctor import Request, diagnose
from benchmarks.studies.planted_faults import FAULTS, Fault
from benchmarks.studies.planted_in_sets import ANY, OF_THE_SET, SET_FAULTS, SUSPECTED
from data.synth import CLASS_NAMES, ensure
from engine.config.parser import run_cli

TIMES = 10
IMAGE_PX = 640
_SIZES = {"train": 300, "val": 100, "test": 0, "image_px": [640, 360]}
Said = dict[str, set[str]]  # from the name of a finding to what its cases name


@dataclass
class Tally:
    """Of one kind of fault."""

    planted: int = 0
    found: int = 0
    false: int = 0

    def add(self, planted: set[str], said: Said, clean: Said, fault: Fault) -> None:
        """Count a run of the doctor."""
        new = {name: cases - clean.get(name, set()) for name, cases in said.items()}
        self.planted += len(planted)
        self.found += len(planted & new.get(fault.finding, set()))
        others = [cases for name, cases in new.items() if name != fault.finding and name not in fault.brings]
        false = set().union(new.get(fault.finding, set()) - planted, *others)
        self.false += len(false)
        if false:
            print(f"{fault.finding}: beyond what was planted: { {name: new[name] for name in new} }", file=sys.stderr)


def main() -> None:
    """Plant, look, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="weights/yolov5n_ca_signs.pt")
    parser.add_argument("--only", nargs="+", default=[], help="names of findings")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clean = Path(folder, "clean")
        ensure(clean, {"seed": 5, **_SIZES}, progress=False)
        describe(clean, list(CLASS_NAMES))
        plain, asked = said_of(clean), said_of(clean, args.weights)
        print_clean(asked)
        print("| fault | planted | found | missed | false alarms |\n|---|---:|---:|---:|---:|")
        for faults, trial, before, weights in (
            (FAULTS, plant_in_images, plain, ""),
            (SET_FAULTS, plant_in_sets, plain, ""),
            (SUSPECTED, plant_in_images, asked, args.weights),
        ):
            for fault in faults:
                if not args.only or fault.finding in args.only:
                    tally = trial(clean, Path(folder, "planted"), fault, before, weights)
                    missed = tally.planted - tally.found
                    print(f"| {fault.title} | {tally.planted} | {tally.found} | {missed} | {tally.false} |", flush=True)


def print_clean(said: Said) -> None:
    """What the doctor says of the set as it was generated."""
    print(f"The clean set, {_SIZES['train'] + _SIZES['val']} images:\n")
    for name, cases in said.items():
        print(f"- {name}: {len(cases)}: {', '.join(sorted(cases)[:6])}")
    print(flush=True)


def plant_in_images(clean: Path, root: Path, fault: Fault, before: Said, weights: str) -> Tally:
    """One copy of the set with the fault in ten images."""
    tally, random = Tally(), np.random.default_rng(0)
    copied(clean, root)
    images = sorted((root / "images/train").iterdir())
    if fault.needs_label:
        images = [image for image in images if fault.fits(image)]
    chosen = [images[i] for i in random.permutation(len(images))[:TIMES].tolist()]
    planted = {fault.plant(image, random) for image in chosen}
    tally.add(planted, said_of(root, weights), before, fault)
    return tally


def plant_in_sets(clean: Path, root: Path, fault: Fault, before: Said, weights: str) -> Tally:
    """Ten copies of the set with one fault each."""
    tally = Tally()
    for number in range(TIMES):
        copied(clean, root)
        planted = fault.plant(root, np.random.default_rng(number))
        tally.add({planted}, said_of(root, weights, pixels=False), before, fault)
    return tally


def copied(clean: Path, root: Path) -> None:
    """A copy that shares the images' files; what is planted replaces them."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(clean, root, copy_function=os.link, ignore=shutil.ignore_patterns("*.npz"))
    describe(root, list(CLASS_NAMES))


def describe(root: Path, names: list[str]) -> None:
    """Write the set's YAML."""
    (root / "set.yaml").unlink(missing_ok=True)
    text = f"path: {root}\ntrain: images/train\nval: images/val\nnames: [{', '.join(names)}]\nhyp: hyp.no-mirror.yaml\n"
    (root / "set.yaml").write_text(text, encoding="utf-8")


def said_of(root: Path, weights: str = "", pixels: bool = True) -> Said:
    """What the doctor names, by finding."""
    request = Request(str(root / "set.yaml"), weights=weights, image_px=IMAGE_PX, pixels=pixels, progress=False)
    stdout, sys.stdout = sys.stdout, sys.stderr  # the doctor tells of the splits; the table alone goes to stdout
    try:
        findings = diagnose(request).findings
    finally:
        sys.stdout = stdout
    return {one.check.name: {_named(one.check.name, case) for case in one.found.cases} for one in findings}


def _named(finding: str, case: Case) -> str:
    """The image or file that a case is about, or its class; all cases of some findings are about the set."""
    if finding in OF_THE_SET:
        return ANY
    if finding in {fault.finding for fault in SET_FAULTS}:
        return case.text.partition(":")[0].partition(",")[0]
    return Path(case.image or case.text).name


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
