"""The tab Data: the doctor's page, and images by class and size as a count by hand has them."""

import pytest
from PIL import Image

gradio_client = pytest.importorskip("gradio_client", reason="the package gradio is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # gradio's client leaves its loop to the collector
BOXES = {  # of each image: class and side, px of 200
    "a": [(0, 20), (1, 50)],
    "b": [(0, 120)],
    "c": [(1, 30), (1, 150)],
    "d": [],
}


@pytest.fixture(scope="module")
def data(folder) -> str:
    """A set whose names would be markup."""
    for kind in ("images", "labels"):
        (folder / f"set/{kind}/val").mkdir(parents=True)
    for name, boxes in BOXES.items():
        Image.new("RGB", (200, 200), (40 * len(boxes), 90, 90)).save(folder / f"set/images/val/{name}.png")
        rows = [f"{kind} 0.5 0.5 {side / 200} {side / 200}\n" for kind, side in boxes]
        (folder / f"set/labels/val/{name}.txt").write_text("".join(rows))
    (folder / "set.yaml").write_text("path: set\nval: images/val\nnames: ['<script>alert(1)</script>', pole]\n")
    return "set.yaml"


def test_the_doctors_page_is_shown_and_can_do_nothing_to_ours(client, data) -> None:
    line, shown = client.predict(data, "", True, api_name="/examine")
    assert "warning" in line
    assert shown.startswith("<iframe")
    assert 'sandbox="allow-scripts"' in shown
    assert "<script" not in shown
    assert "&lt;h1&gt;Data set set.yaml&lt;/h1&gt;" in shown


@pytest.mark.parametrize(
    ("kind", "size", "images", "boxes"),
    [("", "", 4, 5), ("pole", "", 2, 3), ("pole", "small", 1, 1), ("", "medium", 1, 1), ("", "large", 2, 2)],
)
def test_images_by_class_and_size(client, data, kind, size, images, boxes) -> None:
    line, shown = client.predict(data, "val", kind, size, 1, api_name="/browse")
    assert line == f"{images} images with {boxes} such boxes; page 1 of 1"
    assert len(shown) == images


def test_class_names_are_offered(client, data) -> None:
    assert [name for _, name in client.predict(data, api_name="/data_classes")["choices"]] == [
        "",
        "<script>alert(1)</script>",
        "pole",
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("/etc/passwd", "val", "", "", 1), "outside"),
        (("set.yaml", "train", "", "", 1), "train"),
        (("set.yaml", "val", "unicorn", "", 1), "unicorn"),
        ((None, "val", "", "", 1), "expected the path"),
    ],
)
def test_mistakes_are_one_message(client, data, given, said) -> None:
    with pytest.raises(gradio_client.exceptions.AppError, match=said):
        client.predict(*given, api_name="/browse")
