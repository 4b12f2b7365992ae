"""Chinese sections that are older than the English ones are named, and there are none."""

import importlib.util

import pytest

from tests.support.page_blocks import blocks

ENGLISH = "# Title\n\nWords.\n\n## One\n\n```bash\n## no heading\n```\n\n## Two\n\nMore\nwords.\n"
CHINESE = "# 标题\n\n词。\n\n## 一\n\n```bash\n## no heading\n```\n\n## 二\n\n更多。\n"


@pytest.fixture
def translations(root):
    spec = importlib.util.spec_from_file_location("docs_translations", root / "docs" / "translations.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pair(tmp_path, translations):
    english, chinese = tmp_path / "docs" / "page.md", tmp_path / "docs" / "zh" / "page.md"
    chinese.parent.mkdir(parents=True)
    english.write_text(ENGLISH, encoding="utf-8")
    chinese.write_text(CHINESE, encoding="utf-8")
    assert translations.english_of(chinese) == english
    return chinese, english


def test_no_chinese_section_is_older_than_the_english_one(translations, root):
    pages = translations.chinese_pages(root)
    assert len(pages) > 5
    found = [line for page in pages for line in translations.stale(page, translations.english_of(page))]
    assert found == [], "translate them, then: python docs/translations.py --mark PAGE"


def test_an_unmarked_page_is_stale_until_it_is_marked(translations, pair):
    assert len(translations.stale(*pair)) == 3
    translations.mark(*pair)
    assert translations.stale(*pair) == []
    marked = pair[0].read_text(encoding="utf-8")
    translations.mark(*pair)
    assert pair[0].read_text(encoding="utf-8") == marked


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("More\nwords.", "Other words.", "'二' is of"),
        ("## no heading", "## another", "'一' is of"),
        ("## Two", "## New\n\nx\n\n## Two", "lacks 'Two'"),
        ("## Two\n\nMore\nwords.\n", "", "'二' has no section"),
    ],
)
def test_a_changed_english_section_is_named(old, new, told, translations, pair):
    translations.mark(*pair)
    pair[1].write_text(ENGLISH.replace(old, new), encoding="utf-8")
    assert any(told in line for line in translations.stale(*pair))


def test_where_lines_break_is_no_change(translations, pair):
    translations.mark(*pair)
    pair[1].write_text(ENGLISH.replace("More\nwords.", "More words."), encoding="utf-8")
    assert translations.stale(*pair) == []


def test_chinese_pages_give_the_commands_of_the_english_ones(translations, root):
    for page in translations.chinese_pages(root)[1:]:
        here, there = (
            [(one.language, one.commands, bool(one.needs)) for one in blocks(file.read_text(encoding="utf-8"))]
            for file in (page, translations.english_of(page))
        )
        assert here == there, page
