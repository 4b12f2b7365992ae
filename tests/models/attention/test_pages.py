"""The pages in docs/attention say what the code does."""

import importlib.util
import re
import sys

import pytest
import yaml

from models.attention import ATTENTION, accepted_options, create_attention, list_attention

CHEAP = ("names", "options", "identity")


@pytest.fixture(scope="module")
def folder(root):
    return root / "docs" / "attention"


@pytest.fixture(scope="module")
def update(folder):
    """The script that keeps the pages up to date, as a module."""
    before = list(sys.path)
    spec = importlib.util.spec_from_file_location("update_attention_pages", folder / "update.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before
    sys.modules.pop("draw", None)


def read(folder, name):
    return (folder / f"{name}.md").read_text(encoding="utf-8")


def test_every_module_has_a_page_and_every_page_a_module(folder):
    assert {page.stem for page in folder.glob("*.md")} == {*list_attention(), "README"}
    assert {image.stem for image in (folder / "images").glob("*.svg")} == set(list_attention())


@pytest.mark.parametrize("name", list_attention())
def test_generated_parts_are_up_to_date(folder, update, name):
    text = read(folder, name)
    assert update.updated(name, text, CHEAP) == text, "run: python docs/attention/update.py --keep-costs"
    assert set(re.findall(r"<!-- generated: (\w+) -->", text)) == {*CHEAP, "cost"}


@pytest.mark.parametrize("name", list_attention())
def test_the_options_on_the_page_are_those_of_the_class(folder, name):
    table = read(folder, name).split("## Options")[1].split("## Cost")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", table, re.MULTILINE)
    assert {option for option, _, _ in rows} == {*accepted_options(name), "start"}
    assert all(meaning for _, _, meaning in rows)
    for option, default, _ in rows:
        if option != "start":
            value = yaml.safe_load(default.strip("`"))
            expected = accepted_options(name)[option]
            assert value == (list(expected) if isinstance(expected, tuple) else expected)


@pytest.mark.parametrize("name", list_attention())
def test_the_rows_on_the_page_build(folder, name):
    example = re.search(r"```yaml\n(.*?)```", read(folder, name), re.DOTALL)[1]
    for _, number, module, args in yaml.safe_load(example):
        assert (number, module) == (1, name)
        positional = [arg for arg in args if not isinstance(arg, dict)]
        options = dict(zip(ATTENTION[name].POSITIONAL, positional, strict=False))
        for arg in args:
            options |= arg if isinstance(arg, dict) else {}
        create_attention(name, 64, **options)


@pytest.mark.parametrize("name", list_attention())
def test_the_parameters_on_the_page_are_counted(folder, name):
    table = read(folder, name).split("## Cost")[1]
    written = int(re.search(r"\| 128 × 80 × 80 \| ([\d,]+) \|", table)[1].replace(",", ""))
    assert written == sum(p.numel() for p in create_attention(name, 128).parameters())
    assert "unknown" not in table.split("##")[0]


@pytest.mark.parametrize("name", ["SE", "LSKA", "MHSA", "DoubleAttention"])
def test_multiply_adds_are_counted_by_hand(update, name):
    channels, side = 128, 80
    n = side * side
    by_hand = {
        "SE": 2 * 128 * 8,
        "LSKA": channels * (4 * 3 + channels) * n,
        "MHSA": 3 * channels**2 * n + 2 * n * n * channels,
        # Maps to 2 * 128 logits, pooled descriptors, both small layers, distribution.
        "DoubleAttention": channels * 256 * n + channels * 128 * n + 2 * 128**3 + channels * 128 * n,
    }
    module = create_attention(name, channels).eval()
    with update.FakeTensorMode(allow_non_fake_inputs=True) as fake, update.sdpa_kernel(update.SDPBackend.MATH):
        macs = update.count_macs(module, fake.from_tensor(update.torch.zeros(1, channels, side, side)))
    assert macs == by_hand[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", list_attention())
def test_costs_are_up_to_date(folder, update, name):
    text = read(folder, name)
    assert update.updated(name, text, ("cost",)) == text, "run: python docs/attention/update.py"


def test_the_index_names_every_module_with_the_costs_of_its_page(folder):
    rows = re.findall(
        r"^\| \[(\w+)\]\((\w+)\.md\) \| (\d+) \| .*?\| ([\d,]+) \| ", read(folder, "README"), re.MULTILINE
    )
    assert [name for name, *_ in rows] == list_attention()
    for name, link, year, parameters in rows:
        assert link == name
        assert int(year) == ATTENTION[name].YEAR
        assert f"| 512 × 20 × 20 | {parameters} |" in read(folder, name)


def test_links_lead_somewhere(folder):
    for page in folder.glob("*.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_diagrams_are_drawn_from_the_table(folder, update):
    diagrams = update.draw.read_diagrams()
    assert set(diagrams) == set(list_attention())
    for name, text in diagrams.items():
        image = (folder / "images" / f"{name}.svg").read_text(encoding="utf-8")
        assert image == update.draw.draw(name, text), "run: python docs/attention/draw.py"


def test_no_box_lies_on_another(update):
    for name, text in update.draw.read_diagrams().items():
        boxes, edges = update.draw.parse(text)
        update.draw.place(boxes, edges)
        placed = list(boxes.values())
        for i, a in enumerate(placed):
            for b in placed[:i]:
                apart_x = abs(a.x - b.x) >= (a.width + b.width) / 2
                apart_y = abs(a.y - b.y) >= (a.height + b.height) / 2
                assert apart_x or apart_y, f"{name}: {a.text} on {b.text}"
