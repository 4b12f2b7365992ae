"""What is set before torch is loaded, seen by a process of its own."""

import json
import os
import subprocess
import sys

import pytest

from files.find import ROOT

_SAY = (
    "import json, os; from engine.runtime import core_sharing as c; c.usable_cores = lambda: CORES; {before}"
    "did = c.share_cores(); kept = {{k: v for k, v in os.environ.items() if 'OMP_' in k or 'KMP' in k}}; "
    "print(json.dumps([did, kept]))"
)


def said(cores: int = 4096, before: str = "", **variables: str) -> tuple[bool, dict[str, str]]:
    clean = {name: value for name, value in os.environ.items() if "OMP_" not in name and "KMP_" not in name}
    code = _SAY.format(before=before).replace("CORES", str(cores))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**clean, **variables}, capture_output=True, text=True, check=True
    )
    return tuple(json.loads(done.stdout))


def test_waiting_threads_sleep_soon() -> None:
    assert said() == (True, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"})


@pytest.mark.parametrize("own", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}, {"KMP_BLOCKTIME": "200"}])
def test_a_users_own_setting_wins(own: dict[str, str]) -> None:
    assert said(**own) == (True, own)


def test_no_more_threads_than_cores_it_may_use() -> None:
    assert said(cores=1)[1].get("OMP_NUM_THREADS") == ("1" if (os.cpu_count() or 1) > 1 else None)
    assert said(cores=1, OMP_NUM_THREADS="3")[1]["OMP_NUM_THREADS"] == "3"


def test_nothing_is_set_too_late() -> None:
    assert said(before="import sys; sys.modules['torch'] = sys; ") == (False, {})


def test_scripts_set_it() -> None:
    code = "import os; from engine.config.parser import run_cli; run_cli(lambda: print(os.environ['GOMP_SPINCOUNT']))"
    clean = {name: value for name, value in os.environ.items() if "OMP_" not in name}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean, capture_output=True, text=True, check=True)
    assert done.stdout == "1000\n"
