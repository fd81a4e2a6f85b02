"""Tables of columns of equal length: selecting, joining and ordering rows in one place."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Table"]


@dataclass(frozen=True)
class Table:
    """Base of dataclasses whose fields are arrays with one entry per row."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def take(self, index: NDArray[Any]) -> Self:
        """The rows of an index or a mask."""
        return type(self)(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    def with_columns(self, **columns: Any) -> Self:
        """A copy with some columns replaced."""
        return type(self)(**{field.name: getattr(self, field.name) for field in fields(self)} | columns)

    def joined(self, *others: Self) -> Self:
        """The rows of this table and then those of the others."""
        names = [field.name for field in fields(self)]
        return type(self)(**{n: np.concatenate([getattr(t, n) for t in (self, *others)]) for n in names})

    def ordered(self, by: str) -> Self:
        """Rows sorted by one column, those that agree in it staying in order."""
        return self.take(np.argsort(getattr(self, by), kind="stable"))
