"""Files -> events -> ragged batches: schema, readers, writers, splits, sampling, the cache to train from."""

from femtobarn.data.cache import PackedCache
from femtobarn.data.convert import append_columns, convert
from femtobarn.data.formats import open_writer
from femtobarn.data.inputs import Collection, Feature, Inputs, Label
from femtobarn.data.inspection import inspect
from femtobarn.data.loader import Loader
from femtobarn.data.mixing import mix, resample, reweight
from femtobarn.data.packing import to_batch
from femtobarn.data.ragged import Batch, Ragged
from femtobarn.data.sample import Sample, from_memory, open_sample
from femtobarn.data.scaling import Scaling

__all__ = [
    "Batch",
    "Collection",
    "Feature",
    "Inputs",
    "Label",
    "Loader",
    "PackedCache",
    "Ragged",
    "Sample",
    "Scaling",
    "append_columns",
    "convert",
    "from_memory",
    "inspect",
    "mix",
    "open_sample",
    "open_writer",
    "resample",
    "reweight",
    "to_batch",
]
