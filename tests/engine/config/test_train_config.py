"""train.py's command line: names and defaults, refusals by name, one line for every mistake."""

import io
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from engine.config.train_config import TrainConfig
from engine.config.train_parser import IGNORED, UNSUPPORTED, command_words, create_parser
from engine.config.train_request import EvolveRequest, ResumeRequest, TrainRequest, parse_train_args


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset YAML whose folders exist; its content is not read here."""
    for split in ("train", "val"):
        (tmp_path / "set" / "images" / split).mkdir(parents=True)
        (tmp_path / "set" / "images" / split / "a.jpg").write_bytes(b"")
    content = {"path": str(tmp_path / "set"), "train": "images/train", "val": "images/val", "names": ["a", "b"]}
    file = tmp_path / "set.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def parse(dataset: Path, *words: str) -> TrainConfig | EvolveRequest:
    """The settings of a run, or a search."""
    request = parse_train_args(["--data", str(dataset), "--cfg", "yolov5n.yaml", "--weights", "", *words])
    return request.config if isinstance(request, TrainRequest) else request


def run_script(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "train.py", *words], cwd=root, capture_output=True, text=True, check=False)


# YOLOv5's names, as its users type them, with what they set.
FLAGS = [
    (["--img", "320"], "imgsz", 320),
    (["--imgsz", "320"], "imgsz", 320),
    (["--img-size", "320"], "imgsz", 320),
    (["--batch", "8"], "batch_size", 8),
    (["--batch-size", "8"], "batch_size", 8),
    (["--batch", "-1"], "batch_size", -1),
    (["--epochs", "3"], "epochs", 3),
    (["--rect"], "rect", True),
    (["--compile"], "compile", True),
    (["--nosave"], "nosave", True),
    (["--noval"], "noval", True),
    (["--noautoanchor"], "noautoanchor", True),
    (["--noplots"], "noplots", True),
    (["--cache"], "cache", "ram"),
    (["--cache", "disk"], "cache", "disk"),
    (["--cache", "none"], "cache", "none"),
    ([], "cache", "auto"),
    (["--device", "cpu"], "device", "cpu"),
    (["--multi-scale"], "multi_scale", True),
    (["--single-cls"], "single_cls", True),
    (["--optimizer", "AdamW"], "optimizer", "AdamW"),
    (["--workers", "2"], "workers", 2),
    (["--project", "p"], "project", "p"),
    (["--name", "n"], "name", "n"),
    (["--name", "cfg"], "name", "yolov5n"),
    (["--exist-ok"], "exist_ok", True),
    (["--cos-lr"], "cos_lr", True),
    (["--label-smoothing", "0.1"], "label_smoothing", 0.1),
    (["--patience", "5"], "patience", 5),
    (["--freeze", "10"], "freeze", ("10",)),
    (["--freeze", "0", "1", "2"], "freeze", ("0", "1", "2")),
    (["--freeze", "backbone,!attention", "12"], "freeze", ("backbone,!attention", "12")),
    (["--thaw-after", "3"], "thaw_after", 3),
    (["--attention", "CBAM", "--attention", "SE@neck.P3"], "attention", ("CBAM", "SE@neck.P3")),
    (["--save-period", "2"], "save_period", 2),
    (["--seed", "7"], "seed", 7),
    (["--folds", "5", "--fold", "4"], "folds", 5),
    (["--folds", "5", "--fold", "4"], "fold", 4),
    (["--image-weights"], "image_weights", True),
    (["--class-weights"], "class_weights", 1.0),
    (["--class-weights", "0.5"], "class_weights", 0.5),
    (["--local_rank", "-1"], "local_rank", -1),
]


@pytest.mark.parametrize(("words", "name", "value"), FLAGS)
def test_flags_set_what_they_set_in_yolov5(dataset, words, name, value):
    assert getattr(parse(dataset, *words), name) == value


def test_yolov5_defaults():
    defaults = vars(create_parser().parse_args([]))
    wanted = {
        "weights": None,  # the stock weights of the model's size, if they are in weights/; yolov5n.pt for no model
        "cfg": "",
        "hyp": "",  # what the data set names, else hyp.scratch-low.yaml
        "epochs": 100,
        "batch_size": 16,
        "imgsz": 640,
        "optimizer": "SGD",
        "workers": 8,
        "name": "exp",
        "label_smoothing": 0.0,
        "patience": 100,
        "freeze": ["0"],
        "thaw_after": 0,
        "attention": [],
        "save_period": -1,
        "seed": 0,
        "sync_bn": False,
        "local_rank": -1,
        "cache": "auto",  # not off as in YOLOv5: the images are the same, sooner
        "resume": False,
    }
    assert {name: defaults[name] for name in wanted} == wanted


def test_every_setting_has_a_flag_and_the_other_way():
    flags = set(vars(create_parser().parse_args([]))) - {"resume", "evolve", "evolve_sampler"}
    assert flags == {field.name for field in fields(TrainConfig)}


def test_bare_names_resolve(dataset, root):
    config = parse(dataset, "--hyp", "hyp.scratch-low")
    assert config.cfg == str(root / "models" / "yolov5n.yaml")
    assert config.hyp == str(root / "data" / "hyps" / "hyp.scratch-low.yaml")
    assert config.data == str(dataset)


@pytest.mark.parametrize("flag", sorted(UNSUPPORTED))
def test_unsupported_flags_are_refused_by_name(flag, capsys):
    with pytest.raises(SystemExit) as stopped:
        create_parser().parse_args([flag])
    assert stopped.value.code == 2
    assert f"{flag} is not supported: " in capsys.readouterr().err


@pytest.mark.parametrize("flag", sorted(IGNORED))
@pytest.mark.parametrize("value", [[], ["2"]])
def test_flags_that_change_no_result_are_left_aside_with_one_line(dataset, flag, value, capsys):
    assert parse(dataset, flag, *value, "--epochs", "3").epochs == 3
    err = capsys.readouterr().err
    assert err.startswith(f"note: {flag} is ignored: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "warning"),
    [
        (["--compile", "--rect"], "--compile is ignored: it makes code for one image size, and --rect changes it"),
        (["--compile", "--multi-scale"], "--compile is ignored"),
        (["--entity", "team"], "--entity has no effect without --logger wandb or --logger comet"),
    ],
)
def test_flags_without_an_effect_warn(dataset, words, warning):
    config = parse(dataset, *words)
    assert [text[: len(warning)] for text in config.warnings] == [warning]
    assert not config.compiles


def test_evolve_takes_exist_ok_which_means_the_same(dataset):
    assert parse(dataset, "--evolve", "2", "--exist-ok").trials == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "abc"], "--epochs abc: expected a whole number, e.g. 100"),
        (["--label-smoothing", "much"], "--label-smoothing much: expected a number, e.g. 0.0"),
        (["--optimizer", "sgd"], "--optimizer sgd: expected one of SGD, Adam, AdamW; did you mean SGD?"),
        (["--epochs"], "--epochs: expected one argument"),
    ],
)
def test_what_argparse_finds_is_told_as_the_rest(words, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        create_parser().parse_args(words)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"train.py: error: {message}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "0"], "--epochs 0: expected at least 1"),
        (["--batch-size", "-2"], "--batch-size -2: expected at least 1, or -1 to find one"),
        (["--batch-size", "0"], "--batch-size 0: expected at least 1"),
        (["--label-smoothing", "1"], "--label-smoothing 1.0: expected 0 to below 1"),
        (["--evolve", "0"], "--evolve 0: expected at least 1 trial"),
        (["--evolve", "--batch", "-1"], "--batch-size -1: the trials of --evolve need the same batch"),
        (["--folds", "5"], "no --fold: --folds 5 expects the one that is validated, 0 to 4"),
        (["--folds", "5", "--fold", "5"], "--fold 5: --folds 5 expects the one that is validated, 0 to 4"),
        (["--folds", "1", "--fold", "0"], "--folds 1: expected at least 2"),
        (["--fold", "0"], "--fold 0: expected the number of folds too, e.g. --folds 5"),
        (["--class-weights", "2"], "--class-weights 2.0: expected 0, equal weights, to 1, balanced classes"),
        (["--image-weights", "--rect"], "--rect sorts the images by shape and --image-weights draws them"),
        (["--local_rank", "0"], "--local_rank 0: expected to be left out; the launcher sets it"),
        (["--thaw-after", "-1"], "--thaw-after -1: expected at least 0"),
        (["--thaw-after", "5", "--epochs", "5"], "--thaw-after 5: expected less than --epochs 5"),
        (["--thaw-after", "9", "--patience", "8"], "--patience 8: may stop the run before --thaw-after 9; expected"),
        (["--resume", "none.pt", "--evolve"], "--resume and --evolve: the same --evolve command given again goes on"),
        (["--attention-start", "paper"], "--attention-start says how inserted modules begin, and none is inserted"),
        (["--cfg", "yolov5nn.yaml"], "model file 'yolov5nn.yaml' was not found.*yolov5n.yaml"),
        (["--cfg", ""], "expected --cfg, --weights or both"),
        (["--hyp", "none.yaml"], "hyperparameter file 'none.yaml' was not found"),
        (["--weights", "none.pt"], "weights file 'none.pt' was not found"),
        (["--resume", "none.pt"], "--resume none.pt: there is no such checkpoint"),
    ],
)
def test_mistakes(dataset, words, message):
    with pytest.raises(ValueError, match=message):
        parse(dataset, *words)


def test_settings_survive_as_plain_data(dataset):
    config = parse(dataset, "--freeze", "1", "2", "--cache", "disk", "--attention", "SE", "--attention", "CBAM@neck")
    assert TrainConfig.from_dict(yaml.safe_load(yaml.safe_dump(config.to_dict()))) == config
    with pytest.raises(ValueError, match="unknown names: warmup"):
        TrainConfig.from_dict({**config.to_dict(), "warmup": 1})


def test_settings_become_the_words_they_came_from(dataset):
    words = ["--freeze", "1", "2", "--attention", "SE", "--attention", "CBAM@neck", "--attention-start", "paper"]
    config = parse(dataset, *words, "--rect", "--class-weights", "0.5", "--patience", "0", "--save-period", "-1")
    assert parse_train_args(command_words(config.to_dict())).config == config
    plain = parse(dataset)
    assert parse_train_args(command_words(plain.to_dict())).config == plain


def test_evolve_request(dataset, monkeypatch):
    monkeypatch.setattr("engine.config.train_request.find_package", lambda name: name)
    request = parse(dataset, "--evolve")
    assert isinstance(request, EvolveRequest)
    assert (request.trials, request.config.project) == (300, "runs/evolve")
    assert parse(dataset, "--evolve", "7", "--project", "p").trials == 7
    assert parse(dataset, "--evolve", "7", "--project", "p").config.project == "p"
    monkeypatch.setattr("engine.config.train_request.find_package", lambda name: None)
    with pytest.raises(ValueError, match="--evolve: the package optuna is not installed; pip install optuna"):
        parse(dataset, "--evolve")


def test_settings_of_files_that_hold_numbers_and_one_request(dataset):
    stored = {**parse(dataset).to_dict(), "freeze": [0, 3], "attention": "SE@neck"}
    config = TrainConfig.from_dict(stored)
    assert (config.freeze, config.attention) == (("0", "3"), ("SE@neck",))
    assert TrainConfig.from_dict({**stored, "attention": ""}).attention == ()


def test_resume_request(tmp_path):
    assert parse_train_args(["--resume"]) == ResumeRequest(None, Path("runs/train"))
    last = tmp_path / "weights" / "last.pt"
    last.parent.mkdir()
    last.write_bytes(b"")
    assert parse_train_args(["--resume", str(last), "--workers", "1"]) == ResumeRequest(
        last, Path("runs/train"), None, 1
    )
    assert parse_train_args(["--resume", str(tmp_path)]).checkpoint == last
    with pytest.raises(ValueError, match="there is no such checkpoint"):
        parse_train_args(["--resume", str(tmp_path / "none.pt")])


def test_help_is_fast_because_nothing_heavy_is_imported(root):
    code = "import sys, train; from engine.config.train_parser import create_parser; create_parser().format_help(); "
    code += "print([m for m in ('torch', 'lightning', 'ultralytics', 'cv2', 'matplotlib') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--evolve_population", "x"], "--evolve_population is not supported"),
        (["--optimizer", "Lion"], "--optimizer Lion: expected one of SGD, Adam, AdamW"),
        (["--cfg", "yolov5n.yaml", "--data", "none.yaml"], "data set file 'none.yaml' was not found"),
    ],
)
def test_scripts_mistakes_are_one_line_and_exit_code_2(root, words, message):
    result = run_script(root, *words)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert f"train.py: error: {message}" in result.stderr


def test_a_wrong_hyperparameter_name_is_one_line(dataset, tmp_path):
    hyp = tmp_path / "hyp.yaml"
    hyp.write_text("lr0: 0.01\nmosaics: 1.0\n")
    with pytest.raises(ValueError, match="unknown hyperparameter 'mosaics'; did you mean mosaic"):
        parse(dataset, "--hyp", str(hyp))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cfg", "yolov5n.yaml", "--attention", "CBAM@neck.P9"], "no place 'neck.P9'"),
        (["--weights", "WEIGHTS", "--attention", "CBAMM"], "did you mean 'CBAM'"),
        (["--cfg", "broken.yaml"], "broken.yaml"),
    ],
)
def test_mistakes_in_the_model_come_before_the_data_are_drawn(words, message, tmp_path, monkeypatch):
    (tmp_path / "best.pt").write_bytes(b"")
    (tmp_path / "broken.yaml").write_text("nc: 2\n")
    content = {"path": "made", "train": "images/train", "names": ["a"], "synth": {"train": 1, "val": 0, "test": 0}}
    (tmp_path / "set.yaml").write_text(yaml.safe_dump(content))
    words = [str(tmp_path / "best.pt") if word == "WEIGHTS" else word for word in words]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        parse_train_args([*words, "--data", "set.yaml"])
    assert not (tmp_path / "made").exists()


def test_the_request_holds_what_the_files_say(dataset, tmp_path):
    (tmp_path / "hyp.yaml").write_text("lr0: 0.25\nanchors: 4\n")
    words = ["--data", str(dataset), "--cfg", "yolov5n.yaml", "--hyp", str(tmp_path / "hyp.yaml")]
    request = parse_train_args([*words, "--attention", "SE@neck.P3", "--attention", "ECA@neck.P3"])
    assert (request.hyp.lr0, request.dataset.names) == (0.25, {0: "a", 1: "b"})
    assert (request.spec.nc, request.spec.anchors) == (2, 4)
    assert [layer.module for layer in request.spec.layers if layer.base_row is None] == ["SE", "ECA"]


def test_each_layer_list_is_resolved_once_and_each_file_read_once(dataset, tmp_path, monkeypatch):
    from engine.training.build_run import create_model
    from models.graph import channels_and_strides
    from models.insertion.layer_list import layer_list
    from models.model_yaml import load_spec
    from models.weights.checkpoint import save_model
    from models.yolo import build_model

    save_model(build_model(load_spec("yolov5n.yaml", nc=3)), tmp_path / "start.pt")
    resolved, opened = [], []
    resolve, plain_open = channels_and_strides.resolve, io.open

    def counted(spec):
        resolved.append((len(spec.layers), spec.nc))
        return resolve(spec)

    def watched(file, *arguments, **options):
        opened.append(Path(file).name)
        return plain_open(file, *arguments, **options)

    monkeypatch.setattr(channels_and_strides, "resolve", counted)
    monkeypatch.setattr(io, "open", watched)
    words = ["--attention", "CBAM@neck.P3", "--weights", str(tmp_path / "start.pt"), "--data", str(dataset)]
    request = parse_train_args(["--cfg", "yolov5n.yaml", *words])
    model = create_model(request).model
    layer_list(model.spec)
    # the base, the base with attention, and the model inside the weights
    assert sorted(resolved) == [(25, 2), (25, 3), (26, 2)]
    files = [name for name in opened if name.endswith(".yaml")]
    assert sorted(files) == ["hyp.scratch-low.yaml", "set.yaml", "yolov5n.yaml"]


def test_without_weights_a_stock_size_starts_from_those_at_hand(dataset, root, capsys):
    words = ["--data", str(dataset)]
    shipped = str(root / "weights" / "yolov5n.pt")
    assert parse_train_args(words).config.weights == shipped
    said = capsys.readouterr().out
    assert f"Weights from {shipped}, stock ones of this size; --weights '' starts from scratch" in said
    assert parse_train_args([*words, "--cfg", "yolov5n_ca.yaml"]).config.weights == shipped
    assert parse_train_args([*words, "--cfg", "yolov5n.yaml", "--weights", ""]).config.weights == ""
    assert "Weights from" in capsys.readouterr().out
    request = parse_train_args([*words, "--cfg", "yolov5x.yaml"])
    assert request.config.weights == ""  # not in weights/, and nothing is fetched
    assert "Weights from" not in capsys.readouterr().out


def test_a_yaml_of_a_stock_name_and_another_width_starts_from_scratch(dataset, root, tmp_path):
    text = (root / "models" / "yolov5n.yaml").read_text().replace("width_multiple: 0.25", "width_multiple: 0.125")
    (tmp_path / "yolov5n_thin.yaml").write_text(text)
    assert parse_train_args(["--data", str(dataset), "--cfg", str(tmp_path / "yolov5n_thin.yaml")]).config.weights == ""


def test_a_data_set_may_name_its_hyperparameters(dataset, capsys):
    content = yaml.safe_load(dataset.read_text())
    dataset.write_text(yaml.safe_dump(content | {"hyp": "hyp.no-mirror.yaml"}))
    assert Path(parse(dataset).hyp).name == "hyp.no-mirror.yaml"
    said = capsys.readouterr().out
    assert "Hyperparameters from hyp.no-mirror.yaml, as set.yaml says; --hyp takes others" in said
    assert Path(parse(dataset, "--hyp", "hyp.scratch-low.yaml").hyp).name == "hyp.scratch-low.yaml"
    assert capsys.readouterr().out == ""
    (dataset.parent / "mine.yaml").write_text("lr0: 0.002\n")
    dataset.write_text(yaml.safe_dump(content | {"hyp": "mine.yaml"}))
    assert parse(dataset).hyp == str(dataset.parent / "mine.yaml")
    dataset.write_text(yaml.safe_dump(content | {"hyp": "no-such.yaml"}))
    with pytest.raises(ValueError, match=r"hyperparameter file 'no-such\.yaml' was not found"):
        parse(dataset)
    dataset.write_text(yaml.safe_dump(content | {"hyp": 3}))
    with pytest.raises(ValueError, match=r"set\.yaml: hyp: Expected the name of a hyperparameter file but got 3"):
        parse(dataset)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--class-map", "stop"], "--class-map 'stop': expected a form such as 'stop=stop sign'"),
        (["--class-map", "a=person"], "--class-map says which classes of --weights are carried over"),
    ],
)
def test_wrong_class_maps(dataset, words, message):
    with pytest.raises(ValueError, match=message):
        parse(dataset, *words)
