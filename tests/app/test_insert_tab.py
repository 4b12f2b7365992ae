"""The tab Insert says what `analysis.insertion_trial` says, and mistakes are one message."""

from pathlib import Path

import pytest

from models import build_model, load_spec

gradio_client = pytest.importorskip("gradio_client", reason="the package gradio is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # gradio's client leaves its loop to the collector


def test_an_insertion_is_tried_and_its_yaml_comes_back(client) -> None:
    settings = ("yolov5n.yaml", "weights/yolov5n.pt", "SE", "reduction=8", ["neck.P3", "14"])
    line, costs, rows, tensors, text, file, command = client.predict(*settings, api_name="/insert")
    assert "yes, bit for bit" in line
    assert [row[0] for row in costs["data"]] == [
        "Parameters",
        "Multiply-adds of 320 px, M",
        "Latency of 320 px here, ms",
    ]
    parameters = sum(p.numel() for p in build_model(load_spec("yolov5n.yaml")).parameters())
    assert costs["data"][0][1] == f"{parameters:,}"
    assert ["+", "15", "[-1, 1, SE, [{reduction: 8}]]"] in rows["data"]
    assert ["19", "21", "[[-1, 14], 1, Concat, [1]] → [[-1, 15], 1, Concat, [1]]"] in rows["data"]
    assert tensors.startswith("349 of 349 tensors of yolov5n.pt arrived")
    content = Path(file).read_text("utf-8").rstrip()  # as the field shows it
    assert content == text
    assert "inserted: [15, 19]" in content
    assert command.endswith("--attention 'SE(reduction=8)@neck.P3,14'")
    assert "--weights weights/yolov5n.pt" in command


def test_the_graph_marks_what_is_chosen(client) -> None:
    picture, _ = client.predict("", "weights/yolov5n.pt", ["3"], api_name="/graph")
    assert picture.count('aria-pressed="true"') == 1
    assert 'aria-pressed="true" aria-label="3 Conv' in picture


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({4: []}, "Choose at least one place"),
        ({4: ["neck.P9"]}, "no place"),
        ({3: "sise=1"}, "no option"),
        ({3: ")("}, "expected Name"),
        ({0: "/etc/passwd"}, "lies outside"),
        ({1: "../../secret.pt"}, "lies outside|no such file"),
        ({0: "", 1: ""}, "expected a model YAML or weights"),
    ],
)
def test_mistakes_are_one_message(client, change, said) -> None:
    settings = ["yolov5n.yaml", "", "SE", "", ["neck.P3"]]
    for index, value in change.items():
        settings[index] = value
    with pytest.raises(gradio_client.exceptions.AppError, match=said):
        client.predict(*settings, api_name="/insert")
