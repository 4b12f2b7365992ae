"""What compare.py does: plan, run what is missing, report. Also its dry run and its merge."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from analysis.compare.execute.different_images import draw_different
from analysis.compare.execute.local import run_locally
from analysis.compare.execute.run_folder import FAILED, FINISHED, INTERRUPTED, TRAINED, RunFolder, folders
from analysis.compare.execute.time_estimate import estimate_seconds, runs_at_once
from analysis.compare.plan.command_line import CompareRequest
from analysis.compare.plan.expand_plan import RunPlan, expand
from analysis.compare.report.notes import remember
from analysis.compare.report.write_report import write_report
from engine.runtime.console import clock, say
from engine.runtime.device import choose_precision, select_device
from engine.runtime.folder_lock import locked
from files.cores import usable_cores
from files.disk import results_in
from files.text import printable_lines
from models.user_modules import load_modules


def run_study(request: CompareRequest) -> int:
    """Do what the command line asks for.

    Returns:
        0, or 1 if a run failed.

    Raises:
        ValueError: If something is wrong, before the first run starts.
    """
    load_modules(request.shared.get("module", ()))
    with results_in(request.folder, "the runs that are finished are kept; the same command goes on"):
        return _study(request)


def _study(request: CompareRequest) -> int:
    if request.axes is None:
        with locked(request.folder):
            merge(request.merge, request.folder)
            remember(request.folder, request.title, request.command)
        _report(request.folder)
        return 0
    device = select_device(request.shared["device"])
    choose_precision(request.shared["precision"], device)
    plans = expand(request.axes, request.shared, request.task)
    if not request.ray:
        request = replace(request, jobs=request.jobs or runs_at_once(plans, device))
        plans = _sharing_cores(plans, request.jobs)
    if request.dry_run:
        _dry_run(plans, request)
        return 0
    with locked(request.folder):  # so that one that is at work there is not disturbed
        planned = [_planned(request.folder, plan) for plan in plans]
        remember(request.folder, request.title, request.command)
    _tell_of_other_data(request.folder, plans)
    if request.ray:
        from analysis.compare.execute.ray_cluster import run_on_ray

        with locked(request.folder):
            run_on_ray(planned, request.ray, device=request.shared["device"], workers=request.shared["workers"])
    else:
        run_locally(planned, request.folder, request.jobs)
    _report(request.folder)
    failed = [folder for folder in planned if folder.state == FAILED]
    for folder in failed:
        error = folder.read("error")
        print(printable_lines(f"failed in {error['stage']}: {folder.path.name}: {error['error']}"), file=sys.stderr)
    return 1 if failed else 0


def _report(comparison: Path) -> None:
    """Draw what all runs of the folder together decide, and write the report."""
    with locked(comparison):
        draw_different(folders(comparison))
    write_report(comparison)


def _sharing_cores(plans: Sequence[RunPlan], jobs: int) -> list[RunPlan]:
    """The same runs, each with its share of the cores for loading; what is trained does not depend on it."""
    most = max(usable_cores() // jobs, 1)
    return [replace(one, train={**one.train, "workers": min(one.train["workers"], most)}) for one in plans]


def find(comparison: Path, plan: RunPlan) -> RunFolder:
    """The folder of a run: its own, or that of the same run from before the data were recorded."""
    own = RunFolder(comparison / "runs" / plan.folder_name)
    older = RunFolder(comparison / "runs" / replace(plan, data_digest="").folder_name)
    taken = own.read("run") is None and older.read("run") is not None and older.plan.same_run(plan)
    return older if taken else own


def _planned(comparison: Path, plan: RunPlan) -> RunFolder:
    """The run's folder, made if it is new, and described as it is asked for now: on which device, where files lie."""
    try:
        folder = find(comparison, plan)
        if folder.state != FINISHED:
            folder.write("run", plan.to_dict())
    except OSError as error:
        raise ValueError(f"{comparison}: cannot be written: {error}") from error
    return folder


def _tell_of_other_data(comparison: Path, plans: Sequence[RunPlan]) -> None:
    """Say how many of the runs are there for a data set that has been changed since."""
    keys = {plan.key: plan for plan in plans}
    others = [one.plan for one in folders(comparison) if one.plan.key in keys]
    changed = [one for one in others if not one.same_run(keys[one.key])]
    if changed:
        say(
            f"{len(changed)} runs that are there were planned for other images or labels in "
            f"{', '.join(sorted({one.data for one in changed}))}: they stay, in a table of their own"
        )


def _dry_run(plans: Sequence[RunPlan], request: CompareRequest) -> None:
    """Print the runs in their order, what is done already, and how long the rest will take."""
    states = [find(request.folder, plan).state for plan in plans]
    width = max(len(plan.label) for plan in plans)
    for number, (plan, state) in enumerate(zip(plans, states, strict=True), 1):
        say(
            f"{number:4d}  {plan.label:<{width}}  seed {plan.seed}  {plan.cfg} on {plan.data} at "
            f"{plan.train['imgsz']} px, {plan.train['epochs']} epochs  {state}"
        )
    _tell_of_other_data(request.folder, plans)
    say(f"{len(plans)} runs of {len({plan.config for plan in plans})} configurations in {request.folder}")
    left = [plan for plan, state in zip(plans, states, strict=True) if state != FINISHED]
    if not left:
        say("Nothing is left to do")
        return
    seconds = estimate_seconds(left)
    total = sum(seconds[plan.config] for plan in left) / (request.jobs or 1)
    for config, plan in {plan.config: plan for plan in reversed(left)}.items():
        say(f"about {clock(seconds[config])} a run: {plan.label} ({plan.cfg} on {plan.data}, {plan.train['imgsz']} px)")
    say(
        f"{len(left)} runs are left, about {clock(total)} in all with {request.jobs or 1} at a time; from a few timed "
        "steps on this machine as busy as it is now, for uninterrupted runs of all their epochs"
    )


def merge(sources: Sequence[Path], target: Path) -> None:
    """Copy the runs of several comparisons into one folder.

    Of a run that is in several, the one that is furthest is taken, and of several finished ones the first.

    Raises:
        ValueError: If a folder holds no runs, a description is wrong or a finished run lacks a file; nothing is copied.
    """
    taken = {folder: folder.plan for folder in folders(target)}
    plans = {source: {folder: folder.plan for folder in folders(source)} for source in sources}
    for source, found in plans.items():
        if not found:
            raise ValueError(f"--merge {source}: holds no runs of compare.py")
        for folder in found:
            _check_whole(folder)
    for source, found in plans.items():
        added = 0
        for folder, plan in found.items():
            there = next((one for one, other in taken.items() if other.same_run(plan)), None)
            if there and _progress(there) >= _progress(folder):
                continue
            if there:
                del taken[there]
            taken[_copied(folder, target, there)] = plan
            added += 1
        say(f"{source}: {added} of {len(found)} runs taken")
    (target / "latency.json").unlink(missing_ok=True)  # times of several machines do not compare: measured again


def _check_whole(folder: RunFolder) -> None:
    """Refuse a finished run without what the report needs, which would stand in the way of a whole one."""
    missing = [name for name in ("model.yaml", "results.csv", "images.npz") if not (folder.path / name).is_file()]
    if missing and folder.state == FINISHED:
        raise ValueError(f"--merge {folder.path}: the run is finished, but {missing[0]} is missing; copy all its files")


def _progress(folder: RunFolder) -> int:
    """How far a run is, whether it failed or not."""
    if folder.state == FINISHED:
        return 3
    return {INTERRUPTED: 1, TRAINED: 2}.get(folder.progress, 0)


def _copied(folder: RunFolder, target: Path, replaced: RunFolder | None) -> RunFolder:
    """Copy a run, whole or not at all, in the place of another."""
    half, copy = target / ".merging", target / "runs" / folder.plan.folder_name
    for old in (half, copy):
        if old.exists():
            shutil.rmtree(old)
    shutil.copytree(folder.path, half, ignore=shutil.ignore_patterns("last.pt") if folder.state == FINISHED else None)
    copy.parent.mkdir(parents=True, exist_ok=True)
    half.rename(copy)
    if replaced and replaced.path != copy:
        shutil.rmtree(replaced.path)
    return RunFolder(copy)
