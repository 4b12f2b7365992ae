"""The words of the report, explained once: as tooltips of the heads and as the page's last section."""

from __future__ import annotations

from engine.validation.error_types import COSTS

_KINDS = {
    "classification": "an object found at its place under a wrong class",
    "localisation": "the right class, but the box overlaps the object by an IoU of only 0.1 to 0.5",
    "both": "a wrong class and a box that overlaps an object only by 0.1 to 0.5",
    "duplicate": "a second box on an object that is found already",
    "background": "a box where no object is (IoU of at most 0.1 with every one)",
    "missed": "objects that no box found, nor nearly found",
    "false_positives": "all false boxes together",
    "false_negatives": "all objects not found, whatever the reason",
}

TERMS = {
    "mAP50-95": "How well objects are found, 0 to 1: average precision at IoU thresholds 0.5 to 0.95, mean over the "
    "classes, as train.py and val.py measure it. ± is the standard deviation over the seeds.",
    "difference": "mAP50-95 of the configuration minus that of the baseline in points (hundredths), paired by seed.",
    "95 % interval": "In 95 of 100 such studies this holds the difference that endless seeds and images would show. "
    "If it holds 0, the difference may be chance.",
    "verdict": "better or worse: zero is excluded even though several configurations were tried (p (Holm) below 0.05). "
    "Cannot be told apart does not mean equal.",
    "p (Holm)": "How often chance alone would give a difference as large if there were none, raised for the number of "
    "comparisons in this report (Holm 1979).",
    "seeds for ½ point": "How many seeds would show a true difference of half a point in four of five studies. 'No "
    "number' means that the validation images vary too much: more images are needed, not more seeds.",
    "AP (COCO)": "The same idea as mAP50-95 by COCO's rules: at most 100 boxes an image, steps in place of straight "
    "lines between the points of the curve. It differs from mAP50-95 in the third digit.",
    "AR": "Average recall: the share of the objects found by the most confident 1, 10 or 100 boxes of an image.",
    "object size": "COCO's: small is below 32 x 32 px of the original image, large above 96 x 96 px.",
    "params": "Trainable numbers of the model, millions.",
    "MACs": "Multiply-accumulate operations of one image, billions; FLOPs are twice as many.",
    "latency": "Milliseconds of one image through the fused network: median, and quartiles. Where the quartiles of "
    "two overlap, their order means nothing.",
    "training": "Wall-clock time of a run, h:mm:ss; comparable only where the machine did nothing else.",
    "front": "The configurations that no other beats in both price and mAP50-95.",
    "epoch": "Passes over the training images, counted from 0 as in train.py's log and results.csv.",
    "cam": "LayerCAM: bright where what the backbone found there raises the confidence of the detections. It says "
    "where a score comes from, not why, and each map is scaled to its own maximum.",
    "gates": "What each attention module multiplied its map with. Near 1 everywhere means that it changes nothing.",
    "dAP": "By how many points AP at IoU 0.5 would rise if this kind of mistake alone were mended (TIDE, Bolya et al. "
    "2020). The kinds hide each other and do not add up.",
    **{name.replace("_", " "): f"dAP: {_KINDS[name]}." for name in COSTS},
}


def anchor(term: str) -> str:
    """The id of a term's explanation on the page."""
    return "term-" + "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in term.lower())
