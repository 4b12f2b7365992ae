"""Two reference pages from the code and the results: modules with cost and verdict, and the Python API."""

from __future__ import annotations

import csv
import importlib
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

README_TABLE = {  # heads, and what a verdict is called, by language
    "README.md": (("module", "paper", "year", "parameters", "latency", "verdict"), {}),
    "README.zh-CN.md": (
        ("模块", "论文", "年份", "参数量", "延迟", "结论"),
        {"cannot be told apart with 3 seeds": "三个种子不能区分", "comparisons": "次比较", "one set": "一次"},
    ),
}
RESULTS = Path(__file__).resolve().parents[1] / "results"
COSTED = ("yolov5n", "neck")  # the model and the place of the table's costs
_HEAD = """# Modules: paper, cost, verdict

Written from the registry, from [what they cost](../results/attention-cost/cost.md) and from
[the comparisons](../results/comparison/README.md) by `python docs/reference/update.py`. *Looks at* is what it gates:
[kinds](../attention/README.md#gates). *Cost* is that of three modules behind the neck's maps in YOLOv5n:
parameters added, and latency of one image of 640 px on one CPU thread, times that of the plain model. *Verdict* is of
[compare.py](../comparison.md): mAP50-95 against none, over seeds and images.

| module | paper | year | looks at | parameters | latency | verdict |
|---|---|---|---|---:|---:|---|"""
_NOT_PUBLISHED_ALONE = {"Timm": "whatever layer of timm is named"}
PUBLIC = {  # a door of the project, and the methods that people call
    "models": ["load_spec", "insert", "build_model", "transfer", "load_model", "save_model", "load_modules"],
    "models.weights.transfer": ["TransferReport.summary", "TransferReport.overview", "TransferReport.save"],
    "models.freeze": ["freeze"],
    "models.attention": ["list_attention", "create_attention", "attention_maps", "register"],
    "models.insertion.insert": ["each_place"],
    "engine": ["load_model"],
    "engine.detection.detector": ["Detector.predict", "Detector.explain"],
}


def modules() -> str:
    """A table of every module: paper, year, what it gates, cost, and what was found."""
    from models.attention import ATTENTION, list_attention

    costs, found = _costs(), _verdicts()
    text = _HEAD
    for name in list_attention():
        module = ATTENTION[name]
        paper = re.sub(r"arXiv:([\d.]+)", r"[arXiv:\1](https://arxiv.org/abs/\1)", module.PAPER)
        added, ratio = costs.get(name, ("", ""))
        gates = ", ".join(module.GATES) or _NOT_PUBLISHED_ALONE.get(name, "none")
        cells = [f"[{name}](../attention/{name}.md)", paper, str(module.YEAR), gates, added, ratio]
        text += f"\n| {' | '.join([*cells, found.get(name, 'not compared yet')])} |"
    return text + "\n"


def compared(readme: str) -> str:
    """The table of the modules that were compared, for a README."""
    from models.attention import ATTENTION

    heads, words = README_TABLE[readme]
    costs, lines = _costs(), [f"| {' | '.join(heads)} |", "|---|---|---|---:|---:|---|"]
    for name, verdict in sorted(_verdicts().items()):
        for english, other in words.items():
            verdict = verdict.replace(english, other)
        module = ATTENTION[name]
        cells = [f"[{name}](docs/attention/{name}.md)", module.PAPER, str(module.YEAR), *costs[name], verdict]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def readme(text: str, name: str) -> str:
    """A README with its table of modules made anew."""
    block = f"<!-- generated: modules -->\n{compared(name)}\n<!-- end -->"
    return re.sub(r"<!-- generated: modules -->.*?<!-- end -->", lambda _: block, text, count=1, flags=re.DOTALL)


def _costs() -> dict[str, tuple[str, str]]:
    with (RESULTS / "attention-cost" / "cost.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["model"], row["place"]) == COSTED]
    return {
        row["attention"]: (f"+{int(float(row['added_parameters'])):,}", f"{float(row['latency_ratio']):.2f}")
        for row in rows
    }


def _verdicts() -> dict[str, str]:
    """From each module that was compared to its verdicts, with the number of comparisons of each."""
    counted: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for file in sorted((RESULTS / "comparison").glob("*/differences.csv")):
        with file.open(encoding="utf-8", newline="") as opened:
            for row in csv.DictReader(opened):
                counted[re.split(r"[ (]", row["configuration"])[0]][row["verdict"]] += 1
    return {name: "; ".join(f"{what} ({_sets(n)})" for what, n in sorted(v.items())) for name, v in counted.items()}


def _sets(number: int) -> str:
    return "one set" if number == 1 else f"{number} comparisons"


def python_api() -> str:
    """Signatures and docstrings of what programs call."""
    parts = [
        "# Python\n\nWhat a program calls, with signature and docstring, written by `python docs/reference/update.py`. "
        "YOLOv5's functions (`train.run`, `val.run`, `torch.hub.load`) are in [from YOLOv5](../from-yolov5.md). Wrong "
        "input is a `ValueError` that says what was expected."
    ]
    for door, names in PUBLIC.items():
        for name in names:
            found: object = importlib.import_module(door)
            for part in name.split("."):
                found = inspect.getattr_static(found, part) if inspect.isclass(found) else getattr(found, part)
            parts.append(f"## {door}: {name}\n\n{_described(name, found)}")
    return "\n\n".join(parts) + "\n"


def _described(name: str, found: object) -> str:
    called = found.fget if isinstance(found, property) else found
    signature = "" if isinstance(found, property) else _signature(called)
    return f"```text\n{name}{signature}\n```\n\n" + "\n\n".join(_paragraphs(inspect.getdoc(called) or ""))


def _signature(called: object) -> str:
    assert callable(called)
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(called))).replace("'", '"')
    text = re.sub(r"<function (\w+) at 0x\w+>", r"\1", text)
    return re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text)  # names of types without their modules


def _paragraphs(docstring: str) -> Iterator[str]:
    """A Google docstring as Markdown: sections become lists."""
    for block in docstring.split("\n\n"):
        head, _, rest = block.partition("\n")
        if head in ("Args:", "Returns:", "Raises:", "Yields:", "Attributes:"):
            items = re.sub(r"\n {8,}", " ", rest)
            lines = [re.sub(r"^(\*{0,2}\w+): ", r"`\1`: ", line.strip()) for line in items.splitlines()]
            yield f"**{head[:-1]}**\n\n" + "\n".join(f"- {_plain(line)}" for line in lines)
        else:
            yield _plain(" ".join(block.split()))


def _plain(text: str) -> str:
    return re.sub(r"<(?=\w)", "&lt;", text)
