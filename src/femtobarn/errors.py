"""Bad input gets one clear sentence: which file, which field, what was expected, what to do."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType

__all__ = ["InputError", "closest", "require"]


class InputError(Exception):
    """Something the user gave cannot be used; the message is one sentence that says what to do.

    The command line prints it without a traceback and leaves with exit code 2.
    """


def closest(name: str, names: Iterable[str]) -> str:
    """`"; did you mean 'd0'?"` when one of `names` resembles `name`, else the first twelve there are."""
    known = list(names)
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if match:
        return f"; did you mean '{match[0]}'?"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"; there is: {shown}" if known else ""


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra of femtobarn brings it.

    Raises:
        InputError: when the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise InputError(f"{module} is not installed: type `pip install 'femtobarn[{extra}]'`") from None
