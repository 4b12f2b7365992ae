"""`val.py --task study`: figures and speed of each weights file at YOLOv5's image sizes, as a table and a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from data.sources.files import output_names
from engine.config.files import new_run_folder
from engine.config.val_config import ValConfig
from engine.validation.result_table import EvalResult
from engine.validation.run_validation import validate

SIZES_PX = tuple(range(256, 1536 + 1, 128))


def study(config: ValConfig) -> list[EvalResult]:
    """Validate each weights file at each size.

    Writes `study_<data>_<weights>.txt` with a row a size, in YOLOv5's columns: P, R, mAP50, mAP50-95, three losses that
    are 0, and ms per image of pre-processing, network and suppression; and `study.png`.

    Returns:
        The results, file by file, in ascending size.

    Raises:
        ValueError: As `validate`; the rows measured until then are kept.
    """
    folder = new_run_folder(config.project, config.name, exist_ok=config.exist_ok)
    tables: dict[str, np.ndarray] = {}
    results: list[EvalResult] = []
    stems = output_names(list(config.weights))
    for weights, stem in zip(config.weights, stems, strict=True):
        rows: list[tuple[float, ...]] = []
        for size_px in SIZES_PX:
            print(f"\n{weights} at {size_px} px", flush=True)
            plain = replace(config, task="val", weights=(weights,), imgsz=size_px, plots=False)
            results += validate(replace(plain, project=str(folder), name=f"{stem}_{size_px}"))
            figures, _, times = results[-1].original_figures()
            rows.append((*figures, *times))
            tables[stem] = np.array(rows)
            np.savetxt(folder / f"study_{Path(config.data).stem}_{stem}.txt", tables[stem], fmt="%10.4g")
    _plot(tables, folder / "study.png")
    print(f"Results saved to {folder}")
    return results


def _plot(tables: dict[str, np.ndarray], file: Path) -> None:
    """mAP50-95 against the time of network and suppression; the points are sizes."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.subplots()
    for stem, table in tables.items():
        ms = table[:, 8] + table[:, 9]
        axes.plot(ms, table[:, 3], "o-", label=stem)
        for size_px, x, y in zip(SIZES_PX, ms, table[:, 3], strict=True):
            axes.annotate(str(size_px), (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7)
    axes.set(xlabel="network and suppression, ms per image", ylabel="mAP50-95")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=150)
