"""Write the report of a comparison: results.csv, differences.csv, table.md, pictures and index.html."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from analysis.compare.judge.collect import collect, write_csv
from analysis.compare.judge.latency import known, needed
from analysis.compare.judge.verdicts import summarise, write_differences
from analysis.compare.report.charts import LIGHT, available, render
from analysis.compare.report.html_page import html
from analysis.compare.report.markdown_table import markdown
from analysis.compare.report.notes import page_title, recall
from engine.config.parser import module_words
from engine.runtime.console import say
from files.find import ROOT
from models.user_modules import loaded_files


def write_report(comparison: Path) -> None:
    """Time what has not been timed, then write everything from what the runs left.

    Raises:
        ValueError: If a file of a run is damaged, or the models cannot be timed.
    """
    if set(needed(comparison)) - set(known(comparison)):
        _time_models(comparison)
    rows = collect(comparison)
    groups = summarise(rows)
    write_csv(rows, comparison / "results.csv")
    write_differences(groups, comparison / "differences.csv")
    table = markdown(groups, rows)
    (comparison / "table.md").write_text(table, encoding="utf-8")
    for number, group in enumerate(groups):
        for plot in available(group):
            suffix = f"-{number + 1}" if len(groups) > 1 else ""
            (comparison / f"{plot.name}{suffix}.png").write_bytes(render(plot, group, LIGHT, "png"))
    data = ", ".join(dict.fromkeys(row.plan.data for row in rows))
    page = html(groups, rows, page_title(comparison, data), recall(comparison).commands)
    (comparison / "index.html").write_text(page, encoding="utf-8")
    say(f"\n{table}\nReport: {comparison / 'index.html'}")


def _time_models(comparison: Path) -> None:
    """In a process of its own, in which nothing but the models runs."""
    say("Timing the models in turn")
    command = [sys.executable, "-m", "analysis.compare.judge.latency", str(comparison.resolve())]
    command += module_words(loaded_files())
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise ValueError(f"the models could not be timed: {reason}")
