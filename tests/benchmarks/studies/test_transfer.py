"""The study of loading: what each arm starts from, and what its results say."""

from pathlib import Path

import pytest
import torch

from benchmarks.studies.transfer import Arm, arms, collect, initial_model, table, write_results
from engine.training.results_csv import ResultsFile
from models import build_model, load_spec, save_model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a yolov5n of three classes."""
    torch.manual_seed(5)
    file = tmp_path_factory.mktemp("base") / "base.pt"
    save_model(build_model(load_spec("yolov5n.yaml", nc=3)), file)
    return file


def features(model: torch.nn.Module) -> torch.Tensor:
    """Box and objectness columns, which do not depend on the class channels."""
    with torch.no_grad():
        return model.eval()(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)))[..., :5]


def test_transfer_with_the_identity_start_begins_as_the_base(base: Path) -> None:
    plain = features(initial_model(Arm("", "transfer", ""), base, 4, seed=0))
    attended = features(initial_model(Arm("CBAM", "transfer", "identity"), base, 4, seed=0))
    assert torch.equal(plain, attended)
    assert not torch.equal(plain, features(initial_model(Arm("CBAM", "transfer", "paper"), base, 4, seed=0)))


def test_naive_loading_keeps_what_has_the_same_key_and_shape(base: Path) -> None:
    source = torch.load(base, weights_only=True)
    source = next(value for value in source.values() if isinstance(value, dict) and "model.0.conv.weight" in value)
    own = initial_model(Arm("SE", "naive", "identity"), base, 4, seed=0).state_dict()
    assert torch.equal(own["model.17.cv1.conv.weight"], source["model.17.cv1.conv.weight"].float())
    assert torch.equal(own["model.9.cv2.conv.weight"], source["model.9.cv2.conv.weight"].float())
    # Row 18 of the base, a 3x3 convolution, is row 19 behind the inserted one; its key there is not in the base.
    assert not torch.equal(own["model.19.conv.weight"], source["model.18.conv.weight"].float())


def test_results_hold_finished_runs_only(tmp_path: Path) -> None:
    chosen = arms(["CBAM"])
    assert [arm.title for arm in chosen][:3] == [
        "no attention, transfer", "CBAM, naive, paper start", "CBAM, naive, identity start",
    ]  # fmt: skip
    for arm, seed, epochs in ((chosen[0], 0, 2), (chosen[0], 1, 2), (chosen[1], 0, 2), (chosen[2], 0, 1)):
        folder = tmp_path / "runs" / arm.folder(seed)
        folder.mkdir(parents=True)
        for epoch in range(epochs):
            ResultsFile(folder / "results.csv").append(epoch, {"metrics/mAP_0.5:0.95": 0.1 * (epoch + 1 + seed)})
    rows = list(collect(tmp_path / "runs", chosen, range(2), 2))
    assert [(row["title"], row["seed"], row["epoch"], row["mAP50-95"]) for row in rows] == [
        ("no attention, transfer", 0, 1, 0.1),
        ("no attention, transfer", 0, 2, 0.2),
        ("no attention, transfer", 1, 1, 0.2),
        ("no attention, transfer", 1, 2, 0.3),
        ("CBAM, naive, paper start", 0, 1, 0.1),
        ("CBAM, naive, paper start", 0, 2, 0.2),
    ]
    assert "| no attention, transfer | 2 | 0.150 ± 0.071 | 0.150 ± 0.071 | 0.250 ± 0.071 |" in table(rows)
    write_results(rows, tmp_path / "out")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"curves.csv", "curves.png", "table.md"}
