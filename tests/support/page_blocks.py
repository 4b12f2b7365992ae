"""The fenced blocks of a page of docs/, and how a test runs them as a reader would.

`bash` and `python` blocks are run in their order in one copy of the repository. A block whose first line is a comment
that names a file, as `# my_gate.py`, is that file. So that a page takes minutes, and not hours, `--epochs` and `--img`
are made small (`SMALL`); whatever else a page says is run to the letter. What no test can run says so in the paragraph
above it, in bold: one of `NEEDS`.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

NEEDS = re.compile(r"\*\*(?:Needs? (?:an? )?|需要)([^*]+?)[.:。:]?\*\*")
NEEDED = {
    **dict.fromkeys(("GPU", "NVIDIA GPU"), "GPU"),
    **dict.fromkeys(("camera", "摄像头"), "camera"),
    **dict.fromkeys(("network", "网络"), "network"),
    **dict.fromkeys(("display", "显示器"), "display"),
    "Windows": "Windows",
    "Docker": "Docker",
    **dict.fromkeys(("YOLOv5 project", "YOLOv5 项目"), "YOLOv5 project"),
}
SMALL = ((r"--epochs \d+", "--epochs 1"), (r"--img \d+", "--img 64"), (r"--seeds \d+", "--seeds 2"))
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w.-]+\.\w+)\n")
LEFT_OUT = ("docs/results/", "tests/", "benchmarks/", ".")


class Block(NamedTuple):
    language: str
    text: str
    needs: str  # what a test lacks; empty for one that runs
    line: int

    @property
    def file(self) -> str:
        """The name of the file that the block is, or nothing."""
        found = _FILE.match(self.text) if self.language in ("python", "yaml", "bash") else None
        return found[1] if found else ""

    @property
    def commands(self) -> str:
        """The block without comments and with one space for many: the same in every language of the page."""
        lines = (re.sub(r"(^|\s)#.*", "", line) for line in self.text.splitlines())
        return "\n".join(" ".join(line.split()) for line in lines if line.strip())


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = []
    for fence in _FENCE.finditer(text):
        above = text[: fence.start()].rstrip().rsplit("\n\n", 1)[-1]
        mark = NEEDS.search(above)
        line = text.count("\n", 0, fence.start()) + 1
        found.append(Block(fence[1], fence[2], mark[1].strip() if mark else "", line))
    return found


def copy_of_repository(root: Path, folder: Path) -> Path:
    """What a clone holds, without results and tests: a folder in which a page's commands may write."""
    words = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    listed = subprocess.run(words, cwd=root, check=True, capture_output=True)
    for name in listed.stdout.decode().split("\0"):
        if name and not name.startswith(LEFT_OUT) and (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, folder / name)
    return folder


def run_page(page: Path, folder: Path) -> list[str]:
    """Run a page's blocks in a folder, and hold its `text` blocks against what the command above them printed.

    Returns:
        What each block printed.

    Raises:
        AssertionError: If a command's exit code is not 0, or not what a comment `# exit code N` tells, or a line of
            a `text` block was not printed.
    """
    printed: list[str] = []
    for block in blocks(page.read_text(encoding="utf-8")):
        where = f"{page.name}:{block.line}"
        if block.needs:
            continue
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language in ("bash", "python"):
            printed.append(_run(block, folder, where))
        elif block.language == "text" and printed:
            said = " ".join(printed[-1].split())
            missing = [line for line in block.text.splitlines() if " ".join(line.split()) not in said]
            assert not missing, f"{where}: not printed: {missing}\n{printed[-1][-3000:]}"
    return printed


def _run(block: Block, folder: Path, where: str) -> str:
    text = block.text
    for pattern, small in SMALL:
        text = re.sub(pattern, small, text)
    words = ["bash", "-euo", "pipefail", "-c", text] if block.language == "bash" else [sys.executable, "-c", text]
    done = subprocess.run(words, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900)
    told = re.search(r"# exit code (\d+)", text)
    assert done.returncode == int(told[1] if told else 0), (
        f"{where}: exit code {done.returncode}\n{done.stdout[-4000:]}"
    )
    return done.stdout
