"""Names of methods and recipes, found through entry points and imported only when used.

A package of your own adds to them by declaring entry points in the groups `femtobarn.methods` and
`femtobarn.recipes`; nothing in femtobarn has to change.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from femtobarn.errors import InputError, closest

__all__ = ["find", "name_of", "names"]


def _entries(kind: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"femtobarn.{kind}")}


def names(kind: str) -> list[str]:
    """All registered names of a kind (`methods` or `recipes`), sorted."""
    return sorted(_entries(kind))


def find(kind: str, name: str) -> Any:
    """The object registered under `name`: a method class or a recipe function.

    Raises:
        InputError: when nothing of that kind has this name.
    """
    entries = _entries(kind)
    if name not in entries:
        raise InputError(
            f"there is no {kind.removesuffix('s')} called '{name}'{closest(name, sorted(entries))}"
        )
    return entries[name].load()


def name_of(kind: str, thing: type) -> str | None:
    """The name under which a class is registered, None when it is not; nothing is imported."""
    value = f"{thing.__module__}:{thing.__qualname__}"
    return next((name for name, entry in _entries(kind).items() if entry.value == value), None)
