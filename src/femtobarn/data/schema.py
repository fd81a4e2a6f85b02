"""`Schema`: which fields there are, of which type, and what the codes of labels mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np

from femtobarn.errors import InputError, closest

__all__ = ["DType", "Schema"]

DType = np.dtype[Any]


@dataclass(frozen=True)
class Schema:
    """Fields of a sample.

    Attributes:
        scalars: type of each field with one number per row.
        collections: type of each field of each collection of variable length. A list of plain numbers, such
            as `LHEPdfWeight` in NanoAOD, is a collection with the single field "".
        classes: class names of integer labels, in the order of their codes, by field: "flavour_label", or
            "tracks.ftagTruthOriginLabel" for a field of a collection.
        other: awkward type of everything else (strings, lists of lists), by field; read and converted as it
            is, of no use to a network.
    """

    scalars: dict[str, DType]
    collections: dict[str, dict[str, DType]]
    classes: dict[str, list[str]] = field(default_factory=dict)
    other: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, array: ak.Array, classes: dict[str, list[str]] | None = None) -> Schema:
        """Schema of an awkward array of records."""
        return cls.of_type(array.layout.form.type, classes)

    @classmethod
    def of_type(cls, record: Any, classes: dict[str, list[str]] | None = None) -> Schema:
        """Schema of an awkward record type."""
        schema = cls({}, {}, dict(classes or {}), {})
        if not isinstance(record, ak.types.RecordType):
            raise InputError(f"expected one record with named fields per row, found {record}")
        for name, content in zip(record.fields, record.contents, strict=True):
            schema._add(name, content)
        return schema

    def _add(self, name: str, content: Any) -> None:
        if (dtype := _number(content)) is not None:
            self.scalars[name] = dtype
        elif not isinstance(content, ak.types.ListType) or content.parameters:
            self.other[name] = str(content)
        elif (dtype := _number(content.content)) is not None:
            self.collections[name] = {"": dtype}
        elif isinstance(content.content, ak.types.RecordType) and content.content.fields:
            self.collections[name] = {}
            for inner, kind in zip(content.content.fields, content.content.contents, strict=True):
                if (dtype := _number(kind)) is not None:
                    self.collections[name][inner] = dtype
                else:
                    self.other[f"{name}.{inner}"] = str(kind)
        else:
            self.other[name] = str(content)

    @property
    def names(self) -> list[str]:
        """All fields, those of collections as "tracks.d0"."""
        inner = [
            f"{name}.{inner}" if inner else name
            for name, fields in self.collections.items()
            for inner in fields
        ]
        return [*self.scalars, *inner, *self.other]

    def restrict(self, fields: Iterable[str] | None, where: str) -> Schema:
        """The schema of some fields only; "tracks" means the collection with all its fields. None:
        everything.

        Raises:
            InputError: naming `where` (the file), the field that is not there and the closest that is, or all
                that are not there.
        """
        if fields is None:
            return self
        scalars: dict[str, DType] = {}
        collections: dict[str, dict[str, DType]] = {}
        other: dict[str, str] = {}
        missing: dict[str, None] = {}
        for name in fields:
            outer, _, inner = name.partition(".")
            nested = {key: kind for key, kind in self.other.items() if key.partition(".")[0] == name}
            if name in self.scalars:
                scalars[name] = self.scalars[name]
            elif name in self.collections:
                collections.setdefault(name, {}).update(self.collections[name])
                other |= nested
            elif inner and inner in self.collections.get(outer, {}):
                collections.setdefault(outer, {})[inner] = self.collections[outer][inner]
            elif name in self.other:
                other[name] = self.other[name]
            elif nested:
                other |= nested
            else:
                missing[name] = None
        if len(missing) == 1:
            (name,) = missing
            raise InputError(f"{where} has no field '{name}'{self._closest(name)}")
        if missing:
            # Several at once are no misspelling: the file does not know such things.
            listed = ", ".join(f"'{name}'" for name in missing)
            raise InputError(f"{where} has no fields {listed}; leave them out, of `inputs` when training")
        return Schema(scalars, collections, self.classes, other)

    def _closest(self, name: str) -> str:
        outer, _, inner = name.partition(".")
        if inner and outer in self.collections:
            siblings = {f"{outer}.{other}" for other in self.collections[outer]}
            return closest(name, sorted(siblings))
        return closest(name, self.names + list(self.collections))

    def common(self, other: Schema, where: str) -> Schema:
        """Fields that both have.

        Raises:
            InputError: when both name the classes of a label differently.
        """
        for name in self.classes.keys() & other.classes.keys():
            if self.classes[name] != other.classes[name]:
                raise InputError(
                    f"{where} has the classes {other.classes[name]} for '{name}' "
                    "where the files before it have "
                    f"{self.classes[name]}; convert them to the same order first"
                )
        collections = {
            name: {inner: dtype for inner, dtype in fields.items() if inner in other.collections[name]}
            for name, fields in self.collections.items()
            if name in other.collections
        }
        return Schema(
            {name: dtype for name, dtype in self.scalars.items() if name in other.scalars},
            {name: fields for name, fields in collections.items() if fields},
            {**other.classes, **self.classes},
            {name: kind for name, kind in self.other.items() if name in other.other},
        )


def _number(content: Any) -> DType | None:
    plain = isinstance(content, ak.types.NumpyType) and not content.parameters
    return np.dtype(str(content.primitive)) if plain else None
