"""ROOT files through uproot: TTree and RNTuple, read by range of entries and by branch.

Branches that share a counter become one collection of records, as in NanoAOD: `nJet`, `Jet_pt`, `Jet_eta`
give the collection `Jet` with the fields `pt` and `eta`. A list of numbers of its own (`LHEPdfWeight`, or a
`std::vector`) is a collection with the single field "". Fixed-size arrays are read as lists.
"""

from __future__ import annotations

import json
import struct
import weakref
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from femtobarn.data.atomic import atomic
from femtobarn.data.reader import build, clipped, file_key, pick
from femtobarn.data.schema import DType, Schema
from femtobarn.errors import InputError, closest

__all__ = ["RootReader", "RootWriter", "zipped"]

_KEY = "femtobarn"
_TREES = ("TTree", "ROOT::RNTuple", "ROOT::Experimental::RNTuple")
# What uproot and the decompression libraries raise on files that end early or hold nonsense.
_CORRUPT = (
    OSError, ValueError, KeyError, IndexError, TypeError, EOFError, RuntimeError, struct.error,
    uproot.deserialization.DeserializationError, uproot.exceptions.KeyInFileError,
)  # fmt: skip

# A branch that holds a class without a description in the file, or one without an array type.
_UNREADABLE = (
    uproot.interpretation.objects.CannotBeAwkward, uproot.interpretation.identify.UnknownInterpretation,
    NotImplementedError,
)  # fmt: skip

_MOST_OPEN = 4
_OPEN: deque[weakref.ref[RootReader]] = deque()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        yield
    except _CORRUPT as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: not a readable ROOT file, truncated or corrupt ({reason}); copy it again"
        ) from error


class RootReader:
    """One tree of one file.

    Args:
        path: the file.
        tree: name of the tree; None takes `Events` (or `events`), else the one with most numbers.

    Attributes:
        tree: name of the tree read.
        trees: entries of every tree in the file.

    Raises:
        InputError: for a file that cannot be read or has no such tree.
    """

    def __init__(self, path: Path, tree: str | None = None) -> None:
        self.path: Path | None = path
        self.name = str(path)
        with _readable(path):
            names = self._file.classnames(cycle=False)
            self.tree = _find_tree(path, self._file, tree)
            self.trees = {
                name: int((self._stored if name == self.tree else self._file[name]).num_entries)
                for name, kind in names.items()
                if kind in _TREES
            }
            metadata = json.loads(str(self._file[_KEY])) if _KEY in self._file else {}
            self.attributes: dict[str, Any] = metadata.get("attributes", {})
            self._length = int(self._stored.num_entries)
            self._ntuple = not isinstance(self._stored, uproot.TTree)
            self._keys: dict[str, str] = {}
            if self._ntuple:
                self.schema = Schema.of_type(self._stored.to_akform()[0].type, metadata.get("classes"))
            else:
                self.schema = Schema({}, {}, metadata.get("classes", {}), {})
                self._describe(self._stored)

    @cached_property
    def _file(self) -> Any:
        """The open file, kept since a tree of thousands of branches takes a second to open; the last few
        only, since such a tree takes tens of megabytes."""
        # No caches: they would keep what a streamed conversion has left behind.
        file = uproot.open(self.name, array_cache=None, object_cache=None)
        self._closing = weakref.finalize(self, file.close)
        if file.file.fEND > Path(self.name).stat().st_size:
            raise ValueError(f"{file.file.fEND} bytes long when it was written")
        _OPEN.append(weakref.ref(self))
        if len(_OPEN) > _MOST_OPEN and (oldest := _OPEN.popleft()()) is not None:
            oldest.close()
        return file

    @cached_property
    def _stored(self) -> Any:
        return self._file[self.tree]

    def close(self) -> None:
        """Close the file; reading opens it again."""
        if self.__dict__.pop("_file", None) is not None:
            self.__dict__.pop("_stored", None)
            self._closing()

    def __getstate__(self) -> dict[str, Any]:
        return {
            key: value for key, value in self.__dict__.items() if key not in ("_file", "_stored", "_closing")
        }

    def _describe(self, stored: Any) -> None:
        """Sort the branches into scalars, collections and the rest."""
        lists: dict[str, tuple[str, DType]] = {}
        counters: dict[str, str] = {}
        for key, branch in stored.iteritems(full_paths=True):
            if len(branch.branches):
                continue
            name = branch.name.rstrip(".").replace(".", "_")
            try:
                kind = branch.interpretation.awkward_form(branch.file).type
            except _UNREADABLE:
                continue
            if isinstance(kind, ak.types.RegularType):
                kind = ak.types.ListType(kind.content)
            single = Schema.of_type(ak.types.RecordType([kind], [name]))
            if name in single.collections:
                lists[name] = key, single.collections[name][""]
                counters[name] = "" if branch.count_branch is None else branch.count_branch.name
            else:
                self._keys[name] = key
                self.schema.scalars.update(single.scalars)
                self.schema.other.update(single.other)
        for name, (collection, inner) in _places(counters, set(self.schema.scalars)).items():
            key, dtype = lists[name]
            if inner and counters[name] == f"n{name}":
                # A counter of this one branch, as uproot writes them, says nothing that the list does not.
                self.schema.scalars.pop(counters[name], None)
            self.schema.collections.setdefault(collection, {})[inner] = dtype
            self._keys[f"{collection}.{inner}" if inner else collection] = key

    def __len__(self) -> int:
        return self._length

    def key(self) -> str:
        """Text that changes when the file or the way it is read does."""
        return file_key(Path(self.name), self.tree)

    def read(self, start: int, stop: int, fields: Sequence[str] | None = None) -> ak.Array:
        """Entries `start:stop`; only the baskets needed are read."""
        wanted = self.schema.restrict(fields, self.name)
        start, stop = clipped(start, stop, len(self))
        with _readable(Path(self.name)):
            if self._ntuple:
                tops = list(dict.fromkeys(name.partition(".")[0] for name in wanted.names))
                return pick(self._stored.arrays(filter_name=tops, entry_start=start, entry_stop=stop), wanted)

            def column(name: str) -> ak.Array:
                branch = self._stored[self._keys[name]]
                values = branch.array(entry_start=start, entry_stop=stop, library="ak")
                return ak.from_regular(values, axis=1) if values.ndim > 1 else values

            columns = {name: column(name) for name in (*wanted.scalars, *wanted.other)}
            for name, inner in wanted.collections.items():
                members = {key: column(f"{name}.{key}" if key else name) for key in inner}
                columns[name] = members[""] if "" in members else zipped(members, f"{self.name}: {name}")
        return build(columns, stop - start)


def _places(counters: Mapping[str, str], scalars: set[str]) -> dict[str, tuple[str, str]]:
    """Collection and field of each list of numbers, by the branch that counts it ("" if none does).

    Lists with a common counter belong together. Others belong to the collection `X` when they are called
    `X_...` and there is a scalar `nX`; else each is a collection of its own, with the field "".
    """
    shared = Counter(counters.values())
    places = {}
    for name, counter in counters.items():
        prefixes = (name[:at] for at, letter in enumerate(name) if letter == "_")
        if counter and shared[counter] > 1:
            collection = counter[1:] if counter[0] in "nN" and len(counter) > 1 else counter
        else:
            collection = next((prefix for prefix in prefixes if f"n{prefix}" in scalars), name)
        inner = "" if collection == name else name.removeprefix(f"{collection}_")
        places[name] = (f"{collection}_" if collection in scalars else collection), inner
    return places


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
    names: list[str] = [name for name, kind in file.classnames(cycle=False).items() if kind in _TREES]
    if tree is not None:
        if tree not in names:
            raise InputError(f"{path} has no tree '{tree}'{closest(tree, names)}")
        return tree
    if not names:
        raise InputError(f"{path} holds no tree; there is: {', '.join(file.keys(cycle=False)[:12])}")
    usual = [name for name in ("Events", "events") if name in names]
    if usual or len(names) == 1:
        return (usual or names)[0]
    return max(names, key=lambda name: file[name].num_entries * len(file[name].keys()))


class RootWriter:
    """Write rows to the tree `Events`; a TTree in the manner of NanoAOD, an RNTuple when there are strings or
    lists of lists, which uproot cannot write to a TTree. The file appears on close."""

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
                "Events", types, counter_name=lambda name: f"n{name}",
                field_name=lambda outer, inner: f"{outer}_{inner}",
            )  # fmt: skip
        self._tree.extend(columns)
