"""Integrated gradients: they add up, and go where the answer comes from."""

import awkward as ak
import numpy as np
import torch

from femtobarn.data.packing import to_batch
from femtobarn.nn.ragged import segment_sum
from femtobarn.simulation.jet_classes import JET_CLASSES
from femtobarn.tagging.attribution import integrated_gradients
from femtobarn.tagging.pfn import PFN


def jets(counts, rng):
    total = sum(counts)
    p = rng.normal(size=(3, total)) * 5
    columns = {name: p[k] for k, name in enumerate(("px", "py", "pz"))} | {
        "energy": np.sqrt((p**2).sum(0) + 0.02)
    }
    names = [f.name for f in PFN().default_inputs().collection_features("candidates")]
    columns |= {name: rng.random(total) for name in names if name not in columns}
    nested = ak.unflatten(ak.zip({k: v.astype(np.float32) for k, v in columns.items()}), counts)
    scalars = {"jet_label": np.zeros(len(counts), np.int8), "mcEventWeight": np.ones(len(counts), np.float32)}
    return ak.zip({**scalars, "candidates": nested}, depth_limit=1)


def fitted():
    torch.manual_seed(1)
    tagger = PFN()
    tagger.inputs = tagger.default_inputs()
    tagger.module = tagger.network(tagger.inputs)
    return tagger


def test_they_add_up_to_what_the_answer_gains():
    tagger, counts = fitted(), [3, 1, 20]
    batch = to_batch(jets(counts, np.random.default_rng(1)), tagger.inputs, {"jet_label": list(JET_CLASSES)})
    share = integrated_gradients(tagger, batch, "tbl", 400)
    network = tagger.module.eval()

    def answer(features):
        pooled = segment_sum(network.particle(features), cloud.segments, cloud.jets)
        return torch.log_softmax(network.jet(pooled), -1)[:, list(JET_CLASSES).index("Tbl")]

    with torch.no_grad():
        cloud = network.candidates(batch)
        gained = answer(cloud.features) - answer(torch.zeros_like(cloud.features))
    torch.testing.assert_close(
        segment_sum(share[:, None], cloud.segments, 3)[:, 0], gained, atol=2e-3, rtol=1e-2
    )


def test_a_network_that_ignores_candidates_gives_them_nothing():
    tagger = fitted()
    for parameter in tagger.module.particle.parameters():
        torch.nn.init.zeros_(parameter)
    batch = to_batch(jets([4, 2], np.random.default_rng(2)), tagger.inputs, {"jet_label": list(JET_CLASSES)})
    assert not integrated_gradients(tagger, batch, "qcd").any()
