"""Write a set to disk: images, labels and a manifest; resumable, over all cores, never touching other files."""

import json
import multiprocessing
import signal
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from data.synth.options import CLASS_NAMES, SPLITS, SynthOptions
from data.synth.render_scene import render
from files.atomic import write_atomically
from files.cores import usable_cores
from files.disk import require_writable, results_in

GENERATOR_VERSION = 1  # any change that alters a pixel or a label raises it
MANIFEST = "manifest.json"  # written last: the set is complete
PLAN = "manifest.partial.json"  # written first: what the files in the folder are part of
SERIAL_UP_TO = 48  # images; fewer than this and starting processes takes longer than drawing

Job = tuple[str, int]  # split, index


def ensure(root: Path, options: Mapping[str, Any], *, processes: int | None = None, progress: bool = True) -> None:
    """Draw the set `options` describes into `root`, or what is missing of it; return at once when it is complete.

    Args:
        root: The set's folder; gets images/<split>/*.jpg, labels/<split>/*.txt and manifest.json.
        options: `seed`, `train`, `val`, `test` (images) and `image_px` (width, height), all optional.
        processes: Worker processes; None takes all cores, 1 none.
        progress: Show a progress bar with the time left.

    Raises:
        ValueError: for an unknown option, or when `root` holds another set.
    """
    root = Path(root)
    wanted = SynthOptions.from_mapping(options)
    plan = {"generator": "data.synth", "version": GENERATOR_VERSION, "options": wanted.to_dict()}
    _check_folder(root, plan, wanted)
    jobs = list(_missing(root, wanted))
    if not jobs and (root / MANIFEST).is_file():
        return
    require_writable(root, "path:")
    for kind in ("images", "labels"):
        for split in SPLITS:
            (root / kind / split).mkdir(parents=True, exist_ok=True)
    with results_in(root, "the images that are drawn are kept; the same command goes on"):
        write_atomically(root / PLAN, json.dumps(plan, indent=1).encode())
        results = _draw_all(root, wanted, jobs, processes or usable_cores())
        for _ in tqdm(results, total=len(jobs), desc=f"drawing {root.name}", unit="image", disable=not progress):
            pass
        write_atomically(root / MANIFEST, json.dumps({**plan, "counts": count_labels(root, wanted)}, indent=1).encode())
    (root / PLAN).unlink(missing_ok=True)


def count_labels(root: Path, options: SynthOptions) -> dict[str, dict[str, int]]:
    """Images, images without any object, and labelled instances per class, for each split."""
    counts = {}
    for split in SPLITS:
        classes: list[int] = []
        empty = 0
        for index in range(options.count(split)):
            lines = _label_path(root, (split, index)).read_text(encoding="ascii").splitlines()
            empty += not lines
            classes += [int(line.split()[0]) for line in lines]
        per_class = np.bincount(np.array(classes, dtype=int), minlength=len(CLASS_NAMES)).tolist()
        counts[split] = {
            "images": options.count(split),
            "empty": empty,
            **dict(zip(CLASS_NAMES, per_class, strict=True)),
        }
    return counts


def _check_folder(root: Path, plan: dict[str, Any], options: SynthOptions) -> None:
    """A ValueError when the folder holds another set, or files of the same names from elsewhere."""
    found = next((root / name for name in (MANIFEST, PLAN) if (root / name).is_file()), None)
    if found is not None:
        try:
            held = json.loads(found.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{found}: Expected JSON but got {error}; delete the folder {root} to draw it anew"
            ) from error
        if not isinstance(held, dict) or any(held.get(key) != value for key, value in plan.items()):
            held = {key: held.get(key) for key in plan} if isinstance(held, dict) else held
            raise ValueError(
                f"{found}: Expected a set made with {json.dumps(plan)} but got {json.dumps(held)};"
                f" delete the folder {root} to draw it anew, or give the new set another `path:` in its YAML"
            )
        return
    for job in _jobs(options):
        for path in (_image_path(root, job), _label_path(root, job)):
            if path.exists():
                raise ValueError(
                    f"{path}: exists but {root} has no {MANIFEST}, so it was not drawn here and is not overwritten;"
                    f" move it, or give the set another `path:` in its YAML"
                )


def _draw_all(root: Path, options: SynthOptions, jobs: list[Job], processes: int) -> Iterator[Job]:
    """Draw `jobs`, yielding each as it is finished; the order does not matter to what is written."""
    if processes == 1 or len(jobs) <= SERIAL_UP_TO:
        yield from _draw_here(root, options, jobs)
        return
    context = multiprocessing.get_context("spawn")  # fork is unsafe beside the threads of torch and OpenCV
    arguments = ([root] * len(jobs), [options] * len(jobs), jobs)
    done = set()
    try:
        with ProcessPoolExecutor(min(processes, len(jobs)), context, initializer=_start_worker) as pool:
            try:
                for job in pool.map(_draw, *arguments, chunksize=4):
                    done.add(job)
                    yield job
            finally:  # on an interruption, do not draw what is still waiting
                pool.shutdown(cancel_futures=True)
    except BrokenProcessPool:
        tqdm.write("worker processes cannot run here (a script needs `if __name__ == '__main__':`); drawing without")
        yield from _draw_here(root, options, [job for job in jobs if job not in done])


def _draw_here(root: Path, options: SynthOptions, jobs: list[Job]) -> Iterator[Job]:
    """Draw in this process. OpenCV's threads only cost time on pictures of this size."""
    threads = cv2.getNumThreads()
    for job in jobs:
        cv2.setNumThreads(1)
        try:
            drawn = _draw(root, options, job)
        finally:
            cv2.setNumThreads(threads)
        yield drawn


def _start_worker() -> None:
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and stops handing out work


def _draw(root: Path, options: SynthOptions, job: Job) -> Job:
    """Draw one image and write it and its labels; the label comes last and marks the pair as finished."""
    split, index = job
    drawn = render(options.seed, split, index, options.image_px)
    quality = [cv2.IMWRITE_JPEG_QUALITY, drawn.jpeg_quality]
    encoded = cv2.imencode(".jpg", cv2.cvtColor(drawn.image, cv2.COLOR_RGB2BGR), quality)[1]
    rows = zip(drawn.classes.tolist(), drawn.boxes_cxcywh_norm.tolist(), strict=True)
    label = "".join(f"{class_id} " + " ".join(f"{v:.6f}" for v in box) + "\n" for class_id, box in rows)
    write_atomically(_image_path(root, job), encoded.tobytes())
    write_atomically(_label_path(root, job), label.encode("ascii"))
    return job


def _image_path(root: Path, job: Job) -> Path:
    return root / "images" / job[0] / f"{job[1]:06d}.jpg"


def _label_path(root: Path, job: Job) -> Path:
    return root / "labels" / job[0] / f"{job[1]:06d}.txt"


def _jobs(options: SynthOptions) -> Iterable[Job]:
    return ((split, index) for split in SPLITS for index in range(options.count(split)))


def _missing(root: Path, options: SynthOptions) -> Iterator[Job]:
    """The images or labels that are not there yet, by one listing of each folder."""
    for split in SPLITS:
        folders = root / "images" / split, root / "labels" / split
        images, labels = ({p.stem for p in folder.iterdir()} if folder.is_dir() else set() for folder in folders)
        for index in range(options.count(split)):
            if f"{index:06d}" not in images or f"{index:06d}" not in labels:
                yield split, index
