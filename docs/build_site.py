"""Build the site from the repository's own pages: `python docs/build_site.py`, or `make docs`.

The pages are staged as they lie in the repository, so that a link that works on a code host works in the site. Zensical
stops at a page that is missing; what it writes is then made to work from disk, without a request to anywhere, and every
link to a file is looked up. The site: build/site/index.html.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
PAGES, SITE = ROOT / "build" / "pages", ROOT / "build" / "site"
PAGE_SUFFIXES = {".md", ".png", ".jpg", ".svg", ".gif"}
NOT_PAGES = ("tests/", ".github/", "data/roadsigns_demo/images/")

# The theme's one script from elsewhere, which would let search run from disk.
_REMOTE_SHIM = re.compile(r"<script src=.?https://[^>]*iframe-worker[^>]*></script>")
# Browsers start no worker from a file of a disk; they do from its text.
_SEARCH_FROM_DISK = """if (location.protocol === "file:") {
  const source = %s;
  const Plain = window.Worker;
  window.Worker = class extends Plain {
    constructor(url, options) {
      const search = /\\/search\\.[^/]*js$/.test(String(url));
      super(search ? URL.createObjectURL(new Blob([source], { type: "text/javascript" })) : url, options);
    }
  };
}
"""


class _Links(HTMLParser):
    """What a page loads and what it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value}
        self.anchors.update(values[name] for name in ("id", "name") if name in values)
        if "src" in values or (tag == "link" and "canonical" not in values.get("rel", "")):
            self.loads += [values[name] for name in ("src", "href") if name in values]
        elif "href" in values:
            self.links.append(values["href"])


def main() -> int:
    """Stage, build, mend and check; the number of problems found, as an exit code.

    Raises:
        subprocess.CalledProcessError: If Zensical finds a page missing.
    """
    shutil.rmtree(ROOT / "build" / "pages", ignore_errors=True)
    shutil.rmtree(SITE, ignore_errors=True)
    stage(PAGES)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", str(ROOT / "mkdocs.yml")]
    subprocess.run(command, check=True)
    work_from_disk(SITE)
    problems = find_problems(SITE)
    print(*problems, sep="\n", file=sys.stderr)
    print(f"{len(list(SITE.rglob('*.html')))} pages, {len(problems)} problems: {SITE / 'index.html'}")
    return min(len(problems), 1)


def stage(folder: Path) -> None:
    """Copy every page and picture of the repository that git knows or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in listed.stdout.split("\0"):
        if Path(name).suffix in PAGE_SUFFIXES and not name.startswith(NOT_PAGES) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


def work_from_disk(site: Path) -> None:
    """Let search run from disk, fetch nothing, name the Chinese pages' language, and lead to the same page in it."""
    (worker,) = site.glob("assets/javascripts/workers/search.*.js")
    shim = site / "assets" / "javascripts" / "search_from_disk.js"
    shim.write_text(_SEARCH_FROM_DISK % json.dumps(worker.read_text(encoding="utf-8")), encoding="utf-8")
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        up = "../" * len(page.parent.relative_to(site).parts)
        text = _REMOTE_SHIM.sub(f'<script src="{up}assets/javascripts/{shim.name}"></script>', text)
        if page.name.endswith(".zh-CN.html") or "zh" in page.relative_to(site).parts:
            text = text.replace('<html lang="en"', '<html lang="zh"', 1)
        for language, other in in_both_languages(page, site).items():
            link = quote(os.path.relpath(other, page.parent))
            text = re.sub(
                rf'href="[^"]*" hreflang="{language}" class', f'href="{link}" hreflang="{language}" class', text
            )
        page.write_text(text, encoding="utf-8")


def in_both_languages(page: Path, site: Path) -> dict[str, Path]:
    """A page's file in English and Chinese; nothing where it is not in both."""
    english = site / "docs" / page.relative_to(site / "docs" / "zh") if site / "docs" / "zh" in page.parents else page
    if site / "docs" not in english.parents:
        return {}
    pair = {"en": english, "zh": site / "docs" / "zh" / english.relative_to(site / "docs")}
    return pair if all(one.is_file() for one in pair.values()) else {}


def find_problems(site: Path) -> list[str]:
    """Links that lead nowhere, and whatever a page would load from elsewhere."""
    pages = {page.resolve(): _read(page) for page in site.rglob("*.html")}
    problems: list[str] = []
    for page, read in pages.items():
        shown = page.relative_to(site)
        problems += [f"{shown} loads {url}" for url in read.loads if urlsplit(url).netloc]
        for url in (*read.loads, *read.links):
            parts = urlsplit(url)
            if parts.scheme or parts.netloc or shown.name == "404.html":
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            there = _is_there(target, site)
            target = target / "index.html" if target.is_dir() else target
            if not there:
                problems.append(f"{shown} links to {url}, which does not exist")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                problems.append(f"{shown} links to {url}; that page has no such section")
    return problems


def _is_there(target: Path, site: Path) -> bool:
    """Whether a link's file is in the site; what the repository has beside its pages, as LICENSE, is put there."""
    if not target.is_relative_to(site):
        return False
    source = ROOT / target.relative_to(site)
    if not target.exists() and source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
    if target.is_dir() and not (target / "index.html").exists():
        rows = (f'<li><a href="{quote(one.name)}">{escape(one.name)}</a>' for one in sorted(target.iterdir()))
        (target / "index.html").write_text(
            f"<!doctype html><meta charset=utf-8><title>{escape(target.name)}</title><ul>{''.join(rows)}</ul>",
            encoding="utf-8",
        )
    return target.exists()


def _read(page: Path) -> _Links:
    links = _Links()
    links.feed(page.read_text(encoding="utf-8"))
    return links


if __name__ == "__main__":
    raise SystemExit(main())
