"""What a page names is there for someone who cloned the repository: paths, imports, pictures of a size to load."""

import ast
import importlib
import importlib.util
import re
import subprocess

import pytest

from tests.support.page_blocks import blocks

A_PATH = re.compile(r"(?<![\w/.~-])([\w.-]+(?:/[\w.-]+)+)")
MADE_BY_A_COMMAND = {"weights/best.pt", "weights/last.pt"}
LARGEST_PICTURE = 60_000  # bytes, of the tutorials


@pytest.fixture(scope="module")
def tracked(root):
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=root, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.split("\0") if name and (root / name).exists()]


@pytest.fixture(scope="module")
def pages(root, tracked):
    return {name: (root / name).read_text(encoding="utf-8") for name in tracked if name.endswith(".md")}


def test_no_page_names_a_folder_beside_the_repository(pages):
    assert len(pages) > 60
    assert [name for name, text in pages.items() if "../shared" in text] == []


def test_paths_of_the_repository_exist(pages, tracked):
    there = {name for file in tracked for name in (file, *parents(file))}
    rooms = {file.split("/")[0] for file in tracked if "/" in file}
    missing = []
    for name, text in pages.items():
        named = {
            found[1].rstrip(".-")
            for found in A_PATH.finditer(text)
            if text[found.end() : found.end() + 1] not in "<*{…"
        }
        missing += [(name, path) for path in named - there - MADE_BY_A_COMMAND if path.split("/")[0] in rooms]
    missing = [one for one in missing if one[0] != "CHANGELOG.md"]  # speaks of former states
    assert missing == []


def parents(file):
    parts = file.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def test_imports_of_the_project_in_examples_work(pages):
    rooms = {"models", "engine", "data", "analysis", "files", "utils"}
    wrong, seen = [], 0
    for page, text in pages.items():
        lines = [line for block in blocks(text) if block.language == "python" for line in block.text.splitlines()]
        for line in lines:
            found = re.match(r"from ([\w.]+) import [\w, ]+", line)
            if found and found[1].split(".")[0] in rooms:
                seen += 1
                (statement,) = ast.parse(found[0]).body
                wrong += [(page, line) for one in statement.names if not is_there(found[1], one.name)]
    assert seen > 8
    assert wrong == []


def is_there(module, name):
    if importlib.util.find_spec(module) is None:
        return False
    inside = getattr(importlib.util.find_spec(module), "submodule_search_locations", None)
    if inside and importlib.util.find_spec(f"{module}.{name}"):
        return True
    return hasattr(importlib.import_module(module), name)


def test_pictures_of_tutorials_are_small(root):
    pictures = list((root / "docs" / "images" / "tutorials").iterdir())
    assert len(pictures) >= 4
    assert [one.name for one in pictures if one.stat().st_size > LARGEST_PICTURE] == []
