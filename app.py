"""Look, try and compare in the browser: `python app.py` opens http://127.0.0.1:7860.

pip install -r requirements-app.txt
"""

from app.__main__ import main
from engine.config.parser import run_cli

if __name__ == "__main__":
    raise SystemExit(run_cli(main))
