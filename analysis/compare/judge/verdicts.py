"""From runs to answers: per configuration the means, and against the baseline the difference and its verdict."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from analysis.compare.execute.image_results import ImageResults
from analysis.compare.execute.run_folder import FINISHED
from analysis.compare.judge.collect import FIGURES, Row
from analysis.compare.judge.image_bootstrap import draw_weights, mean_ap, resampled_ap
from analysis.compare.judge.statistics import Comparison, compare, holm, seeds_text, verdict
from analysis.compare.plan.command_line import NONE
from analysis.compare.plan.expand_plan import RunPlan
from files.text import write_rows

DRAWS = 1000
SIZES = ("AP_small", "AP_medium", "AP_large")


@dataclass(frozen=True)
class Answer:
    """A configuration against the baseline.

    Attributes:
        comparison: The difference of mAP50-95.
        corrected_p: After Holm's correction over all comparisons of the report.
        verdict: In words.
        seeds_needed: In words, to see half a point.
        per_class: From class name to the difference of its AP; classes without labels in the split are missing.
        per_size: From COCO's `AP_small`, … to the difference of it, those that every run has; its interval is over the
            seeds alone.
    """

    comparison: Comparison
    corrected_p: float
    verdict: str
    seeds_needed: str
    per_class: dict[str, Comparison]
    per_size: dict[str, Comparison] = field(default_factory=dict)


@dataclass(frozen=True)
class Configuration:
    """All finished runs of one configuration, in order of their seeds.

    Attributes:
        rows: The runs.
        mean: Means of the figures over the seeds; None where unknown.
        sd: Standard deviations over the seeds; None with one seed.
        answer: Against the baseline; None for the baseline itself.
        note: Why there is no answer, empty if there is one.
    """

    rows: tuple[Row, ...]
    mean: dict[str, float | None]
    sd: dict[str, float | None]
    answer: Answer | None = None
    note: str = ""

    @property
    def plan(self) -> RunPlan:
        """What its runs have in common, and one of their seeds."""
        return self.rows[0].plan


@dataclass(frozen=True)
class Group:
    """Configurations that may be compared: same model, weights, data, image size and budget; the baseline first.

    Attributes:
        configurations: At least one.
        data_version: Tells it from a group with other images or labels under the same YAML, empty if there is none.
    """

    configurations: tuple[Configuration, ...]
    data_version: str = ""

    @property
    def title(self) -> str:
        """What they share."""
        plan = self.configurations[0].plan
        train = plan.train
        begin = f"from {Path(train['weights']).name}" if train["weights"] else "from scratch"
        seeds = sorted({row.plan.seed for one in self.configurations for row in one.rows})
        text = ", ".join(map(str, seeds))
        data = f"{plan.data} ({self.data_version})" if self.data_version else plan.data
        modules = f"; modules at {self.shared_place}" if self.shared_place else ""
        task = f"; figures on {plan.task}" if plan.task != "val" else ""
        return (
            f"{plan.cfg} on {data} at {train['imgsz']} px, {train['epochs']} epochs of batches of "
            f"{train['batch_size']}, {begin}, seeds {text}{modules}{task}"
        )

    @property
    def shared_place(self) -> str:
        """Where and how all modules are inserted, empty if they differ in it or there is none."""
        places = {f"{p.at}, {p.start} start" for p in (one.plan for one in self.configurations) if p.module != NONE}
        return places.pop() if len(places) == 1 else ""

    def name(self, one: Configuration) -> str:
        """A configuration beside the others of the group: what the title says is left out."""
        return one.plan.call if self.shared_place else one.plan.label


def summarise(rows: Sequence[Row]) -> list[Group]:
    """Group the finished runs and compare each configuration with its group's baseline.

    The baseline is `none`; in a group without it, the first configuration.

    Raises:
        ValueError: If per-image data is damaged.
    """
    finished = [row for row in rows if row.state == FINISHED]
    versions: dict[str, set[str]] = {}
    for row in finished:
        versions.setdefault(row.plan.group, set()).add(row.plan.data_digest)
    groups: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in finished:
        version = _data_version(row.plan.data_digest, versions[row.plan.group])
        groups.setdefault((row.plan.group, version), {}).setdefault(row.plan.config, []).append(row)
    found = [_group(list(configurations.values()), version) for (_, version), configurations in groups.items()]
    return _corrected(sorted(found, key=lambda group: group.title))


def _data_version(digest: str, known: AbstractSet[str]) -> str:
    """What tells a run's data from that of others with the same settings; data not recorded is the only one there is.

    Args:
        digest: Of the run's data.
        known: Digests of all of them.
    """
    if len(known - {""}) < 2:
        return ""
    return f"data {digest[:6]}" if digest else "data not recorded"


def _group(members: Sequence[list[Row]], data_version: str) -> Group:
    made = [_configuration(sorted(rows, key=lambda row: row.plan.seed)) for rows in members]
    made.sort(key=lambda one: (one.plan.module != NONE, one.plan.label))
    baseline, *others = made
    before = _Ap(baseline)
    return Group((baseline, *(_answered(one, baseline, before) for one in others)), data_version)


def _configuration(rows: Sequence[Row]) -> Configuration:
    mean: dict[str, float | None] = {}
    sd: dict[str, float | None] = {}
    for name in FIGURES:
        values = [row.figures[name] for row in rows]
        whole = [value for value in values if value is not None]
        mean[name] = statistics.fmean(whole) if len(whole) == len(rows) else None
        sd[name] = statistics.stdev(whole) if len(whole) == len(rows) > 1 else None
    return Configuration(tuple(rows), mean, sd)


class _Ap:
    """Average precisions of a configuration's runs on the whole measured split and on samples of it."""

    def __init__(self, configuration: Configuration) -> None:
        self.images = {row.plan.seed: ImageResults.load(row.folder.path / "images.npz") for row in configuration.rows}
        first = next(iter(self.images.values()))
        count = len(first.images)
        weights = np.concatenate((np.ones((1, count), np.int32), draw_weights(count, DRAWS)))
        # (1 + DRAWS, C, T) for each seed; the first is the split itself
        self.ap = {seed: resampled_ap(results, weights) for seed, results in self.images.items()}

    def common_seeds(self, other: _Ap) -> list[int]:
        """Seeds that both have, on the same images."""
        return [s for s in self.images if s in other.images and self.images[s].same_images(other.images[s])]


def _answered(one: Configuration, baseline: Configuration, before: _Ap) -> Configuration:
    after = _Ap(one)
    seeds = before.common_seeds(after)
    if not seeds:
        return replace(one, note="no seed in common with the baseline on the same images")
    images = len(after.images[seeds[0]].images)
    differences = np.stack([mean_ap(after.ap[s]) - mean_ap(before.ap[s]) for s in seeds], 1)
    comparison = compare(differences[0], differences[1:], images)
    per_class = {}
    for number, name in enumerate(after.images[seeds[0]].names):
        drawn = np.stack([(after.ap[s] - before.ap[s])[:, number].mean(1) for s in seeds], 1)
        drawn = drawn[np.isfinite(drawn).all(1)]  # samples without a label of the class say nothing about it
        if len(drawn) > 2 and np.isfinite(after.ap[seeds[0]][0, number, 0]):
            per_class[name] = compare(drawn[0], drawn[1:], images)
    per_size = _size_differences(one, baseline, seeds, images)
    return replace(one, answer=Answer(comparison, math.nan, "", "", per_class, per_size))


def _size_differences(
    one: Configuration, baseline: Configuration, seeds: Sequence[int], images: int
) -> dict[str, Comparison]:
    """Differences of AP by object size, seed by seed."""
    new, old = ({row.plan.seed: row.figures for row in each.rows} for each in (one, baseline))
    found = {}
    for name in SIZES:
        pairs = [(new[seed][name], old[seed][name]) for seed in seeds]
        known = [after - before for after, before in pairs if after is not None and before is not None]
        if known and len(known) == len(pairs):
            variance = statistics.variance(known) / len(known) if len(known) > 1 else math.nan
            found[name] = Comparison(statistics.fmean(known), len(known), images, variance, 0.0)
    return found


def _corrected(groups: Sequence[Group]) -> list[Group]:
    """Correct for all comparisons of the report together and say what they mean."""
    answers = [one.answer for group in groups for one in group.configurations if one.answer]
    corrected = iter(holm([answer.comparison.p_value for answer in answers]))

    def told(one: Configuration) -> Configuration:
        if one.answer is None:
            return one
        found, p = one.answer.comparison, next(corrected)
        needed = seeds_text(found, comparisons=len(answers))
        return replace(one, answer=replace(one.answer, corrected_p=p, verdict=verdict(found, p), seeds_needed=needed))

    return [replace(group, configurations=tuple(map(told, group.configurations))) for group in groups]


def write_differences(groups: Sequence[Group], file: Path) -> None:
    """`differences.csv`: every comparison with the baseline, in mAP50-95 from 0 to 1."""
    names = ("comparison", "configuration", "seeds", "images", "difference", "low", "high", "seed_sd", "image_sd", "p",
             "p_holm", "verdict", "seeds_for_half_a_point")  # fmt: skip
    with file.open("w", newline="", encoding="utf-8") as stream:
        write_rows(stream, [names])
        for group in groups:
            for one in group.configurations:
                if one.answer is None:
                    continue
                found = one.answer.comparison
                figures = (
                    found.difference,
                    *found.interval(),
                    *map(math.sqrt, (found.seed_variance, found.image_variance)),
                )
                write_rows(stream, [[
                    *(group.title, one.plan.label, found.seeds, found.images),
                    *(f"{value:.6g}" for value in (*figures, found.p_value, one.answer.corrected_p)),
                    *(one.answer.verdict, one.answer.seeds_needed),
                ]])  # fmt: skip
