"""The report of a comparison whose answer is known: CSV, table, pictures and the page."""

import base64
import csv
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis.compare.execute.image_results import ImageResults
from analysis.compare.execute.run_folder import RunFolder, folders
from analysis.compare.judge.collect import FIGURES, Row, collect
from analysis.compare.judge.latency import measure_latency
from analysis.compare.judge.verdicts import summarise
from analysis.compare.report.charts import DARK, LIGHT, available, pareto_front, render
from analysis.compare.report.html_page import html
from analysis.compare.report.notes import Notes, page_title, recall, remember
from analysis.compare.report.verdict_sentence import verdict_sentence
from analysis.compare.report.write_report import write_report


def test_whole_report(comparison, monkeypatch, capsys) -> None:
    timed = "analysis.compare.report.write_report._time_models"
    monkeypatch.setattr(timed, lambda folder: measure_latency(folder, rounds=4))
    failed = RunFolder(folders(comparison)[0].path.parent / "failed")
    failed.write("run", folders(comparison)[0].plan.to_dict() | {"key": "other"})
    failed.write("error", {"stage": "training", "error": "no memory | at all"})
    write_report(comparison)
    with (comparison / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    good = [row for row in rows if row["status"] == "finished"]
    assert {row["seed"] for row in good} == {"0", "1", "2"}
    for row in good:
        assert row["training_seconds"] == "65"
        assert row["AP_small"] == ""  # COCO's -1: nothing of that size
        assert all(float(row[name]) > 0 for name in FIGURES if name != "AP_small")
    bad = next(row for row in rows if row["status"] == "failed")
    assert bad["error"] == "no memory | at all"
    with (comparison / "differences.csv").open() as file:
        answers = {row["configuration"]: row for row in csv.DictReader(file)}
    assert answers["CBAM @ neck, identity"]["verdict"] == "better"
    assert answers["SE @ neck, identity"]["verdict"] == "cannot be told apart with 3 seeds"
    low, high = (float(answers["CBAM @ neck, identity"][name]) for name in ("low", "high"))
    assert 0 < low < float(answers["CBAM @ neck, identity"]["difference"]) < high
    table = (comparison / "table.md").read_text()
    assert table in capsys.readouterr().out
    assert "| none |" in table
    assert "| CBAM |" in table
    assert "modules at neck, identity start" in table
    assert "- failed: failed: no memory" in table
    for line in table.splitlines():
        if line.startswith("| "):
            assert line.count("|") in (8, 18)  # 7 columns of differences, 17 of figures
    assert {file.stem for file in comparison.glob("*.png")} == {"differences", "tradeoff", "curves", "classes", "sizes"}


def test_means_and_deviations_by_hand(comparison) -> None:
    group = summarise(collect(comparison))[0]
    one = group.configurations[0]
    values = [row.figures["mAP50-95"] for row in one.rows]
    assert one.mean["mAP50-95"] == pytest.approx(np.mean(values))
    assert one.sd["mAP50-95"] == pytest.approx(np.std(values, ddof=1))
    assert (one.mean["AP_small"], one.sd["AP_small"]) == (None, None)
    other = group.configurations[1]
    paired = [new.figures["mAP50-95"] - old.figures["mAP50-95"] for new, old in zip(other.rows, one.rows, strict=True)]
    assert other.answer.comparison.difference == pytest.approx(np.mean(paired))
    assert other.answer.per_class["thing"].difference == pytest.approx(np.mean(paired))


def test_without_a_baseline_the_first_is_one_and_other_images_are_not_compared(comparison) -> None:
    rows = [row for row in collect(comparison) if row.plan.module != "none"]
    group = summarise(rows)[0]
    assert [one.plan.module for one in group.configurations] == ["CBAM", "SE"]
    assert group.configurations[1].answer.verdict == "worse"
    for row in rows:
        if row.plan.module == "SE":
            file = row.folder.path / "images.npz"
            found = ImageResults.load(file)
            renamed = tuple(f"other {name}" for name in found.images)
            type(found)(**{**vars(found), "images": renamed}).save(file)
    group = summarise(rows)[0]
    assert group.configurations[1].answer is None
    assert "no seed in common" in html([group], rows, "x")


def test_damaged_figures_are_named_and_damaged_times_taken_again(comparison) -> None:
    (comparison / "latency.json").write_text('{"configurations": {')
    assert collect(comparison)[0].figures["latency_ms"] is None
    folders(comparison)[0].write("measured", {"precision": 1.0})
    with pytest.raises(ValueError, match=r"measured\.json: has no 'recall'; remove it to have the run measured again"):
        collect(comparison)


def test_runs_on_changed_data_are_compared_among_themselves(comparison) -> None:
    rows = collect(comparison)

    def on(digests: dict[str, str]) -> list[Row]:
        return [replace(row, plan=replace(row.plan, data_digest=digests[row.plan.module])) for row in rows]

    (one,) = summarise(on({"none": "", "SE": "d1", "CBAM": "d1"}))
    assert len(one.configurations) == 3  # what was not recorded is taken for the only data there are
    assert "(data" not in one.title
    first, second = summarise(on({"none": "d1", "SE": "d1", "CBAM": "d2"}))
    assert [one.plan.module for one in first.configurations] == ["none", "SE"]
    assert "on set (data d1)" in first.title
    assert "on set (data d2)" in second.title
    titles = [group.title for group in summarise(on({"none": "", "SE": "d1", "CBAM": "d2"}))]
    assert "on set (data not recorded)" in titles[-1]


def test_one_seed_and_nothing_finished(comparison) -> None:
    rows = collect(comparison)
    first = [row for row in rows if row.plan.seed == 0]
    group = summarise(first)[0]
    assert group.configurations[1].answer.verdict.startswith("cannot be told apart: one seed")
    for plot in available(group):
        assert render(plot, group, LIGHT, "svg").startswith(b"<?xml")
    assert summarise([]) == []
    assert "No run is finished" in html([], [], "x")


def test_page_needs_no_network_and_has_everything(comparison) -> None:
    rows = collect(comparison)
    groups = summarise(rows)
    page = html(groups, rows, "Comparison: <exp>")
    assert "&lt;exp&gt;" in page
    links = re.findall(r'(?:src|srcset|href)="([^"]*)"', page)
    assert links
    inside = {f"#{name}" for name in re.findall(r'id="([^"]*)"', page)}
    assert all(link.startswith("data:") or link in inside for link in links)
    assert "@import" not in page
    assert "url(" not in page
    pictures = [link for link in links if link.startswith("data:image/svg+xml")]
    assert len(pictures) == 2 * len(available(groups[0]))  # light and dark
    assert base64.b64decode(pictures[0].split(",")[1]).startswith(b"<?xml")
    assert page.count("data:image/jpeg") == 4  # one image: its labels, three models


def test_answer_mistakes_labels_and_footer(comparison) -> None:
    rows = collect(comparison)
    page = html(summarise(rows), rows, "x", ["python compare.py --attention none 'SE'"])
    answer = re.search(r'class="answer">(.*?)</p>', page)[1]
    assert re.fullmatch(
        r"CBAM is better than none by \+[\d.]+ points \(95 % interval \+.* to \+.*\); no other module .* noise\.",
        answer,
    )
    assert page.index("ground truth") < page.index('alt="none"') < page.index('alt="CBAM"')
    assert '<th scope="col" title="dAP: an object found at its place under a wrong class.">' in page
    assert "2.00 (+0.00)" in page  # the mean of 1, 2 and 3 points, as the baseline's
    made = page[page.index("<footer>") :]
    for told in ("a &lt;fast&gt; processor", "torch 9", "abc1234567", "40 images, 100 objects", "none &#x27;SE&#x27;"):
        assert told in made


def test_runs_from_before_mistakes_and_machines_were_kept(comparison) -> None:
    for folder in folders(comparison):
        measured = folder.read("measured")
        folder.write("measured", {name: measured[name] for name in measured if name not in ("errors", "machine")})
        (folder.path / "seen" / "0-truth.jpg").unlink()
    rows = collect(comparison)
    page = html(summarise(rows), rows, "x")
    assert "kind of mistake costs" not in page
    assert page[page.index("<footer>") :].count("not recorded") == 4
    assert page.count("data:image/jpeg") == 3


def test_sentence_without_a_difference_and_with_few_seeds(comparison) -> None:
    rows = [row for row in collect(comparison) if row.plan.module != "CBAM" and row.plan.seed < 2]
    text = verdict_sentence(summarise(rows)[0])
    assert text.startswith("No module differs from none by more than noise; SE has the highest mean, ")
    assert text.endswith("; SE was tried with 2 seeds.")
    text = verdict_sentence(summarise([row for row in rows if row.plan.seed == 0])[0])
    assert text.endswith("; SE was tried with one seed, which says nothing about another.")
    text = verdict_sentence(summarise([row for row in rows if row.plan.module == "none"])[0])
    assert text == "Nothing can be compared: only none is finished."


def test_differences_by_size_have_student_intervals_over_the_seeds(comparison) -> None:
    group = summarise(collect(comparison))[0]
    found = group.configurations[1].answer.per_size
    assert set(found) == {"AP_medium", "AP_large"}
    before, after = ([row.figures["AP_medium"] for row in one.rows] for one in group.configurations[:2])
    exact = stats.ttest_rel(after, before).confidence_interval(0.95)
    assert found["AP_medium"].interval() == pytest.approx((exact.low, exact.high))


def test_title_and_commands_are_remembered(tmp_path) -> None:
    folder = tmp_path / "exp2"
    assert page_title(folder, "signs") == "Attention modules on signs"
    assert page_title(tmp_path / "helmets", "signs") == "helmets"
    remember(folder, "Mine", "a")
    for command in ("b", "a"):
        remember(folder, "", command)
    assert (page_title(folder, "signs"), recall(folder).commands) == ("Mine", ("b", "a"))
    (folder / "report.json").write_text("[")
    assert recall(folder) == Notes()


def test_pictures_are_repeatable_and_follow_the_page(comparison) -> None:
    group = summarise(collect(comparison))[0]
    plot = available(group)[0]
    light = render(plot, group, LIGHT, "svg")
    assert light == render(plot, group, LIGHT, "svg")
    assert light != render(plot, group, DARK, "svg")
    assert DARK.paper.encode() in render(plot, group, DARK, "svg")


def test_pareto_front_by_hand() -> None:
    spots = [(1.0, 0.2), (2.0, 0.5), (1.5, 0.1), (3.0, 0.5), (2.0, 0.4), (4.0, 0.9)]
    assert pareto_front(spots) == [0, 1, 5]
    assert pareto_front([]) == []
