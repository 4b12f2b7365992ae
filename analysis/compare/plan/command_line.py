"""compare.py's command line and YAML plan, as one checked request. Imports no torch.

A plan says the same things as the command line under the same names; what stands on the command line wins.
"""

from __future__ import annotations

import argparse
import difflib
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.hyp import find_hyp, load_hyp
from engine.config.files import is_strange, module_files, numbered
from engine.config.parser import ArgumentParser
from engine.config.train_config import STARTS
from engine.config.train_parser import IGNORED, require_loggers
from engine.config.train_parser import create_parser as create_train_parser
from files.disk import require_writable
from files.paths import is_file
from files.text import shown
from files.yaml_file import read_yaml
from models.model_yaml import find_spec
from models.weights.download import find_weights

NONE = "none"
MAX_SEEDS = 1000
# Axes of the matrix, and what this script decides for every run; all else is a flag of train.py.
_OWN = ("cfg", "data", "imgsz", "weights", "attention", "attention_start", "seed", "project", "name")
_DECIDED = (
    *("exist_ok", "resume", "nosave", "noval", "noplots", "save_period", "thaw_after", "local_rank"),
    *("folds", "fold", "evolve", "evolve_sampler"),
)
_REFUSED = {
    "--seed": "every configuration is trained with the same --seeds, e.g. --seeds 3",
    "--attention-start": "here it is --start, which takes several: --start identity paper",
    "--resume": "run the same command again; finished runs are kept and interrupted ones go on",
    "--exist-ok": "the folder is always gone on with; choose another --name for a fresh one",
    "--noval": "the curves over epochs need the validation of every epoch",
    "--nosave": "interrupted runs go on from their saved weights",
    "--thaw-after": "the baseline has nothing to thaw, and configurations are compared on equal terms",
    "--evolve": "it searches with train.py, which writes a hyp_evolve.yaml; name that with --hyp",
    "--folds": "train.py --folds writes a data.yaml into the run folder; name that with --data",
    "--fold": "train.py --folds writes a data.yaml into the run folder; name that with --data",
    "--noplots": "runs draw nothing of their own here; the report is drawn at the end",
}


@dataclass(frozen=True)
class Axes:
    """What the runs of a matrix differ in; every combination is run.

    Attributes:
        cfg: Model YAMLs; one empty text where the model inside the weights is meant.
        weights: As many as `cfg`, paired with them.
        data: Dataset YAMLs.
        imgsz: Image sizes, pixels.
        attention: `none`, names, or requests such as `CBAM(kernel_size=3)@neck.P5`.
        at: Placements, each a place, several joined by commas, or `each` for every named place in turn.
        start: Starts of the inserted modules.
        options: From module to the sets of options it is tried with.
        seeds: Seeds of everything random.
    """

    cfg: tuple[str, ...]
    weights: tuple[str, ...]
    data: tuple[str, ...]
    imgsz: tuple[int, ...]
    attention: tuple[str, ...]
    at: tuple[str, ...]
    start: tuple[str, ...]
    options: Mapping[str, tuple[Mapping[str, Any], ...]]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class CompareRequest:
    """What compare.py is asked to do.

    Attributes:
        axes: The matrix; None for a merge.
        shared: Settings of `TrainConfig` that every run has; `hyp` is empty where each data set's own is taken.
        folder: Where the runs and the report go.
        task: The split of the figures.
        jobs: Runs at the same time; 0 for as many as the machine has room for.
        ray: Address of a Ray cluster to run on; empty: this machine.
        dry_run: Print the matrix and an estimate of its time, and stop.
        merge: Folders whose runs are to be put together.
        title: Of the report; empty for the one it has.
        command: The command line as it was given.
    """

    axes: Axes | None
    shared: Mapping[str, Any]
    folder: Path
    task: str = "val"
    jobs: int = 0
    ray: str = ""
    dry_run: bool = False
    merge: tuple[Path, ...] = ()
    title: str = ""
    command: str = ""


def parse_compare_args(argv: Sequence[str] | None = None) -> CompareRequest:
    """Read the command line and the plan it names; the files named there exist afterwards.

    Raises:
        ValueError: If a file is missing or wrong, a key of the plan is unknown, or a value is out of range.
    """
    parser = create_parser()
    given = parser.parse_args(argv)
    options: Mapping[str, Any] = {}
    if given.plan:
        words, options = _plan_words(given.plan, parser)
        defaults = create_parser(prog=f"compare.py: {given.plan}").parse_args(words)
        given = parser.parse_args(argv, _override(parser, defaults))
    values = vars(given)
    command = shlex.join(["python", "compare.py", *(argv or sys.argv[1:])])
    told: dict[str, Any] = {"title": _title(values["title"]), "command": command}
    wanted = (Path(values["project"]) / values["name"]).resolve()  # children work in the repository
    folder = next(one for one in numbered(wanted) if not one.is_dir() or not is_strange(one))
    if folder != wanted:
        print(f"{wanted} holds files that this program did not write: the comparison goes to {folder}", file=sys.stderr)
    if not values["dry_run"]:
        require_writable(folder, "--project")
    values["module"] = module_files(values["module"])
    if values["merge"]:
        ignored = [name for name in values if name not in ("merge", "project", "name", "title", "module")]
        ignored = [name for name in ignored if values[name] != parser.get_default(name)]
        if ignored or options:
            flag = f"--{ignored[0].replace('_', '-')}" if ignored else "options"
            raise ValueError(f"{flag} has no effect with --merge, which takes only --project, --name and --title")
        shared = {"module": values["module"]} if values["module"] else {}
        return CompareRequest(None, shared, folder, merge=_merged_folders(values["merge"]), **told)
    axes = _axes(values, options)
    shared_names = [action.dest for action in _shared_actions()]
    shared = {name: values[name] for name in shared_names}
    if shared["hyp"]:
        shared["hyp"] = str(find_hyp(shared["hyp"]).resolve())
        load_hyp(shared["hyp"])
    require_loggers(shared["logger"])
    if shared["batch_size"] == -1:
        raise ValueError(
            "--batch-size -1: it finds a batch of its own for every model; runs that are compared need one"
        )
    if values["ray"] and values["jobs"]:
        raise ValueError("--jobs is for this machine; with --ray as many run at once as the cluster has room for")
    running = {name: values[name] for name in ("task", "jobs", "ray", "dry_run")}
    return CompareRequest(axes, shared, folder, **running, **told)


def create_parser(prog: str = "compare.py") -> ArgumentParser:
    """The parser of `compare.py`; flags that train.py has too are train.py's own."""
    parser = ArgumentParser(
        prog=prog,
        description="Compare attention modules by training them with several seeds.",
        examples=(
            "python compare.py --data signs.yaml --cfg yolov5n.yaml --attention none SE CBAM --at neck.P3 --seeds 3",
            "python compare.py --plan my_study.yaml --dry-run",
        ),
        page="docs/comparison.md",
    )
    add = parser.add_argument_group("what is compared; every combination is run").add_argument
    add("--plan", default="", metavar="YAML", help="a YAML with any of these settings under the same names")
    add("--cfg", nargs="+", default=[], help="model YAMLs; none: the model inside --weights")
    add("--weights", nargs="+", default=[], help="start from these weights: one for all, or one for each --cfg")
    add("--data", nargs="+", default=["signs.yaml"], help="dataset YAMLs")
    add("--imgsz", "--img", "--img-size", nargs="+", type=int, default=[640], help="image sizes, pixels")
    text = "none (the baseline), module names, or requests such as 'CBAM(kernel_size=3)@neck.P5'"
    add("--attention", nargs="+", default=[], metavar="MODULE", help=text)
    text = "placements, e.g. neck.P3,neck.P4 (together), or neck.P3 neck.P4 (in turn), or each"
    add("--at", nargs="+", default=["neck"], metavar="PLACES", help=text)
    add("--start", nargs="+", choices=STARTS, default=["identity"], help="how inserted modules begin")
    text = "how many seeds (3: the seeds 0, 1 and 2), or the seeds themselves (4 7 8)"
    add("--seeds", nargs="+", type=int, default=[3], help=text)
    text = "the split of the figures; the best epoch is chosen on val either way"
    add("--task", choices=("val", "test"), default="val", help=text)
    group = parser.add_argument_group("every run alike, as in train.py")
    for action in _shared_actions():
        group._add_action(action)
    add = parser.add_argument_group("running").add_argument
    add("--project", default="runs/compare", help="parent of the comparison's folder")
    add("--name", default="exp", help="name of the folder; runs that are there already are kept")
    add("--title", default="", help="title of the report's page, e.g. 'SE and CBAM on street signs'")
    text = "runs at the same time; auto: as many as cores and memory allow on a CPU, one on a GPU"
    add("--jobs", type=_jobs, default=0, metavar="N", help=text)
    text = "run on a Ray cluster: auto for the one this machine belongs to, local for one of its own, or host:port"
    add("--ray", default="", metavar="ADDRESS", help=text)
    add("--dry-run", action="store_true", help="print the runs and an estimate of their time, and stop")
    add("--merge", nargs="+", default=[], metavar="FOLDER", help="put the runs of these folders together and report")
    trained = create_train_parser()
    parser.unsupported({**trained.refused, **IGNORED, **_REFUSED})
    return parser


def _jobs(text: str) -> int:
    """A number of runs; 0 for `auto`."""
    if text == "auto":
        return 0
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"expected auto or a number from 1 but got {text!r}")
    return int(text)


def _shared_actions() -> list[argparse.Action]:
    """Flags of train.py that mean the same here."""
    left_out = (*_OWN, *_DECIDED, "help", argparse.SUPPRESS)
    return [action for action in create_train_parser()._actions if action.dest not in left_out]


def _override(parser: ArgumentParser, defaults: argparse.Namespace) -> argparse.Namespace:
    """A namespace on which argparse leaves what the plan says unless the command line says otherwise."""
    values = {name: value for name, value in vars(defaults).items() if value != parser.get_default(name)}
    return argparse.Namespace(**values)


def _title(text: str) -> str:
    """A title on one line, empty where only spaces were given.

    Raises:
        ValueError: If it holds bytes that are no text.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(f"--title {text!r}: expected text in UTF-8 but got other bytes; write it in a UTF-8 terminal")
    return " ".join(text.split())


def _plan_words(file: str, parser: ArgumentParser) -> tuple[list[str], Mapping[str, Any]]:
    """A plan as the words of a command line, and its `options`.

    Raises:
        ValueError: If it is no mapping, or a key is unknown; names the nearest.
    """
    path = Path(file)
    if not is_file(path):
        raise ValueError(f"--plan {file}: there is no such file")
    content = read_yaml(path)
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{file}: expected settings such as `attention: [none, SE]` but got {shown(content)}")
    options = content.pop("options", {})
    known = {flag.lstrip("-"): action for action in parser._actions for flag in action.option_strings}
    for name in ("plan", "help", "h"):
        known.pop(name, None)
    words: list[str] = []
    for key, value in content.items():
        name = str(key).replace("_", "-") if str(key) not in known else str(key)
        if f"--{name}" in parser.refused:
            raise ValueError(f"{file}: {key} is not supported: {parser.refused[f'--{name}']}")
        if name not in known:
            near = difflib.get_close_matches(name, [*known, "options"], n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(known))}"
            raise ValueError(f"{file}: unknown key {shown(key)}; {hint}")
        words += _as_words(file, name, value, known[name])
    return words, _options_axis(file, options)


def _as_words(file: str, name: str, value: Any, action: argparse.Action) -> list[str]:  # noqa: ANN401  (YAML value)
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError(f"{file}: {name}: expected true or false but got {shown(value)}")
        return [f"--{name}"] if value else []
    items = value if isinstance(value, list) else [value]
    if value is None or not items or any(isinstance(item, (list, dict)) or item is None for item in items):
        raise ValueError(f"{file}: {name}: expected a value or a list of values but got {shown(value)}")
    if action.nargs != "+" and len(items) > 1:
        raise ValueError(f"{file}: {name}: expected one value, the same for every run, but got {shown(value)}")
    return [f"--{name}", *(str(item) for item in items)]


def _options_axis(file: str, given: Any) -> Mapping[str, tuple[Mapping[str, Any], ...]]:  # noqa: ANN401  (YAML value)
    """`{CBAM: [{kernel_size: 3}, {kernel_size: 7}]}`; one mapping stands for a list of one."""
    example = "options: {CBAM: [{kernel_size: 3}, {kernel_size: 7}]}"
    if not isinstance(given, dict):
        raise ValueError(f"{file}: options: expected a form such as `{example}` but got {shown(given)}")
    axis = {}
    for name, value in given.items():
        sets = value if isinstance(value, list) else [value]
        if not sets or not all(isinstance(one, dict) and all(isinstance(k, str) for k in one) for one in sets):
            raise ValueError(f"{file}: options: {name}: expected a form such as `{example}` but got {shown(value)}")
        axis[str(name)] = tuple(sets)
    return axis


def _axes(values: Mapping[str, Any], options: Mapping[str, tuple[Mapping[str, Any], ...]]) -> Axes:
    if not values["attention"]:
        raise ValueError("--attention: expected what is to be compared, e.g. --attention none SE CBAM CoordAtt")
    seeds = values["seeds"]
    if len(seeds) == 1:
        if not 1 <= seeds[0] <= MAX_SEEDS:
            raise ValueError(f"--seeds {seeds[0]}: expected a number of seeds from 1 to {MAX_SEEDS}")
        seeds = range(seeds[0])
    elif min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds {' '.join(map(str, seeds))}: expected different seeds, from 0")
    cfg, weights = _models(values["cfg"], values["weights"])
    missing = [name for name in options if name not in {text.split("@")[0] for text in values["attention"]}]
    if missing:
        raise ValueError(f"options: {missing[0]} is not among --attention {' '.join(values['attention'])}")
    return Axes(
        cfg=cfg,
        weights=weights,
        data=tuple(dict.fromkeys(values["data"])),
        imgsz=tuple(dict.fromkeys(values["imgsz"])),
        attention=tuple(dict.fromkeys(values["attention"])),
        at=tuple(dict.fromkeys(values["at"])),
        start=tuple(dict.fromkeys(values["start"])),
        options=options,
        seeds=tuple(seeds),
    )


def _models(cfg: Sequence[str], weights: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Model YAMLs and weights, paired, as absolute paths."""
    if not cfg and not weights:
        raise ValueError("expected --cfg, --weights or both, e.g. --cfg yolov5n.yaml --weights base.pt")
    files = [str(find_spec(name).resolve()) for name in cfg] or [""]
    starts = [str(find_weights(name).resolve()) if name else "" for name in weights] or [""]
    if cfg and len(starts) == 1:
        starts *= len(files)
    if not cfg:
        files *= len(starts)
    if len(starts) != len(files):
        raise ValueError(f"--weights: expected one, or one for each of the {len(files)} --cfg, but got {len(starts)}")
    return tuple(files), tuple(starts)


def _merged_folders(names: Sequence[str]) -> tuple[Path, ...]:
    folders = tuple(Path(name) for name in names)
    for folder in folders:
        if not (folder / "runs").is_dir():
            raise ValueError(f"--merge {folder}: expected a folder of compare.py, which holds `runs`")
    return folders
