"""The answer of a comparison in one sentence, for whoever reads no further."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.compare.judge.verdicts import Configuration, Group
from analysis.compare.report.markdown_table import points

_FEW_SEEDS = 3  # with fewer an interval says little


def verdict_sentence(group: Group) -> str:
    """Which modules differ from the baseline by more than noise, and which were tried too little to tell."""
    baseline, *others = group.configurations
    against = group.name(baseline)
    judged = [one for one in others if one.answer is not None]
    if not judged:
        return f"Nothing can be compared: only {against} is finished."
    told = [one for one in judged if _verdict(one) in ("better", "worse")]
    if told:
        text = "; ".join(f"{group.name(one)} is {_verdict(one)} than {against} by {_size(one)}" for one in told)
        left = len(judged) - len(told)
        text += "; no other module differs by more than noise" if left else ""
    else:
        text = f"No module differs from {against} by more than noise"
        highest = max(judged, key=lambda one: _difference(one))
        text += f"; {group.name(highest)} has the highest mean, {_size(highest)} from {against}"
    few = [one for one in judged if _seeds(one) < _FEW_SEEDS]
    for count in sorted({_seeds(one) for one in few}):
        names = _listed([group.name(one) for one in few if _seeds(one) == count])
        was = "was" if names.count(" and ") == 0 else "were"
        seeds = "one seed, which says nothing about another" if count == 1 else f"{count} seeds"
        text += f"; {names} {was} tried with {seeds}"
    return text + "."


def _verdict(one: Configuration) -> str:
    return one.answer.verdict if one.answer else ""


def _difference(one: Configuration) -> float:
    return one.answer.comparison.difference if one.answer else -math.inf


def _seeds(one: Configuration) -> int:
    return one.answer.comparison.seeds if one.answer else 0


def _size(one: Configuration) -> str:
    if one.answer is None:
        return ""
    low, high = one.answer.comparison.interval()
    interval = f" (95 % interval {points(low)} to {points(high)})" if math.isfinite(low) else ""
    return f"{points(one.answer.comparison.difference)} points{interval}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
