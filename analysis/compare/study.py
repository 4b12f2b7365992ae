"""What compare.py does: plan, run what is missing, report. Also its dry run and its merge."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.compare.estimate import estimate_seconds
from analysis.compare.local import run_locally
from analysis.compare.options import CompareRequest
from analysis.compare.plan import RunPlan, expand
from analysis.compare.report import write_report
from analysis.compare.runs import FAILED, FINISHED, RunFolder, folders
from engine.device import choose_precision, select_device
from engine.progress import clock, say


def run_study(request: CompareRequest) -> int:
    """Do what the command line asks for.

    Returns:
        0, or 1 if a run failed.

    Raises:
        ValueError: If something is wrong, before the first run starts.
    """
    if request.axes is None:
        merge(request.merge, request.folder)
        write_report(request.folder)
        return 0
    choose_precision(request.shared["precision"], select_device(request.shared["device"]))
    plans = expand(request.axes, request.shared)
    if request.dry_run:
        _dry_run(plans, request)
        return 0
    planned = [_planned(request.folder, plan) for plan in plans]
    if request.ray:
        from analysis.compare.cluster import run_on_ray

        run_on_ray(planned, request.ray, device=request.shared["device"], workers=request.shared["workers"])
    else:
        run_locally(planned, request.folder, request.jobs)
    write_report(request.folder)
    failed = [folder for folder in planned if folder.state == FAILED]
    for folder in failed:
        error = folder.read("error")
        print(f"failed in {error['stage']}: {folder.path.name}: {error['error']}", file=sys.stderr)
    return 1 if failed else 0


def _planned(comparison: Path, plan: RunPlan) -> RunFolder:
    """The run's folder, made and described if it is new."""
    folder = RunFolder(comparison / "runs" / plan.folder_name)
    try:
        if folder.read("run") is None:
            folder.write("run", plan.to_dict())
    except OSError as error:
        raise ValueError(f"{folder.path}: cannot be written: {error}") from error
    return folder


def _dry_run(plans: Sequence[RunPlan], request: CompareRequest) -> None:
    """Print the runs in their order, what is done already, and how long the rest will take."""
    states = [RunFolder(request.folder / "runs" / plan.folder_name).state for plan in plans]
    width = max(len(plan.label) for plan in plans)
    for number, (plan, state) in enumerate(zip(plans, states, strict=True), 1):
        say(
            f"{number:4d}  {plan.label:<{width}}  seed {plan.seed}  {plan.cfg} on {plan.data} at "
            f"{plan.train['imgsz']} px, {plan.train['epochs']} epochs  {state}"
        )
    say(f"{len(plans)} runs of {len({plan.config for plan in plans})} configurations in {request.folder}")
    left = [plan for plan, state in zip(plans, states, strict=True) if state != FINISHED]
    if not left:
        say("Nothing is left to do")
        return
    seconds = estimate_seconds(left)
    total = sum(seconds[plan.config] for plan in left) / request.jobs
    for config, plan in {plan.config: plan for plan in reversed(left)}.items():
        say(f"about {clock(seconds[config])} a run: {plan.label} ({plan.cfg} on {plan.data}, {plan.train['imgsz']} px)")
    say(
        f"{len(left)} runs are left, about {clock(total)} in all with {request.jobs} at a time; from a few timed steps "
        "on this machine as busy as it is now, for uninterrupted runs of all their epochs"
    )


def merge(sources: Sequence[Path], target: Path) -> None:
    """Copy the runs of several comparisons into one folder.

    Of a run that is in several, a finished one is taken, and of several finished ones the first.

    Raises:
        ValueError: If a folder holds no runs, or a description is wrong.
    """
    taken = {folder.plan.key: folder for folder in folders(target)}
    for source in sources:
        found = folders(source)
        if not found:
            raise ValueError(f"--merge {source}: holds no runs of compare.py")
        added = 0
        for folder in found:
            key = folder.plan.key
            if key in taken and (taken[key].state == FINISHED or folder.state != FINISHED):
                continue
            copy = target / "runs" / folder.path.name
            if copy.resolve() == folder.path.resolve():
                continue
            if copy.exists():
                shutil.rmtree(copy)
            left_out = shutil.ignore_patterns("last.pt") if folder.state == FINISHED else None
            shutil.copytree(folder.path, copy, ignore=left_out)
            taken[key] = RunFolder(copy)
            added += 1
        say(f"{source}: {added} of {len(found)} runs taken")
    (target / "latency.json").unlink(missing_ok=True)  # times of several machines do not compare: measured again
