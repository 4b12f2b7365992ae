"""What a check is and what it finds: the protocol between the checks, the page and the JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from analysis.doctor.evidence import Evidence, Split

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)  # the gravest first
MOST_CASES = 1000  # of a finding that are kept and listed; all are counted


class Mark(NamedTuple):
    """A box to point at."""

    box_cxcywh_norm: tuple[float, float, float, float]
    text: str


@dataclass(frozen=True)
class Case:
    """One instance of what is wrong: an image, a row, a pair of images, or a class."""

    image: str  # its path; "" where it is about the set
    text: str
    marks: tuple[Mark, ...] = ()
    other: str = ""  # the second image of a pair
    score: float | None = None  # how sure, where a model was asked


class Found(NamedTuple):
    """What a check has to say; nothing is wrong where `count` is 0.

    Attributes:
        count: How many cases there are.
        cases: The first `MOST_CASES` of them; those that say most come first.
        text: What the figures mean, where the check's title does not say it.
        remedy: Instead of the check's own, where it depends on the figures.
    """

    count: int
    cases: list[Case]
    text: str = ""
    remedy: str = ""


NOTHING = Found(0, [])


@dataclass(frozen=True)
class Check:
    """One thing that may be wrong with a data set.

    Attributes:
        name: Of the finding in the JSON and on the page.
        severity: "error" makes the doctor's exit code 1.
        title: What is wrong, as a heading.
        remedy: What to do.
        look: From the evidence to what was found.
    """

    name: str
    severity: str
    title: str
    remedy: str
    look: Callable[[Evidence], Found]


class Finding(NamedTuple):
    """A check that found something."""

    check: Check
    found: Found

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return self.found.remedy or self.check.remedy


def check(name: str, severity: str, title: str, remedy: str) -> Callable[[Callable[[Evidence], Found]], Check]:
    """Make a check of the function that looks; see `Check`."""
    return lambda look: Check(name, severity, title, remedy, look)


def found_in(cases: Iterable[Case], count: int | None = None, text: str = "") -> Found:
    """The cases and their number; `count` where they are made on demand and more are counted than are worth making."""
    if count is None:
        cases = list(cases)
        count = len(cases)
    return Found(count, list(islice(cases, MOST_CASES)), text)


def boxes_found(evidence: Evidence, bad: Callable[[Split], np.ndarray], describe: Callable[[Split, int], str]) -> Found:
    """Cases of single boxes.

    Args:
        evidence: The data set.
        bad: From a split to the indices of its bad rows, the worst first.
        describe: From a split and such an index to what is wrong with the box.
    """
    rows = [(split, int(row)) for split in evidence.splits for row in bad(split)]
    return found_in((box_case(evidence, split, [row], describe(split, row)) for split, row in rows), len(rows))


def box_case(evidence: Evidence, split: Split, rows: Sequence[int], text: str) -> Case:
    """A case that points at boxes of one image."""
    marks = tuple(Mark(tuple(split.rows[row, 1:].tolist()), evidence.name_of(split.rows[row, 0])) for row in rows)
    return Case(split.images[split.image_of_row[rows[0]]], text, marks)


def class_case(evidence: Evidence, number: int, text: str) -> Case:
    """A case of a class, with the first box of it as the example."""
    for split in evidence.splits:
        rows = np.flatnonzero(split.rows[:, 0] == number)
        if len(rows):
            return box_case(evidence, split, [int(rows[0])], text)
    return Case("", text)


def examine(checks: Iterable[Check], evidence: Evidence) -> list[Finding]:
    """What the checks find, the gravest first."""
    findings = [Finding(one, found) for one in checks if (found := one.look(evidence)).count]
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.check.severity))
