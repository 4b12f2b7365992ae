"""Hyperparameter search (`--evolve N`) as an Optuna study in SQLite.

Each trial is an ordinary run of train.py, in a process and a folder of its own: `trial0` with the hyperparameters that
were given, all others with values near the best so far (`mutate`), or with those that Optuna's tree-structured Parzen
estimator draws from YOLOv5's whole ranges (`--evolve-sampler tpe`). The same command given again goes on, and given
several times at once shares the work. A worker holds a lock on its trial as long
as it or its run is alive; a trial that is begun and not locked was interrupted, and goes on where it was.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import yaml

from data.hyp import load_hyp
from engine.config.files import is_strange, numbered
from engine.config.train_parser import run_words
from engine.evolution.evolve_report import METRICS, Outcome, best_of, write_report
from engine.evolution.mutate import mutated
from engine.runtime.child_process import last_words, run_process
from engine.runtime.console import say
from engine.runtime.folder_lock import locked
from engine.training.results_csv import ResultsFile
from files.disk import results_in
from models.user_modules import loaded_files
from models.weights.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

    from engine.config.train_config import TrainConfig
    from engine.config.train_request import EvolveRequest

# YOLOv5's ranges. Left out: iou_t, which the loss does not use, and anchors, a number that changes the model.
SPACE = {
    "lr0": (1e-5, 1e-1),
    "lrf": (0.01, 1.0),
    "momentum": (0.6, 0.98),
    "weight_decay": (0.0, 0.001),
    "warmup_epochs": (0.0, 5.0),
    "warmup_momentum": (0.0, 0.95),
    "warmup_bias_lr": (0.0, 0.2),
    "box": (0.02, 0.2),
    "cls": (0.2, 4.0),
    "cls_pw": (0.5, 2.0),
    "obj": (0.2, 4.0),
    "obj_pw": (0.5, 2.0),
    "anchor_t": (2.0, 8.0),
    "fl_gamma": (0.0, 2.0),
    "hsv_h": (0.0, 0.1),
    "hsv_s": (0.0, 0.9),
    "hsv_v": (0.0, 0.9),
    "degrees": (0.0, 45.0),
    "translate": (0.0, 0.9),
    "scale": (0.0, 0.9),
    "shear": (0.0, 10.0),
    "perspective": (0.0, 0.001),
    "flipud": (0.0, 1.0),
    "fliplr": (0.0, 1.0),
    "mosaic": (0.0, 1.0),
    "mixup": (0.0, 1.0),
    "copy_paste": (0.0, 1.0),
}
LOGARITHMIC = ("lr0",)
HOPELESS = 3  # so many failures without a single success: the fault is not in the hyperparameters
# Settings that may differ when the search goes on: they change no result.
_FREE = ("device", "workers", "cache", "project", "name", "exist_ok", "noplots", "logger", "entity", "hyp", "compile")


class Claim(NamedTuple):
    """A trial that this worker does."""

    trial: Trial
    folder: Path
    lock: int  # file descriptor


def evolve(request: EvolveRequest) -> Path:
    """Do trials until as many as asked for have ended; the folder with the results.

    Raises:
        ValueError: If Optuna is missing, nothing can be written or nothing can be trained.
        KeyboardInterrupt: After Ctrl-C or SIGTERM; the same command goes on.
    """
    with results_in(Path(request.config.project), "the trials that have ended are kept; the same command goes on"):
        return _search(request)


def _search(request: EvolveRequest) -> Path:
    search = _open_search(request)
    folder = search.folder
    say(f"Searching {len(search.space)} hyperparameters in {request.trials} trials in {folder}")
    while (claim := search.claim()) is not None:
        try:
            search.finish(claim, _train(request.config, claim))
        except KeyboardInterrupt:
            say(f"\nInterrupted in trial {claim.trial.number}; the same command goes on")
            raise
        finally:
            os.close(claim.lock)
    best = best_of(search.report())
    if best is None:
        raise ValueError(f"--evolve: all trials have failed; their logs are in {folder}")
    say(f"The best is trial {best.number}, fitness {best.fitness:.4f}: --hyp {folder / 'hyp_evolve.yaml'}")
    return folder


def _open_search(request: EvolveRequest) -> Search:
    """The search of these settings under the wanted name, or under the next one where that is another's."""
    for folder in numbered(Path(request.config.project).resolve() / request.config.name):
        if folder.is_dir() and is_strange(folder):
            say(f"{folder} holds files that this program did not write; they stay as they are")
            continue
        try:
            return Search(request, folder)
        except OtherSettingsError as error:
            say(f"{folder} holds a search with other settings ({error}), which stays as it is")
    raise AssertionError("there is always another number")


class OtherSettingsError(Exception):
    """The folder's search has been begun with other settings."""


class Search:
    """The study and its folder; several processes may hold one each.

    Args:
        request: What is searched, and with how many trials.
        folder: Of the study.

    Raises:
        OtherSettingsError: If the folder holds a search with other settings.
        ValueError: If the folder cannot be made.
    """

    def __init__(self, request: EvolveRequest, folder: Path) -> None:
        self.request, self.folder, self.base = request, folder, request.hyp or load_hyp(request.config.hyp)
        # Widened where the given value lies outside, so that the first trial is one of the space.
        given = self.base.to_dict()
        self.space = {name: (min(low, given[name]), max(high, given[name])) for name, (low, high) in SPACE.items()}
        with locked(folder, wait=True):
            self.study = self._open()

    def _open(self) -> Study:
        import optuna
        from sqlalchemy.engine import URL

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        url = URL.create("sqlite", database=str(self.folder / "evolve.db")).render_as_string(hide_password=False)
        storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
        study = optuna.create_study(storage=storage, study_name="evolve", direction="maximize", load_if_exists=True)
        values = {**self.request.config.to_dict(), **self.base.to_dict()}
        settings = {name: value for name, value in values.items() if name not in _FREE}
        begun = study.user_attrs.setdefault("settings", settings)
        differing = [f"{k} was {begun.get(k)}, now {v}" for k, v in settings.items() if begun.get(k) != v]
        if differing:
            raise OtherSettingsError("; ".join(differing[:3]))
        study.set_user_attr("settings", settings)
        return study

    def claim(self) -> Claim | None:
        """An interrupted trial to go on with, or a new one; None when all have ended or are being done."""
        from optuna.samplers import TPESampler
        from optuna.trial import Trial, TrialState

        with locked(self.folder, wait=True):
            trials = self.study.get_trials(deepcopy=False)
            for begun in trials:
                if begun.state is TrialState.RUNNING and (lock := self._take(begun.number)) is not None:
                    say(f"Trial {begun.number} was interrupted and goes on")
                    return self._describe(Trial(self.study, begun._trial_id), lock)
            if sum(trial.state is not TrialState.WAITING for trial in trials) >= self.request.trials:
                return None
            if not trials:
                self.study.enqueue_trial({name: self.base.to_dict()[name] for name in self.space})
            # By number, so that workers that start together draw different values.
            seed = self.request.config.seed * 1000003 + len(trials)
            if self.request.sampler == "tpe":
                self.study.sampler = TPESampler(seed=seed)
            elif trials:
                self.study.enqueue_trial(mutated(self._parents(trials), self.space, np.random.default_rng(seed)))
            trial = self.study.ask()
            taken = self._take(trial.number)
            assert taken is not None  # nobody else knows its number
            return self._describe(trial, taken)

    def _parents(self, trials: list[FrozenTrial]) -> list[tuple[float, dict[str, float]]]:
        ended = [(trial.value, trial.params) for trial in trials if trial.value is not None]
        return ended or [(0.0, {name: self.base.to_dict()[name] for name in self.space})]

    def finish(self, claim: Claim, error: str) -> None:
        """Record how a trial ended.

        Args:
            claim: The trial.
            error: Why its run failed, empty if it did not.

        Raises:
            ValueError: If trials fail and none has ever succeeded.
        """
        from optuna.trial import TrialState

        row = best_epoch(claim.folder / "results.csv")
        if error or row is None:
            error = error or "its results.csv holds no validated epoch"
            ended = f"failed: {error}"
            claim.trial.set_user_attr("error", error)
            self.study.tell(claim.trial, state=TrialState.FAIL)
        else:
            ended = f"fitness {fitness(row):.4f}"
            claim.trial.set_user_attr("figures", {name: row[name] for name in METRICS})
            self.study.tell(claim.trial, fitness(row))
        outcomes = self.report()
        best = best_of(outcomes)
        tail = f"; best {best.fitness:.4f}, trial {best.number}" if best else ""
        say(f"Trial {claim.trial.number}, {len(outcomes)} of {self.request.trials} ended: {ended}{tail}")
        if best is None and len(outcomes) >= HOPELESS:
            raise ValueError(f"--evolve: all of the first {len(outcomes)} trials failed; the last: {error}")

    def report(self) -> list[Outcome]:
        """Write evolve.csv, hyp_evolve.yaml and evolve.png from all trials that have ended."""
        with locked(self.folder, wait=True):
            trials = self.study.get_trials(deepcopy=False)
            outcomes = [self._outcome(trial) for trial in trials if trial.state.is_finished()]
            write_report(outcomes, list(self.space), self.folder)
        return outcomes

    def _outcome(self, trial: FrozenTrial) -> Outcome:
        figures, error = trial.user_attrs.get("figures", {}), trial.user_attrs.get("error", "")
        return Outcome(trial.number, replace(self.base, **trial.params), trial.value, figures, error)

    def _describe(self, trial: Trial, lock: int) -> Claim:
        """Draw the values, or read those that were drawn, and write them where the run will look."""
        drawn = {name: trial.suggest_float(name, *span, log=name in LOGARITHMIC) for name, span in self.space.items()}
        folder = self.folder / f"trial{trial.number}"
        text = yaml.safe_dump(replace(self.base, **drawn).to_dict(), sort_keys=False)
        (folder / "hyp.yaml").write_text(text, encoding="utf-8")
        return Claim(trial, folder, lock)

    def _take(self, number: int) -> int | None:
        """Lock a trial's folder; None while another worker, or a run that has outlived its worker, is at work in it."""
        folder = self.folder / f"trial{number}"
        folder.mkdir(exist_ok=True)
        lock = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR)
        if os.name == "posix":
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                return None
        return lock


def best_epoch(results: Path) -> dict[str, float] | None:
    """The row of the highest fitness, None where no epoch was validated."""
    rows = [row for row in ResultsFile(results).rows() if math.isfinite(fitness(row))]
    return max(rows, key=fitness, default=None)


def fitness(row: Mapping[str, float]) -> float:
    """YOLOv5's criterion, as `EvalResult.fitness`."""
    return 0.1 * row["metrics/mAP_0.5"] + 0.9 * row["metrics/mAP_0.5:0.95"]


def _train(config: TrainConfig, claim: Claim) -> str:
    """Bring a trial's run to its end from wherever it is; why it failed, or nothing."""
    last = claim.folder / "weights" / "last.pt"
    state = read_checkpoint(last).training if last.is_file() else {}
    if "epochs_done" in state:
        return ""
    values = {**config.to_dict(), "hyp": str(claim.folder / "hyp.yaml")}
    if "optimizer" in state:
        values["module"] = loaded_files()  # those that the model YAML names too
    words = run_words(values, claim.folder, resume="optimizer" in state)
    log = claim.folder / "log.txt"
    keep_open = (claim.lock,) if os.name == "posix" else ()
    status = run_process([sys.executable, "train.py", *words], log, keep_open=keep_open, one_thread=False)
    return f"{last_words(log)} (exit code {status}, {log})" if status else ""
