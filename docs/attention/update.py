"""Bring the generated parts of the attention pages up to date: `python docs/attention/update.py`.

It takes some minutes, with `--keep-costs` seconds. Draws the diagrams, and rewrites in every page what lies between
`<!-- generated: name -->` and `<!-- end -->`: names, options (from the class's signature and docstring), cost, which is
counted, and the start at the identity (from the docstring). Everything else in a page is written by hand.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parents[1])]

import draw  # noqa: E402
import torch  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from models.attention import ALIASES, ATTENTION, accepted_options, create_attention, list_attention  # noqa: E402
from models.cost import count_macs, count_parameters  # noqa: E402

SIZES = ((512, 20), (128, 80))  # channels, height and width
OPTION = r"\n    {}: (.*?)(?=\n    \w+: |\n\n|\Z)"  # in a docstring's Args
BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


class Writes(TorchDispatchMode):
    """Adds up the elements of every tensor that an operation writes."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(
        self,
        function: Any,  # noqa: ANN401  (an operator)
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        result = function(*args, **(kwargs or {}))
        if not any(returned.alias_info for returned in function._schema.returns):
            for tensor in result if isinstance(result, (tuple, list)) else (result,):
                self.elements += tensor.numel() if isinstance(tensor, torch.Tensor) else 0
        return result


@cache
def cost(name: str, channels: int, side: int) -> tuple[int, int | None, float]:
    """Parameters, multiply-adds, and maps written by a forward pass of one image on the CPU."""
    module, x = create_attention(name, channels).eval(), torch.zeros(1, channels, side, side)
    # The products of fused kernels cannot be counted, so they are counted unfused, on tensors without values.
    with FakeTensorMode(allow_non_fake_inputs=True) as fake, sdpa_kernel(SDPBackend.MATH):
        macs = count_macs(module, fake.from_tensor(x))
    with torch.no_grad(), Writes() as writes:
        module(x)
    return count_parameters(module), macs, writes.elements / x.numel()


def shown_macs(macs: int | None) -> str:
    """Millions, with three digits; unknown and none are words."""
    if macs is None:
        return "unknown"
    return f"{float(f'{macs / 1e6:.3g}'):,.10g} M" if macs else "none"


def shown_default(value: object) -> str:
    """A default as a YAML row would write it."""
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return f"`{words[value]}`"
    return f"`{list(value)}`" if isinstance(value, tuple) else f"`{value}`"


def docstring_part(name: str, pattern: str) -> str:
    """What a regular expression finds in the class's docstring, on one line."""
    found = re.search(pattern, inspect.getdoc(ATTENTION[name]) or "", re.DOTALL)
    return " ".join(found[1].split()) if found else ""


def names_block(name: str) -> str:
    """Under which names a row is understood, and what its arguments mean by position."""
    cls, others = ATTENTION[name], sorted(alias for alias, canonical in ALIASES.items() if canonical == name)
    text = "Also understood as " + ", ".join(f"`{other}`" for other in others) + "." if others else ""
    order = [option for option in cls.POSITIONAL if option != "out_channels"]
    if order:
        text += " A fork's row may give, after the channels, " + ", ".join(f"`{option}`" for option in order) + "."
    gates = ", ".join(cls.GATES) or "none"
    return f"{text} Gates that it reports: {gates}.".strip()


def options_block(name: str) -> str:
    """Table of options, defaults and meanings."""
    options = {**accepted_options(name), "start": "paper"}
    rows = ["| option | default | meaning |", "|---|---|---|"]
    for option, default in options.items():
        meaning = docstring_part(name, OPTION.format(option))
        rows.append(f"| `{option}` | {shown_default(default)} | {meaning} |")
    if any(p.kind is p.VAR_KEYWORD for p in inspect.signature(ATTENTION[name]).parameters.values()):
        rows.append(f"| any other | | {docstring_part(name, OPTION.format('options'))} |")
    return "\n".join(rows)


def cost_block(name: str) -> str:
    """Table of costs at two sizes."""
    rows = [
        "| map of one image | parameters | multiply-adds | maps written |",
        "|---|---:|---:|---:|",
    ]
    for channels, side in SIZES:
        parameters, macs, written = cost(name, channels, side)
        rows.append(f"| {channels} × {side} × {side} | {parameters:,} | {shown_macs(macs)} | {written:.1f} |")
    return "\n".join(rows)


def identity_block(name: str) -> str:
    """How the module starts as the identity."""
    return "With `start: identity`: " + docstring_part(name, r"Identity start: (.*?)(?=\n\n|\Z)")


def index_block(_: str) -> str:
    """Table of every module."""
    rows = [
        "| module | year | gates | parameters, 512 × 20 × 20 | multiply-adds | maps written "
        "| parameters, 128 × 80 × 80 | multiply-adds | maps written |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name in list_attention():
        cells = [f"[{name}]({name}.md)", str(ATTENTION[name].YEAR), ", ".join(ATTENTION[name].GATES) or "none"]
        for size in SIZES:
            parameters, macs, written = cost(name, *size)
            cells += [f"{parameters:,}", shown_macs(macs), f"{written:.1f}"]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


BLOCKS = {
    "names": names_block,
    "options": options_block,
    "cost": cost_block,
    "identity": identity_block,
    "index": index_block,
}


def updated(name: str, text: str, only: tuple[str, ...] = tuple(BLOCKS)) -> str:
    """A page with its generated parts made anew."""

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}{BLOCKS[match[2]](name)}\n{match[3]}" if match[2] in only else match[0]

    return BLOCK.sub(fill, text)


def main(argv: list[str] | None = None) -> int:
    """Rewrite diagrams and pages."""
    parser = argparse.ArgumentParser(description="Rewrite the generated parts of the attention pages.")
    parser.add_argument("--keep-costs", action="store_true", help="leave the costs, which take minutes, as they are")
    keep = parser.parse_args(argv).keep_costs
    only = tuple(block for block in BLOCKS if not (keep and block in ("cost", "index")))
    draw.main()
    for name in [*list_attention(), "README"]:
        page = FOLDER / f"{name}.md"
        if not page.exists():
            raise SystemExit(f"docs/attention/{name}.md is missing; write it after an existing page")
        page.write_text(updated(name, page.read_text(encoding="utf-8"), only), encoding="utf-8")
    print(f"{len(list_attention())} pages in {FOLDER}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
