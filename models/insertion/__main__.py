"""`python -m models.insertion`: write the complete layer list of a model with attention inserted."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from models import insert, load_modules, load_spec
from models.insertion.layer_list import layer_list
from models.insertion.places import places


def main(argv: Sequence[str] | None = None) -> int:
    """Write the complete layer list of a model with attention inserted."""
    parser = argparse.ArgumentParser(prog="python -m models.insertion", description=main.__doc__)
    parser.add_argument("--cfg", required=True, help="model YAML, a path or a name in models/")
    parser.add_argument("--attention", action="append", default=[], help="e.g. 'CBAM(kernel_size=3)@neck.P3,neck.P4'")
    parser.add_argument("--start", choices=("paper", "identity"), help="start of every inserted module")
    parser.add_argument("--out", type=Path, help="file to write; the terminal if not given")
    parser.add_argument("--module", nargs="+", default=[], metavar="FILE", help="Python files with your own classes")
    options = parser.parse_args(argv)
    try:
        load_modules(options.module)
        if options.start and not options.attention:
            raise ValueError("--start: expected --attention beside it, whose modules it is for")
        spec = load_spec(options.cfg)
        if options.attention:
            spec = insert(spec, options.attention, start=options.start)
        title = f"# {options.cfg}" + "".join(f", {a}" for a in options.attention)
        text = f"{title}\n# places: {', '.join(places(spec))}\n\n{layer_list(spec)}"
        if options.out is not None:
            options.out.write_text(text, encoding="utf-8")
    except ValueError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    except OSError as error:
        parser.exit(2, f"{parser.prog}: error: {options.out} cannot be written: {error}\n")
    print(text if options.out is None else f"wrote {options.out}\n", end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
