"""Fitted methods on disk: `method.yaml`, `weights.safetensors` and `history.json`.

Nothing in these files is executed: loading looks the method up among the registered ones, checks its
parameters and inputs with pydantic and reads plain arrays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

import femtobarn
from femtobarn import registry
from femtobarn.data.atomic import atomic
from femtobarn.data.inputs import Inputs
from femtobarn.data.packing import Place, fields_of, to_batch
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.errors import InputError

__all__ = ["load", "save", "unlabelled_batches"]


class _Description(BaseModel):
    model_config = ConfigDict(extra="forbid")
    method: str
    parameters: dict[str, Any]
    inputs: Inputs
    femtobarn: str


def save(method: Any, folder: Path) -> Path:
    """Write a fitted method as a folder, whole or not at all; returns the folder."""
    kind = type(method)
    description = _Description(
        method=registry.name_of("methods", kind) or kind.__name__.lower(),
        parameters=method.parameters,
        inputs=method.fitted_inputs,
        femtobarn=femtobarn.__version__,
    )
    state = {name: np.ascontiguousarray(value) for name, value in method.state().items()}
    with atomic(folder) as temporary:
        temporary.mkdir(parents=True)
        text = yaml.safe_dump(description.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        (temporary / "method.yaml").write_text(text)
        (temporary / "history.json").write_text(json.dumps(method.history, indent=1))
        save_file(state, temporary / "weights.safetensors")
    return folder


def load(folder: str | Path, kind: type | None = None) -> Any:
    """The fitted method that `save` wrote.

    Args:
        folder: where it is.
        kind: its class, None: the one registered under the name in the file.

    Raises:
        InputError: when the folder is not a saved method, the method is not registered, its parameters are
            not those of the class, or the weights are not those of its network and inputs.
    """
    folder = Path(folder)
    for name in ("method.yaml", "weights.safetensors", "history.json"):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: not a saved method, it has no {name}")
    try:
        description = _Description.model_validate(yaml.safe_load((folder / "method.yaml").read_text()))
        state = load_file(folder / "weights.safetensors")
        history = json.loads((folder / "history.json").read_text())
    except (OSError, yaml.YAMLError, json.JSONDecodeError, SafetensorError) as error:
        raise InputError(f"{folder}: cannot be read as a saved method ({_line(error)})") from None
    except ValidationError as error:
        raise InputError(f"{folder}/method.yaml: {_first(error)}") from None
    cls = kind or registry.find("methods", description.method)
    try:
        method = cls(**description.parameters)
    except ValidationError as error:
        raise InputError(f"{folder}/method.yaml: not parameters of {cls.__name__}: {_first(error)}") from None
    method.inputs, method.history = description.inputs, history
    try:
        method.restore(state)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None
    return method


def unlabelled_batches(source: Sample | ak.Array, inputs: Inputs, size: int) -> Iterator[Batch]:
    """A sample or an array of events as batches without labels, in order; an empty one if there are no rows.

    Raises:
        InputError: naming the field a model needs and the source lacks, or the row where a feature is not
            finite.
    """
    needed = inputs.without_labels()
    fields = fields_of(needed)
    for start in range(0, max(len(source), 1), size):
        if isinstance(source, Sample):
            rows = source.read(start, start + size, fields)
            place = Place(source.where, partial(_located, source, start))
        else:
            rows, place = source[start : start + size], Place()
        yield to_batch(rows, needed, place=place)


def _located(sample: Sample, start: int, row: int) -> str:
    return sample.locate(start + row)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _first(error: ValidationError) -> str:
    entry = error.errors()[0]
    return f"{'.'.join(str(part) for part in entry['loc'])}: {entry['msg']}"
