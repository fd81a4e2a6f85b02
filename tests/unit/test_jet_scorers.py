"""Scorers of jets: what they read, and that they score what they say."""

import awkward as ak
import numpy as np
import pytest
import torch

from femtobarn.anomaly.image_autoencoder import ImageAutoencoder, pictures
from femtobarn.anomaly.lola_autoencoder import LolaAutoencoder, local
from femtobarn.anomaly.lund_autoencoder import LundAutoencoder
from femtobarn.anomaly.normalised_autoencoder import NormalisedAutoencoder, langevin
from femtobarn.data.packing import to_batch
from femtobarn.data.ragged import Batch
from femtobarn.learn.scorer import Scorer
from femtobarn.nn.candidates import Candidates
from femtobarn.nn.four_momenta import minkowski
from femtobarn.physics.jet_images import jet_images
from femtobarn.physics.lund import lund_tree


def jets(count: int, seed: int = 1) -> ak.Array:
    """Jets of 500 GeV with massless candidates by falling transverse momentum; the last has none."""
    rng = np.random.default_rng(seed)
    counts = np.append(rng.integers(2, 30, count - 1), 0)
    total = counts.sum()
    pt, eta, phi = rng.exponential(20, total) + 1, rng.normal(0.5, 0.2, total), rng.normal(3.1, 0.2, total)
    momenta = {
        "px": pt * np.cos(phi),
        "py": pt * np.sin(phi),
        "pz": pt * np.sinh(eta),
        "energy": pt * np.cosh(eta),
    }
    candidates = ak.unflatten(ak.zip(momenta | {"pt": pt}), counts)
    return ak.zip({"candidates": candidates[ak.argsort(candidates.pt, ascending=False)],
                   "mcEventWeight": np.ones(count)}, depth_limit=1)  # fmt: skip


def batch_of(array: ak.Array, method: Scorer) -> tuple[Candidates, Batch]:
    inputs = method.default_inputs()
    return Candidates(inputs, None), to_batch(array, inputs)


def test_pictures_are_those_of_physics_raised_to_a_power() -> None:
    array = jets(50)
    flat = ak.flatten(array.candidates)
    px, py, pz = (ak.to_numpy(flat[name]).astype(np.float64) for name in ("px", "py", "pz"))
    pt = np.hypot(px, py)
    counts = ak.to_numpy(ak.num(array.candidates))
    expected = jet_images(counts, pt, np.arcsinh(pz / pt), np.arctan2(py, px), pixels=15, half_width=0.8)
    expected = np.sqrt(expected)  # of unit sum: their roots have unit norm
    seen = pictures(*batch_of(array, ImageAutoencoder()), 15, 0.8, 0.5)[:, 0, :15, :15].numpy()
    # Where float32 moves a candidate across an edge a picture differs; that is rare.
    same = np.abs(seen - expected).max(axis=(1, 2)) < 1e-3
    assert same.mean() > 0.8 and not seen[-1].any()


def test_score_of_a_picture_is_its_squared_difference() -> None:
    method = ImageAutoencoder(pixels=7, filters=4)
    network = method.network(method.default_inputs()).eval()
    _, batch = batch_of(jets(20), method)
    with torch.no_grad():
        for parameter in network.decoder.parameters():
            parameter.zero_()
        score = network(batch)["score"]
    # Against black, a picture of unit norm: one; the jet without candidates: zero.
    np.testing.assert_allclose(score, np.append(np.ones(19), 0), atol=1e-5)


def test_four_vectors_are_in_the_frame_of_the_jet() -> None:
    array = jets(20)
    candidates, batch = batch_of(array, LolaAutoencoder())
    cloud = candidates(batch)
    k = local(cloud)
    np.testing.assert_allclose(minkowski(k, k), 0, atol=1e-5)
    sums = torch.zeros(20, 4).index_add(0, cloud.segments, k)
    whole = torch.zeros(20, 4).index_add(0, cloud.segments, cloud.momenta)
    pt = torch.zeros(20).index_add(0, cloud.segments, torch.hypot(*cloud.momenta[:, :2].T))
    # Masses do not change but by the scale, and the jet points along x.
    np.testing.assert_allclose(
        minkowski(sums, sums)[:-1], (minkowski(whole, whole) / pt.square())[:-1], rtol=0.02, atol=1e-4
    )
    np.testing.assert_allclose(sums[:-1, 1], 0, atol=1e-4)


def test_turning_a_jet_leaves_its_scores() -> None:
    array = jets(30)
    turn = 1.3
    c = array.candidates
    turned = ak.with_field(c, c.px * np.cos(turn) - c.py * np.sin(turn), "px")
    turned = ak.with_field(turned, c.px * np.sin(turn) + c.py * np.cos(turn), "py")
    method = LolaAutoencoder()
    torch.manual_seed(1)
    network = method.network(method.default_inputs()).eval()
    with torch.no_grad():
        one, other = (
            network(batch_of(a, method)[1])["score"]
            for a in (array, ak.with_field(array, turned, "candidates"))
        )
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_lund_tree_agrees_with_fastjet() -> None:
    fastjet = pytest.importorskip("fastjet")
    array = jets(30)
    c = array.candidates
    counts = ak.to_numpy(ak.num(c))[:-1]
    flat = [ak.to_numpy(ak.flatten(c[name])).astype(np.float64) for name in ("px", "py", "pz", "energy")]
    found = lund_tree(counts, *flat, kt_min=0.0)
    np.testing.assert_array_equal(found.counts, counts - 1)
    zipped = {name: ak.unflatten(x, counts) for name, x in zip(("px", "py", "pz", "E"), flat, strict=True)}
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, 10.0)
    cluster = fastjet.ClusterSequence(ak.zip(zipped, with_name="Momentum4D"), definition)
    theirs = ak.to_list(cluster.exclusive_jets_lund_declusterings(1)[:, 0])
    offsets = np.cumsum(np.append(0, found.counts))
    for jet, primary in enumerate(theirs):
        own = slice(offsets[jet], offsets[jet + 1])
        chain = [0]  # from the root along the harder branches: the primary plane, which fastjet gives
        parent, softer = found.parent[own], found.softer[own]
        while len(after := [k for k in range(len(parent)) if parent[k] == chain[-1] != k and not softer[k]]):
            chain += after
        np.testing.assert_allclose(found.delta[own][chain], [one["Delta"] for one in primary], rtol=1e-9)
        np.testing.assert_allclose(found.kt[own][chain], [one["kt"] for one in primary], rtol=1e-9)
    cut = lund_tree(counts, *flat, kt_min=5.0)
    assert (cut.kt >= 5).all() and len(cut.kt) == (found.kt >= 5).sum()
    np.testing.assert_allclose(np.sort(cut.kt), np.sort(found.kt[found.kt >= 5]))
    place = np.arange(len(cut.kt)) - np.repeat(np.cumsum(cut.counts) - cut.counts, cut.counts)
    assert ((cut.parent < place) | (place == 0)).all()


def test_lund_autoencoder_hears_neighbours_alone() -> None:
    """Four messages reach four branchings far along a chain, and none in another jet."""
    rng = np.random.default_rng(1)
    links = {"parent": [max(k - 1, 0) for k in range(12)], "softer": [0] * 12}
    columns = {name: rng.uniform(0.1, 1, 12) for name in ("kt", "delta", "z")} | links
    array = ak.zip(
        {"branchings": ak.unflatten(ak.zip({k: np.array(v) for k, v in columns.items()}), [6, 6]),
         "mcEventWeight": np.ones(2)}, depth_limit=1
    )  # fmt: skip
    method = LundAutoencoder()
    torch.manual_seed(1)
    network = method.network(method.default_inputs()).eval()
    batch = to_batch(array, method.default_inputs())
    batch.collections["branchings"].values.requires_grad_()
    network(batch)["score"][0].backward()
    gradient = batch.collections["branchings"].values.grad
    assert gradient is not None and gradient[:6, :3].any(1).all() and not gradient[6:].any()


def test_langevin_draws_from_the_density() -> None:
    torch.manual_seed(1)
    start = torch.zeros(4000, 1)
    found = langevin(start, lambda x: 0.1 * x.square().sum(-1), 400, 0.05, (2 * 0.05) ** 0.5, lambda x: x)
    assert float(found.var()) == pytest.approx(1 / 0.2, rel=0.1)  # exp(-0.1 x^2)
    assert float(found.mean()) == pytest.approx(0, abs=0.15)


def test_normalised_autoencoder_draws_samples_after_pretraining() -> None:
    method = NormalisedAutoencoder(pixels=7, filters=4, pretraining=1)
    torch.manual_seed(1)
    network = method.network(method.default_inputs()).train()
    _, batch = batch_of(jets(20), method)
    assert set(network(batch)) == {"score"}
    output = network(batch)
    assert output["sampled"].shape == (20,)
    # The gradient of the sampled energy pushes it up, as the loss has it with a minus.
    terms = method.loss(output, batch)
    sampled = output["sampled"].detach()
    assert float(terms["model"].detach()) == pytest.approx(
        float(0.1 * sampled.square().mean() - sampled.mean())
    )
    samples = network.sample(50)
    assert not samples.requires_grad and bool(((samples >= 0) & (samples <= 1)).all())
    assert set(network.eval()(batch)) == {"score"}
