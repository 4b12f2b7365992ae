"""The user's own modules: found by name in models/common.py and the files of `--module`, read by their signature.

`find_class` is the table, `read_signature` says what a row passes to a class, `output_of` what the class makes of a
map. A file is run only where `load_modules` names it, and nothing that a weights file holds reaches that.
"""

from models.user_modules.probe import check_keeps_map, output_of
from models.user_modules.signature import read_signature
from models.user_modules.table import (
    add_table,
    check_name,
    class_file,
    find_class,
    find_classes,
    load_modules,
    loaded_files,
    names,
    shown_file,
)

__all__ = [
    "add_table",
    "check_keeps_map",
    "check_name",
    "class_file",
    "find_class",
    "find_classes",
    "load_modules",
    "loaded_files",
    "names",
    "output_of",
    "read_signature",
    "shown_file",
]
