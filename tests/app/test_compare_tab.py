"""The tab Compare opens reports in a frame that can do nothing to the page, and checks before it starts."""

import html

import pytest

gradio_client = pytest.importorskip("gradio_client", reason="the package gradio is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # gradio's client leaves its loop to the collector
SETTINGS = ["signs_tiny.yaml", "yolov5n.yaml", "", ["none", "SE"], "neck", 2, 2, 64, 4, "cpu", "tiny"]


def test_a_report_is_opened_in_place(client, folder) -> None:
    (folder / "runs/compare/signs").mkdir(parents=True)
    text = '<h1>"SE" & CBAM</h1><script>parent.document.title = "mine"</script>'
    (folder / "runs/compare/signs/index.html").write_text(text)
    shown = client.predict("runs/compare/signs/index.html", api_name="/compare_report")
    assert 'sandbox="allow-scripts"' in shown
    assert f'srcdoc="{html.escape(text)}"' in shown
    with pytest.raises(gradio_client.exceptions.AppError, match=r"expected the index\.html"):
        client.predict("weights/yolov5n.pt", api_name="/compare_report")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({0: ""}, "Choose a data set"),
        ({1: "/etc/passwd"}, "lies outside"),
        ({10: "../up"}, "without slashes"),
        ({10: "--merge"}, "without slashes"),
        ({3: []}, "attention"),
        ({3: ["--title"]}, "attention"),
    ],
)
def test_mistakes_are_one_message(client, folder, change, said) -> None:
    settings = [change.get(index, value) for index, value in enumerate(SETTINGS)]
    with pytest.raises(gradio_client.exceptions.AppError, match=said):
        client.predict(*settings, api_name="/compare_start")
    assert not (folder / "runs/compare/tiny").exists()
