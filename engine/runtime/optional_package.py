"""Packages that only some features need, imported where they are used."""

import importlib
from types import ModuleType


def require(package: str, why: str) -> ModuleType:
    """Import an optional package.

    Raises:
        ValueError: If it is not installed; says what for and how to get it.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package.split(".")[0]:
            raise
        raise ValueError(f"{why} needs the package {error.name}; install it with pip install {error.name}") from None
