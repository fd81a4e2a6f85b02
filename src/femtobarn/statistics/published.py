"""Published HistFactory likelihoods: archives with a background-only workspace and patches for signals.

Collaborations publish them on HEPData [ATL-PHYS-PUB-2019-029]: one folder per region with a workspace in
pyhf's JSON, and for each signal a JSON patch, in files of their own or together in a patch set.

    >>> regions = read_archive("ins1748602-sbottom.tar.gz")
    >>> model = Model.of(regions["RegionA"].with_signal("sbottom_1300_205_60"))
"""

from __future__ import annotations

import json
import math
import os
import tarfile
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import jsonpatch

from femtobarn.errors import InputError, closest

__all__ = ["Region", "checked", "read_archive", "read_workspace"]

Spec = dict[str, Any]


@dataclass
class Region:
    """A background-only workspace and the JSON patches that add signals to it.

    Attributes:
        name: folder in the archive.
        workspace: parsed.
        patches: signal names to a JSON patch, or to its text until it is needed.
    """

    name: str
    workspace: Spec
    patches: dict[str, Any] = field(default_factory=dict)

    def with_signal(self, signal: str) -> Spec:
        """The workspace with one signal in it, checked.

        Raises:
            InputError: for a signal that is not there, a patch that does not fit, or what is no HistFactory.
        """
        if signal not in self.patches:
            raise InputError(f"{self.name} has no signal '{signal}'{closest(signal, self.patches)}")
        patch = self.patches[signal]
        if isinstance(patch, bytes):
            try:
                patch = self.patches[signal] = json.loads(patch)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise InputError(f"{self.name}: the patch '{signal}' is not JSON ({error})") from None
        try:
            spec: Spec = jsonpatch.apply_patch(self.workspace, patch)
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
            raise InputError(
                f"the patch '{signal}' does not fit the workspace of {self.name} ({error}): are they of one "
                "analysis?"
            ) from None
        return checked(spec, f"{self.name} with {signal}")


def read_archive(path: str | os.PathLike[str]) -> dict[str, Region]:
    """The regions of a tar or zip archive or of a folder, by name.

    Raises:
        InputError: when there is no such file, it cannot be read, or no workspace is in it.
    """
    path = Path(path)
    regions: dict[str, Region] = {}
    patches: dict[str, dict[str, Any]] = {}
    for name, content in _members(path):
        folder, stem = (
            PurePosixPath(name).parent.name or path.name.partition(".")[0],
            PurePosixPath(name).stem,
        )
        if content.lstrip()[:1] == b"[":  # a patch: read when it is wanted, there may be hundreds
            patches.setdefault(folder, {})[stem.removeprefix("patch.")] = content
            continue
        found = _parsed(content, f"{path}: {name}")
        if "channels" in found:
            if folder in regions:
                folder = f"{folder}/{stem}"
            regions[folder] = Region(folder, found)
        elif "patches" in found:
            try:
                patches.setdefault(folder, {}).update(
                    (patch["metadata"]["name"], patch["patch"]) for patch in found["patches"]
                )
            except (KeyError, TypeError):
                raise InputError(
                    f"{path}: {name}: not a patch set: each of 'patches' needs a 'metadata' with a 'name', "
                    "and a 'patch'"
                ) from None
    if not regions:
        raise InputError(f"{path}: no HistFactory workspace in it: expected a JSON file with 'channels'")
    for folder, known in patches.items():
        for name, region in regions.items():
            if name.partition("/")[0] == folder:
                region.patches.update(dict(sorted(known.items())))
    return dict(sorted(regions.items()))


def read_workspace(path: str | os.PathLike[str]) -> Spec:
    """A complete workspace from one JSON file, checked.

    Raises:
        InputError: when there is no such file, or it is not HistFactory.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    return checked(_parsed(content, str(path)), str(path))


def checked(spec: Any, where: str) -> Spec:
    """The workspace itself, if pyhf's schema accepts it.

    Raises:
        InputError: says in one sentence what is wrong, and where.
    """
    from pyhf import exceptions, schema  # a second to import

    missing = [key for key in ("channels", "observations", "measurements", "version")
               if not isinstance(spec, dict) or key not in spec]  # fmt: skip
    if missing:
        raise InputError(f"{where}: not a HistFactory workspace: '{missing[0]}' is missing")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of jsonschema, on pyhf's behalf
            schema.validate(spec, "workspace.json")
    except exceptions.InvalidSpecification as error:
        text = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{where}: not a HistFactory workspace: {text[:300]}") from None
    observed = {entry["name"]: entry["data"] for entry in spec["observations"]}
    known: set[str] = set()
    for channel in spec["channels"]:
        name = channel["name"]
        if name in known:
            raise InputError(f"{where}: two channels are called '{name}'")
        known.add(name)
        sizes = {len(sample["data"]) for sample in channel["samples"]}
        if len(sizes) != 1:
            raise InputError(f"{where}: the samples of '{name}' have different numbers of bins")
        if name not in observed:
            raise InputError(f"{where}: channel '{name}' has no observation")
        bins = sizes.pop()
        for what, numbers in (("the observation", observed[name]), *_per_bin(channel)):
            if len(numbers) != bins:
                raise InputError(
                    f"{where}: {what} of '{name}' has {len(numbers)} bins where {bins} are expected"
                )
            if not all(map(math.isfinite, numbers)):
                raise InputError(f"{where}: {what} of '{name}' holds a number that is not finite")
        if min(observed[name]) < 0:
            raise InputError(f"{where}: the observation of '{name}' holds less than no events")
    return dict(spec)


def _per_bin(channel: Spec) -> Iterator[tuple[str, list[float]]]:
    """All that has one number per bin, and what to call it."""
    for sample in channel["samples"]:
        yield f"'{sample['name']}'", sample["data"]
        for modifier in sample["modifiers"]:
            what = f"{modifier['type']} '{modifier['name']}' of '{sample['name']}'"
            if modifier["type"] == "histosys":
                yield f"{what} (hi_data)", modifier["data"]["hi_data"]
                yield f"{what} (lo_data)", modifier["data"]["lo_data"]
            elif modifier["type"] in ("staterror", "shapesys"):
                yield what, modifier["data"]


def _parsed(content: bytes, where: str) -> Spec:
    try:
        found = json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: not JSON ({error}): expected a HistFactory workspace") from None
    if not isinstance(found, dict):
        raise InputError(f"{where}: not a HistFactory workspace: it is a {type(found).__name__}")
    return found


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of all JSON files; nothing is written to disk."""
    try:
        if path.is_dir():
            for file in sorted(path.rglob("*.json")):
                yield str(file.relative_to(path)), file.read_bytes()
        elif path.suffix == ".json":
            yield path.name, path.read_bytes()
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in sorted(name for name in archive.namelist() if name.endswith(".json")):
                    yield name, archive.read(name)
        else:
            with tarfile.open(path) as archive:
                for member in archive:
                    if member.isfile() and member.name.endswith(".json"):
                        content = archive.extractfile(member)
                        assert content is not None
                        yield member.name, content.read()
    except (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).partition(":\n")[0]
        raise InputError(
            f"{path}: cannot be read ({reason}): expected a tar or zip archive or a folder"
        ) from None
