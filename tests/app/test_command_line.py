"""The flags of app.py; mistakes end with one line and exit code 2 before anything heavy is loaded."""

import subprocess
import sys

import pytest

from app import command_line
from app.command_line import parse_opt


@pytest.fixture(autouse=True)
def _gradio_is_installed(monkeypatch) -> None:
    monkeypatch.setattr(command_line, "find_spec", lambda name: object())


def test_defaults_stay_on_this_machine() -> None:
    opt = parse_opt([])
    assert (opt.host, opt.port, opt.auth, opt.folder) == ("127.0.0.1", 7860, None, None)


def test_others_are_let_in_with_a_password_only(tmp_path) -> None:
    with pytest.raises(ValueError, match="--auth user:password"):
        parse_opt(["--host", "0.0.0.0"])
    opt = parse_opt(["--host", "0.0.0.0", "--auth", "me:a:b", "--folder", str(tmp_path)])
    assert opt.auth == ("me", "a:b")
    assert opt.folder == [str(tmp_path)]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1"])
def test_addresses_of_this_machine_need_none(host) -> None:
    assert parse_opt(["--host", host]).auth is None


@pytest.mark.parametrize(
    "words", [["--port", "0"], ["--port", "99999"], ["--auth", "nobody"], ["--auth", ":"], ["--folder", "/no/such"]]
)
def test_mistakes_name_the_flag(words) -> None:
    with pytest.raises(ValueError, match=words[0]):
        parse_opt(words)


def test_without_gradio_it_says_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setattr(command_line, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install -r requirements-app\.txt"):
        parse_opt([])


def test_the_script_from_another_folder(root, tmp_path) -> None:
    given = [sys.executable, str(root / "app.py"), "--prot", "1"]
    ended = subprocess.run(given, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("app.py: error: unrecognized argument '--prot'; did you mean --port")
    assert ended.stderr.count("\n") == 1
