"""The list of what the doctor looks for; each check is a small function, one room a subject."""

from analysis.doctor.checks import classes, duplicates, files, labels, look, sizes, suspects
from analysis.doctor.finding import Check

FILES: tuple[Check, ...] = (
    files.unreadable, files.truncated, files.unreadable_label, files.wrong_suffix, files.passed_over,
    files.exif_rotation, files.odd_size, files.no_labels, files.image_without_labels, files.label_without_image,
)  # fmt: skip
LABELS: tuple[Check, ...] = (
    labels.outside, labels.without_size, labels.beyond_names, labels.form, labels.duplicate, labels.two_classes,
    labels.covers_everything, labels.reaches_outside, labels.mixed_outlines,
)  # fmt: skip
SET: tuple[Check, ...] = (
    classes.unused, classes.rare, classes.missing_in_val, classes.few_in_val, classes.mirrored,
    sizes.tiny, sizes.small, sizes.anchors,
)  # fmt: skip
PIXELS: tuple[Check, ...] = (
    duplicates.leak, duplicates.near_leak, duplicates.clip_leak, duplicates.duplicate, duplicates.near_duplicate,
    look.dark, look.bright, look.blurred, look.blank,
)  # fmt: skip
CHECKS: tuple[Check, ...] = (*FILES, *LABELS, *SET, *PIXELS, *suspects.SUSPECTS, suspects.by_cleanlab)

# What train.py runs: only arrays that it has read anyway, and nothing that it tells of by itself.
BRIEF: tuple[Check, ...] = (
    labels.duplicate, labels.two_classes, labels.covers_everything, labels.reaches_outside, labels.mixed_outlines,
    classes.rare, classes.missing_in_val, sizes.small,
)  # fmt: skip
