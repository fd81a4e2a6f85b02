"""ROOT files through uproot: TTree and RNTuple, read by range of entries and by branch.

Branches that share a counter become one collection of records, as in NanoAOD: `nJet`, `Jet_pt`, `Jet_eta` give the
collection `Jet` with the fields `pt` and `eta`. A list of numbers of its own (`LHEPdfWeight`, or a `std::vector`) is a
collection with the single field "". Fixed-size arrays are read as lists.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from femtobarn.data.atomic import atomic
from femtobarn.data.reader import build, file_key, pick
from femtobarn.data.schema import DType, Schema
from femtobarn.errors import InputError, closest

__all__ = ["RootReader", "RootWriter", "trees"]

_KEY = "femtobarn"
_TREES = ("TTree", "ROOT::RNTuple", "ROOT::Experimental::RNTuple")
# What uproot and the decompression libraries raise on files that end early or hold nonsense.
_CORRUPT = (
    OSError, ValueError, KeyError, IndexError, TypeError, EOFError, RuntimeError, struct.error,
    uproot.deserialization.DeserializationError, uproot.exceptions.KeyInFileError,
)  # fmt: skip


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        # No caches: they would keep what a streamed conversion has left behind.
        with uproot.open(path, array_cache=None, object_cache=None) as file:
            yield file
    except _CORRUPT as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: not a readable ROOT file, truncated or corrupt ({reason}); copy it again"
        ) from error


def trees(path: Path) -> dict[str, int]:
    """Trees of a file with their number of entries, the newest cycle of each."""
    with _open(path) as file:
        names = [name for name, kind in file.classnames(cycle=False).items() if kind in _TREES]
        return {name: int(file[name].num_entries) for name in names}


class RootReader:
    """One tree of one file.

    Args:
        path: the file.
        tree: name of the tree; None takes `Events` (or `events`), else the one with most numbers.

    Raises:
        InputError: for a file that cannot be read or has no such tree.
    """

    def __init__(self, path: Path, tree: str | None = None) -> None:
        self.path: Path | None = path
        self.name = str(path)
        with _open(path) as file:
            self.tree = _find_tree(path, file, tree)
            stored = file[self.tree]
            self._length = int(stored.num_entries)
            metadata = json.loads(str(file[_KEY])) if _KEY in file else {}
            self.attributes: dict[str, Any] = metadata.get("attributes", {})
            self._ntuple = not isinstance(stored, uproot.TTree)
            self._keys: dict[str, str] = {}
            if self._ntuple:
                self.schema = Schema.of_type(stored.to_akform()[0].type, metadata.get("classes"))
            else:
                self.schema = Schema({}, {}, metadata.get("classes", {}), {})
                self._describe(stored)

    def _describe(self, stored: Any) -> None:
        """Sort the branches into scalars, collections and the rest."""
        grouped: dict[str, list[tuple[str, str, DType]]] = {}
        for key, branch in stored.iteritems(full_paths=True):
            if len(branch.branches):
                continue
            name = branch.name.rstrip(".").replace(".", "_")
            try:
                kind = branch.interpretation.awkward_form(branch.file).type
            except (uproot.interpretation.objects.CannotBeAwkward, uproot.interpretation.identify.UnknownInterpretation,
                    NotImplementedError):  # fmt: skip
                continue  # a class without a description in this file
            if isinstance(kind, ak.types.RegularType):
                kind = ak.types.ListType(kind.content)
            single = Schema.of_type(ak.types.RecordType([kind], [name]))
            if name in single.collections and branch.count_branch is not None:
                counter = branch.count_branch.name
                base = counter[1:] if counter[0] in "nN" and len(counter) > 1 else counter
                grouped.setdefault(base, []).append((name, key, single.collections[name][""]))
                continue
            self._keys[name] = key
            self.schema.scalars.update(single.scalars)
            self.schema.collections.update(single.collections)
            self.schema.other.update(single.other)
        for base, members in grouped.items():
            name = base if base not in self._keys else f"{base}_"
            fields = self.schema.collections.setdefault(name, {})
            for branch_name, key, dtype in members:
                inner = branch_name.removeprefix(f"{base}_")
                inner = "" if branch_name == base and len(members) == 1 else inner
                fields[inner] = dtype
                self._keys[f"{name}.{inner}" if inner else name] = key

    def __len__(self) -> int:
        return self._length

    def key(self) -> str:
        """Text that changes when the file or the way it is read does."""
        return file_key(Path(self.name), self.tree)

    def read(self, start: int, stop: int, fields: Sequence[str] | None = None) -> ak.Array:
        """Entries `start:stop`; only the baskets needed are read."""
        wanted = self.schema.restrict(fields, self.name)
        stop = max(start, min(stop, self._length))
        with _open(Path(self.name)) as file:
            stored = file[self.tree]
            if self._ntuple:
                tops = list(dict.fromkeys(name.partition(".")[0] for name in wanted.names))
                return pick(stored.arrays(filter_name=tops, entry_start=start, entry_stop=stop), wanted)

            def column(name: str) -> ak.Array:
                values = stored[self._keys[name]].array(entry_start=start, entry_stop=stop, library="ak")
                return ak.from_regular(values, axis=1) if values.ndim > 1 else values

            columns = {name: column(name) for name in (*wanted.scalars, *wanted.other)}
            for name, inner in wanted.collections.items():
                members = {key: column(f"{name}.{key}" if key else name) for key in inner}
                columns[name] = members[""] if "" in members else zipped(members, f"{self.name}: {name}")
        return build(columns, stop - start)


def zipped(members: Mapping[str, ak.Array], where: str) -> ak.Array:
    """Lists of numbers of the same lengths as one list of records.

    Raises:
        InputError: when the lengths differ.
    """
    layouts = {key: ak.to_packed(values).layout.to_ListOffsetArray64(True) for key, values in members.items()}
    first, *rest = layouts.items()
    for key, layout in rest:
        if not np.array_equal(layout.offsets.data, first[1].offsets.data):
            raise InputError(f"{where}: '{key}' and '{first[0]}' have different lengths")
    content = ak.contents.RecordArray([layout.content for layout in layouts.values()], list(layouts))
    return ak.Array(ak.contents.ListOffsetArray(first[1].offsets, content))


def _find_tree(path: Path, file: Any, tree: str | None) -> str:
    names = [name for name, kind in file.classnames(cycle=False).items() if kind in _TREES]
    if tree is not None:
        if tree not in names:
            raise InputError(f"{path} has no tree '{tree}'{closest(tree, names)}")
        return tree
    if not names:
        raise InputError(f"{path} holds no tree; there is: {', '.join(file.keys(cycle=False)[:12])}")
    for usual in ("Events", "events"):
        if usual in names:
            return usual
    return max(names, key=lambda name: file[name].num_entries * len(file[name].keys()))


class RootWriter:
    """Write rows to the tree `Events`; a TTree in the manner of NanoAOD, an RNTuple when there are strings or lists
    of lists, which uproot cannot write to a TTree. The file appears on close."""

    def __init__(
        self,
        path: str | Path,
        classes: Mapping[str, Sequence[str]] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        stored = {"classes": {name: list(names) for name, names in (classes or {}).items()}}
        self._metadata = json.dumps({**stored, "attributes": dict(attributes or {})})
        self._stack = ExitStack()
        self._tree: Any = None

    def __enter__(self) -> RootWriter:
        temporary = self._stack.enter_context(atomic(self.path))
        self._file = self._stack.enter_context(uproot.recreate(temporary))
        self._file[_KEY] = self._metadata
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None and self._tree is None:
            self._stack.__exit__(InputError, InputError(), None)
            raise InputError(f"{self.path}: there are no rows to write")
        self._stack.__exit__(*error)

    def append(self, array: ak.Array) -> None:
        """Add rows; scalars that count a collection (`nJet`) are written as its counter."""
        schema = Schema.of(array)
        counters = {f"n{name}" for name in schema.collections} if not schema.other else set()
        columns = {name: ak.to_packed(array[name]) for name in array.fields if name not in counters}
        if self._tree is None:
            types = {name: column.type.content for name, column in columns.items()}
            if schema.other:
                self._tree = self._file.mkrntuple("Events", columns)
                return
            self._tree = self._file.mktree(
                "Events", types, counter_name=lambda name: f"n{name}", field_name=lambda outer, inner: f"{outer}_{inner}"
            )  # fmt: skip
        self._tree.extend(columns)
