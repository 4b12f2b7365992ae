"""The site is built from the repository's pages, works from disk and lacks nothing; the reference pages are current."""

import importlib.util
import shutil
import sys

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def load(file, monkeypatch):
    """A script of docs/ as a module."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location(f"docs_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def builder(root, monkeypatch):
    return load(root / "docs" / "build_site.py", monkeypatch)


@pytest.mark.parametrize("page", ["flags.md", "hyperparameters.md", "messages.md", "modules.md", "python.md"])
def test_reference_pages_say_what_the_code_does(page, root, monkeypatch):
    update = load(root / "docs" / "reference" / "update.py", monkeypatch)
    committed = (root / "docs" / "reference" / page).read_text(encoding="utf-8")
    assert committed == update.pages()[page], "run: python docs/reference/update.py"


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_table_of_modules_in_a_readme_is_current(name, root, monkeypatch):
    update = load(root / "docs" / "reference" / "update.py", monkeypatch)
    text = (root / name).read_text(encoding="utf-8")
    assert "| [CoordAtt](docs/attention/CoordAtt.md) |" in text
    assert update.code_pages.readme(text, name) == text, "run: python docs/reference/update.py"
    stale = text.replace("| 2021 |", "| 1921 |")
    assert update.code_pages.readme(stale, name) == text


def test_every_flag_of_a_script_is_on_the_page(root):
    from engine.config.detect_config import build_parser

    page = (root / "docs" / "reference" / "flags.md").read_text(encoding="utf-8")
    detect = page.split("## detect.py")[1].split("\n## ")[0]
    names = [name for action in build_parser()._actions for name in action.option_strings if len(name) > 2]
    assert len(names) > 30
    assert [name for name in names if f"`{name}`" not in detect] == ["--help"]


def page(folder, name, body):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f'<!doctype html><html lang="en"><body>{body}</body></html>', encoding="utf-8")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="other.html#here">x</a><a href="https://example.org">y</a><img src="a.png">', None),
        ('<a href="gone.html">x</a>', "links to gone.html, which does not exist"),
        ('<a href="other.html#gone">x</a>', "has no such section"),
        ('<a href="../outside.html">x</a>', "which does not exist"),
        ('<img src="https://example.org/a.png">', "loads https://example.org/a.png"),
        ('<script src="https://example.org/a.js"></script>', "loads https://example.org/a.js"),
    ],
)
def test_dead_links_and_remote_parts_are_found(body, problem, builder, tmp_path):
    site = tmp_path / "site"
    page(site, "index.html", body)
    page(site, "other.html", '<h2 id="here">x</h2>')
    (site / "a.png").write_bytes(b"")
    (tmp_path / "outside.html").write_text("", encoding="utf-8")
    found = builder.find_problems(site)
    assert len(found) == (problem is not None)
    assert problem is None or problem in found[0]


def test_a_link_to_a_file_of_the_repository_brings_the_file(builder, tmp_path):
    site = tmp_path / "site"
    page(site, "index.html", '<a href="LICENSE">x</a><a href="data/hyps">y</a>')
    assert builder.find_problems(site) == []
    assert (site / "LICENSE").read_bytes() == (builder.ROOT / "LICENSE").read_bytes()
    assert "hyp.scratch-low.yaml" in (site / "data" / "hyps" / "index.html").read_text(encoding="utf-8")


def test_the_language_switch_leads_to_the_same_page(builder, tmp_path):
    site = tmp_path / "site"
    for name in ("index.html", "docs/a.html", "docs/zh/a.html", "docs/only.html"):
        page(site, name, "")
    both = {"en": site / "docs" / "a.html", "zh": site / "docs" / "zh" / "a.html"}
    assert builder.in_both_languages(both["en"], site) == builder.in_both_languages(both["zh"], site) == both
    assert builder.in_both_languages(site / "docs" / "only.html", site) == {}
    assert builder.in_both_languages(site / "index.html", site) == {}


def test_the_site_searches_from_disk_and_asks_nobody(builder, tmp_path, monkeypatch):
    pytest.importorskip("zensical")
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    if not (builder.SITE / "index.html").exists():
        assert builder.main() == 0
    asked, complaints = [], []
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        view = browser.new_page()
        view.on("request", lambda one: asked.append(one.url))
        view.on("pageerror", lambda one: complaints.append(str(one)))
        view.goto((builder.SITE / "README.zh-CN.html").as_uri())
        assert view.get_attribute("html", "lang") == "zh"
        view.goto((builder.SITE / "index.html").as_uri())
        view.keyboard.press("/")
        view.keyboard.type("coordinate")
        view.get_by_text("CoordAtt").first.wait_for(timeout=10_000)
        browser.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
