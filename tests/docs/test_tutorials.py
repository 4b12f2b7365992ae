"""Every command of the Start and Tutorials pages is run, or the page says what it needs that a test has not."""

import shutil

import pytest

from tests.support.page_blocks import NEEDED, blocks, copy_of_repository, run_page

RUN = [  # in the order of the site
    "start/install.md",
    "start/ten-minutes.md",
    "tutorials/own-data.md",
    "tutorials/insert-attention.md",
    "tutorials/ablation.md",
    "tutorials/heat-maps.md",
    "tutorials/deploy.md",
    "tutorials/from-yolov5.md",
]
SHELLS = {"bash", "python", "yaml", "text", "powershell", "dockerfile"}


@pytest.fixture(scope="module")
def copied(root, tmp_path_factory):
    return copy_of_repository(root, tmp_path_factory.mktemp("clone"))


def test_every_page_is_run_or_says_why_not(root):
    pages = {
        page.relative_to(root / "docs").as_posix()
        for part in ("start", "tutorials")
        for page in (root / "docs" / part).glob("*.md")
    }
    assert pages == {*RUN, "tutorials/README.md"}
    for name in sorted(pages):
        for block in blocks((root / "docs" / name).read_text(encoding="utf-8")):
            assert block.language in SHELLS, f"{name}:{block.line}"
            assert not block.needs or block.needs in NEEDED, f"{name}:{block.line}: {block.needs}"
            runs = name in RUN or block.language == "text"
            assert runs or block.needs, f"{name}:{block.line}: no test runs this page; say what it needs"


@pytest.mark.parametrize("name", RUN)
@pytest.mark.slow
def test_the_commands_of_a_page_do_what_it_says(name, root, copied, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    folder = shutil.copytree(copied, tmp_path / "clone")
    assert run_page(root / "docs" / name, folder)


def test_a_page_that_fails_or_prints_something_else_is_told(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```bash\n# note.txt\nhello\n```\n\n```bash\ncat note.txt\n```\n\n```text\nhello\n```\n", encoding="utf-8"
    )
    assert "hello" in run_page(page, tmp_path)[0]
    page.write_text("```bash\nfalse\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"page\.md:1: exit code 1"):
        run_page(page, tmp_path)
    page.write_text("```bash\nfalse  # exit code 1\n```\n\n```text\nnever\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="not printed"):
        run_page(page, tmp_path)
    page.write_text("**Needs a GPU.**\n\n```bash\nfalse\n```\n", encoding="utf-8")
    assert run_page(page, tmp_path) == []
