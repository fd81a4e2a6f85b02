"""Taggers of whole jets: published sizes, and what their building blocks promise."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from femtobarn.data.inputs import Inputs, Label
from femtobarn.data.packing import to_batch
from femtobarn.data.ragged import Batch, Ragged
from femtobarn.data.sample import Sample, from_memory
from femtobarn.learn.training import Training
from femtobarn.nn.four_momenta import pair_kinematics
from femtobarn.nn.losses import distance_correlation
from femtobarn.nn.neighbours import nearest, nearest_padded
from femtobarn.nn.pairs import matrices, pairs_with_self
from femtobarn.nn.ragged import Layout, falling, ordered_pairs
from femtobarn.nn.transformer import dot_product_attention, dot_product_pairwise
from femtobarn.tagging.candidates import Cloud, candidate_inputs
from femtobarn.tagging.disco import DisCo
from femtobarn.tagging.efn import EFN
from femtobarn.tagging.jet_rnn import from_the_hardest
from femtobarn.tagging.lorentz import LorentzNet
from femtobarn.tagging.part import ParT
from femtobarn.tagging.particlenet import ParticleNet
from femtobarn.tagging.pcnn import PCNN
from femtobarn.tagging.pfn import PFN
from weaver_weights import jets as drawn

LENGTHS = torch.tensor([3, 0, 1, 7, 3, 12])
PUBLISHED = {PFN: 86_154, PCNN: 354_540, ParticleNet: 370_156, ParT: 2_143_486}


def offsets_of(lengths: Tensor) -> Tensor:
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])


def batch_of(momenta: Tensor, lengths: Tensor, method: Any) -> Batch:
    """Raw inputs with these momenta, other features drawn."""
    features = [f.name for f in method.default_inputs().collection_features("candidates")]
    values = torch.rand(len(momenta), len(features), generator=torch.Generator().manual_seed(3))
    for k, name in enumerate(("px", "py", "pz", "energy")):
        values[:, features.index(name)] = momenta[:, k]
    candidates = Ragged(values, offsets_of(lengths))
    return Batch(torch.zeros(len(lengths), 0), {"candidates": candidates}, {}, torch.ones(len(lengths)))


@pytest.mark.parametrize("method", PUBLISHED, ids=lambda cls: cls.__name__)
def test_parameters_are_as_many_as_published(method: Any) -> None:
    network = method().network(method().default_inputs())
    assert sum(p.numel() for p in network.parameters()) == PUBLISHED[method]


FLOPS = {PFN: 3e6, PCNN: 12e6, ParticleNet: 413e6, ParT: 211e6}
"""REFERENCE section 4 (LLoCa, Table 1): the published numbers are those of one jet of 50 candidates, with
two operations to a multiplication and addition in the matrix products."""


@pytest.mark.parametrize("method", FLOPS, ids=lambda cls: cls.__name__)
def test_operations_are_as_many_as_published(method: Any) -> None:
    lengths = torch.tensor([50])
    network = method().network(method().default_inputs()).eval().requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        network(batch_of(drawn(lengths, 1)[0], lengths, method()))
    counted = counter.get_total_flops()
    if method is ParticleNet:  # as it is written in the paper, the first layer of a block on each edge
        firsts = sum(block.first.weight.numel() for block in network.blocks)
        counted += 2 * 50 * (16 - 1) * firsts
    assert counted == pytest.approx(FLOPS[method], rel=5e-3, abs=1e6)


def test_efn_is_infrared_and_collinear_safe() -> None:
    """A candidate in two that fly together, and soft ones anywhere, change nothing; in PFN they do."""
    lengths = torch.tensor([5, 8])
    momenta = drawn(lengths, 1)[0]
    split = torch.cat([momenta[:1] * 0.3, momenta[:1] * 0.7, momenta[1:]])
    soft = momenta[2:5].flip(-1)[:, [1, 2, 3, 0]].abs() * 1e-7
    soft = torch.cat([soft[:, :3], soft[:, :3].norm(dim=1, keepdim=True)], 1)
    more = torch.cat([split, soft])
    for method, same in ((EFN(), True), (PFN(), False)):
        inputs = candidate_inputs(properties=False)
        torch.manual_seed(1)
        network = method.network(inputs).eval()
        said = [
            network(Batch(torch.zeros(2, 0), {"candidates": Ragged(p, offsets_of(n))}, {}, torch.ones(2)))
            for p, n in ((momenta, lengths), (more, torch.tensor([6, 11])))
        ]
        assert torch.allclose(said[0]["jet"], said[1]["jet"], rtol=1e-4, atol=1e-5) == same


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_attention_with_numbers_of_pairs(dropout: float) -> None:
    """The packed one against the formula over pairs, and its gradients against finite differences."""
    generator = torch.Generator().manual_seed(1)
    layout = Layout.of(offsets_of(LENGTHS), int(LENGTHS.sum()))
    tokens, heads = len(layout.segments), 2
    qkv = torch.randn(tokens, 24, generator=generator, requires_grad=True)
    i, j = pairs_with_self(layout.offsets, tokens)
    values = torch.randn(len(i), heads, generator=generator, requires_grad=True)
    table = torch.zeros(tokens, tokens, heads).index_put((i, j), values).index_put((j, i), values)
    one, other = ordered_pairs(layout.offsets, tokens)
    expected = dot_product_pairwise(qkv, heads, one, other, table[one, other])
    wanted = torch.autograd.grad(expected.square().sum(), [qkv, values])
    torch.manual_seed(0)
    found = dot_product_attention(qkv, heads, layout, matrices(values, layout.offsets), dropout)
    got = torch.autograd.grad(found.square().sum(), [qkv, values])
    if dropout == 0.0:
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(got, wanted)
        return
    assert not torch.allclose(found, expected)

    def again(x: Tensor, y: Tensor) -> Tensor:
        torch.manual_seed(0)
        return dot_product_attention(x, heads, layout, matrices(y, layout.offsets), dropout).square().sum()

    for tensor, gradient in zip((qkv, values), got, strict=True):
        step = 1e-2 * torch.randn(tensor.shape, generator=generator)
        with torch.no_grad():
            moved = [again(*(x + s * step if x is tensor else x for x in (qkv, values))) for s in (1, -1)]
        assert float((moved[0] - moved[1]) / 2) == pytest.approx(float((gradient * step).sum()), rel=2e-2)


def test_dropped_weights_average_to_all() -> None:
    layout = Layout.of(offsets_of(LENGTHS), int(LENGTHS.sum()))
    qkv = torch.randn(len(layout.segments), 24, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(0)
    mean = torch.stack([dot_product_attention(qkv, 2, layout, None, 0.3) for _ in range(2000)]).mean(0)
    torch.testing.assert_close(mean, dot_product_attention(qkv, 2, layout), rtol=0, atol=0.08)


def test_nearest_are_nearest() -> None:
    points = torch.randn(int(LENGTHS.sum()), 3, generator=torch.Generator().manual_seed(1))
    offsets = offsets_of(LENGTHS)
    found = nearest(points, offsets, 4)
    assert torch.equal(found, nearest_padded(points, offsets, 4))
    away = torch.cdist(points, points).fill_diagonal_(torch.inf)
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        for i in range(start, stop):
            expected = (start + away[i, start:stop].argsort())[: min(4, stop - start - 1)].tolist()
            assert found[i].tolist() == expected + [len(points)] * (4 - len(expected))


def test_falling_is_a_stable_sort_of_each_event() -> None:
    values = torch.tensor([1.0, 3.0, 1.0, 2.0, 2.0, 5.0, 4.0])
    assert falling(values, torch.tensor([0, 3, 3, 7])).tolist() == [1, 0, 2, 5, 6, 3, 4]


def test_by_angle_from_the_hardest() -> None:
    """The hardest comes first, then the others by distance; jets without candidates are no trouble."""
    lengths, generator = torch.tensor([3, 0, 1, 7, 0]), torch.Generator().manual_seed(2)
    offsets, tokens = offsets_of(lengths), int(lengths.sum())
    place, pt = torch.rand(tokens, 2, generator=generator), torch.rand(tokens, generator=generator)
    features = torch.cat([torch.zeros(tokens, 5), place], 1)
    segments = torch.repeat_interleave(torch.arange(5), lengths)
    cloud = Cloud(torch.zeros(tokens, 4), features, torch.zeros(5, 0), offsets, segments)
    order = from_the_hardest(cloud, falling(pt, offsets))
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        if end > begin:
            hardest = place[begin + int(pt[begin:end].argmax())]
            expected = begin + (place[begin:end] - hardest).norm(dim=1).argsort()
            assert order[begin:end].tolist() == expected.tolist()


def test_pairs_of_momenta() -> None:
    """Numbers of a pair worked out in double precision."""
    pt, eta, phi = np.array([40.0, 10.0]), np.array([0.5, 0.9]), np.array([3.1, -3.0])
    p = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], -1)
    dr = np.hypot(0.4, 2 * np.pi - 6.1)
    m2 = 2 * 40 * 10 * (np.cosh(0.4) - np.cos(6.1))
    found = pair_kinematics(torch.from_numpy(p), torch.tensor([0]), torch.tensor([1]))[0]
    np.testing.assert_allclose(found, np.log([10 * dr, 0.2, dr, m2]), rtol=1e-9)


def boost(direction: Tensor, rapidity: float) -> Tensor:
    """The Lorentz transformation (4, 4) of (px, py, pz, E) along a direction."""
    n = direction / direction.norm()
    cosh, sinh = np.cosh(rapidity), np.sinh(rapidity)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] += (cosh - 1) * torch.outer(n, n)
    matrix[:3, 3] = matrix[3, :3] = sinh * n
    matrix[3, 3] = cosh
    return matrix


def test_lorentz_answers_the_same_in_every_frame() -> None:
    """Random rotations and boosts up to |beta| = 0.9 of jets of 500 GeV, single precision, lively weights."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(10, 60, (30,), generator=generator)
    momenta = drawn(lengths, 6)[0].double()
    torch.manual_seed(1)
    method = LorentzNet()
    network = method.network(method.default_inputs())
    batch = batch_of(momenta.float(), lengths, method)
    for _ in range(3):  # moments of real batches
        network(batch)
    network.eval()
    with torch.no_grad():
        network.jet[-1].weight.mul_(5)
        for layer in network.layers:
            if layer.move is not None:
                layer.move[-1].weight.mul_(100)
        still = torch.softmax(network(batch)["jet"], -1)
        assert still.std(0).mean() > 1e-3
        worst = 0.0
        for _ in range(10):
            rotation = torch.eye(4, dtype=torch.float64)
            rotation[:3, :3] = torch.linalg.qr(torch.randn(3, 3, generator=generator).double())[0]
            rapidity = 1.47 * float(torch.rand(1, generator=generator))
            change = rotation @ boost(torch.randn(3, generator=generator).double(), rapidity)
            moved = batch_of((momenta @ change.T).float(), lengths, method)
            worst = max(worst, float((torch.softmax(network(moved)["jet"], -1) - still).abs().max()))
    assert worst < 1e-4


def few_jets(seed: int, jets: int = 60) -> Sample:
    """Of three classes, with a mass that nothing knows of."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(2, 6, jets)
    p = rng.normal(size=(4, counts.sum())).astype(np.float32)
    p[3] = np.sqrt((p[:3] ** 2).sum(0))
    candidates = ak.unflatten(ak.zip(dict(zip(("px", "py", "pz", "energy"), p, strict=True))), counts)
    label = rng.integers(0, 3, jets).astype(np.int8)
    mass, weight = rng.exponential(80, jets).astype(np.float32), np.ones(jets, np.float32)
    fields = {"candidates": candidates, "jet_label": label, "mass": mass, "mcEventWeight": weight}
    return from_memory(ak.zip(fields, depth_limit=1), {"jet_label": ["QCD", "Wqq", "Tbqq"]})


def disco_inputs() -> Inputs:
    classes = {name.lower(): [name] for name in ("QCD", "Wqq", "Tbqq")}
    label = Label(field="jet_label", classes=classes)
    return candidate_inputs(False).model_copy(update={"labels": {"jet": label}, "observers": ["mass"]})


def test_disco_adds_the_correlation_of_the_background_alone() -> None:
    sample, method = few_jets(1), DisCo(strength=3.0)
    batch = to_batch(sample.read(), disco_inputs(), sample.schema.classes)
    method.inputs = disco_inputs()
    logits = torch.randn(60, 3, generator=torch.Generator().manual_seed(2))
    terms = method.loss({"jet": logits}, batch)
    qcd = batch.labels["jet"] == 0
    mass, ones = batch.fields["mass"][qcd], torch.ones(int(qcd.sum()))
    p = torch.softmax(logits, -1)[qcd]
    each = [distance_correlation(p[:, k] / (p[:, k] + p[:, 0]), mass, ones) for k in (1, 2)]
    assert float(terms["disco"]) == pytest.approx(3 * float(each[0] + each[1]) / 2, rel=1e-4)
    assert float(terms["jet"]) == pytest.approx(float(PFN().loss({"jet": logits}, batch)["jet"]), rel=1e-6)


def test_disco_begins_where_the_tagger_alone_ended() -> None:
    """The loss of its first epoch goes on from the last one of the tagger trained by itself."""
    training = Training(epochs=8, batch_size=30, progress="none", learning_rate=3e-3, keep="last")
    small = {"particle": (8, 8), "jet": (8,)}
    alone = PFN(**small).fit(few_jets(1), None, disco_inputs(), training).history
    twice = DisCo(options=small, strength=0.0).fit(few_jets(1), None, disco_inputs(), training).history
    assert twice[0]["train_jet"] < alone[-1]["train_jet"] < alone[0]["train_jet"]
