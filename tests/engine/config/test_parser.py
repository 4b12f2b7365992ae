"""What the scripts share: parsing, bare names, run folders, one-line errors."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engine.config.files import new_run_folder
from engine.config.parser import ArgumentParser, run_cli
from files.find import ROOT


@pytest.fixture
def parser() -> ArgumentParser:
    parser = ArgumentParser(prog="x.py")
    parser.add_argument("--epochs", type=int, default=100, help="how long")
    parser.add_argument("--imgsz", "--img", type=int, default=640, help="side")
    parser.add_argument("--name", default="exp", help="folder")
    parser.unsupported({"--evolve": "use compare.py", "--bucket": "no cloud here"})
    return parser


def test_values_defaults_and_prefixes(parser: ArgumentParser) -> None:
    options = parser.parse_args(["--epoch", "3", "--img=320"])
    assert (options.epochs, options.imgsz, options.name) == (3, 320, "exp")
    assert parser.parse_args([]).epochs == 100


def test_arguments_come_from_the_command_line_if_not_given(
    parser: ArgumentParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["x.py", "--name", "a"])
    assert parser.parse_args().name == "a"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--evolve"], "x.py: error: --evolve is not supported: use compare.py\n"),
        (["--epochs", "3", "--bucket=a"], "x.py: error: --bucket is not supported: no cloud here\n"),
        (["--epcohs", "3"], "x.py: error: unrecognized argument '--epcohs'; did you mean --epochs?\n"),
        (["--zzz=1"], "x.py: error: unrecognized argument '--zzz=1'; --help lists the flags\n"),
        (["file.yaml"], "x.py: error: unrecognized argument 'file.yaml'; --help lists the flags\n"),
        (["--epochs", "x"], "x.py: error: --epochs x: expected a whole number, e.g. 100\n"),
        (["--epochs"], "x.py: error: --epochs: expected one argument\n"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    parser: ArgumentParser, capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    with pytest.raises(SystemExit) as left:
        parser.parse_args(words)
    assert left.value.code == 2
    assert capsys.readouterr().err == line


def test_help_shows_defaults(parser: ArgumentParser, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parser.parse_args(["--help"])
    assert left.value.code == 0
    assert "how long (default: 100)" in capsys.readouterr().out


def test_it_imports_no_torch() -> None:
    code = "import sys, engine.config.parser; raise SystemExit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


def test_run_folders_are_counted(tmp_path: Path) -> None:
    names = [new_run_folder(tmp_path / "runs", "exp").name for _ in range(3)]
    assert names == ["exp", "exp2", "exp3"]
    assert new_run_folder(tmp_path / "runs", "exp", exist_ok=True).name == "exp"
    assert new_run_folder(tmp_path / "runs", "实验").name == "实验"


def test_runs_started_together_share_no_folder(tmp_path: Path) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(new_run_folder(tmp_path, "exp"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 8


def test_run_folders_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "exp").touch()
    assert new_run_folder(tmp_path, "exp").name == "exp2"
    with pytest.raises(ValueError, match="cannot be made: a file of that name is there"):
        new_run_folder(tmp_path, "exp", exist_ok=True)
    with pytest.raises(ValueError, match="cannot be made"):
        new_run_folder(tmp_path / "exp" / "below", "exp")
    with pytest.raises(ValueError, match="cannot be made"):
        new_run_folder(tmp_path, "x" * 3000)


@pytest.mark.parametrize(
    ("outcome", "code", "line"),
    [
        (None, 0, ""),
        (3, 3, ""),
        (ValueError("a.yaml: row 3: wrong"), 2, "x.py: error: a.yaml: row 3: wrong\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_run_cli(
    outcome: object, code: int, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/some/where/x.py"])

    def main() -> int | None:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome  # type: ignore[return-value]

    assert run_cli(main) == code
    assert capsys.readouterr().err == line


def test_our_own_mistakes_keep_their_traceback() -> None:
    def main() -> None:
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        run_cli(main)


SLEEPER = """
import signal, sys, time
from engine.config.parser import run_cli
def main():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("finishing", flush=True)
        time.sleep(0.3)
        print("finished", flush=True)
sys.exit(run_cli(main))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_script_that_is_told_to_end_finishes_its_files(root: Path, number: int, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # ignored in a shell's background and below nohup
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == "finishing\n"
    if number != signal.SIGINT:  # a second Ctrl-C is meant
        process.send_signal(number)
    out, told = process.communicate(timeout=20)
    assert (out, process.returncode) == ("finished\n", code)
    assert told in ("terminated\n", "interrupted\n")


def test_a_script_that_nohup_shields_goes_on(root: Path) -> None:
    text = SLEEPER.replace("time.sleep(60)", "time.sleep(0.5)")
    process = subprocess.Popen(
        [sys.executable, "-c", text],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_what_others_wrote_is_not_run_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = new_run_folder(tmp_path, "exp")
    (ours / "results.csv").touch()
    assert new_run_folder(tmp_path, "exp", exist_ok=True) == ours
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    assert new_run_folder(tmp_path, "theirs", exist_ok=True) == theirs  # empty
    (theirs / ".run").unlink()
    (theirs / "results.csv").write_text("mine")
    for _ in range(2):
        assert new_run_folder(tmp_path, "theirs", exist_ok=True) == tmp_path / "theirs2"
    assert f"{theirs} holds files that this program did not write" in capsys.readouterr().err
    assert [path.name for path in theirs.iterdir()] == ["results.csv"]
