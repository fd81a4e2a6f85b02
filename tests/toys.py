"""Toy jets whose truth is known: Gaussian taggers, weights of both signs, origins and vertices."""

from __future__ import annotations

import awkward as ak
import numpy as np

from femtobarn.evaluate.flavour_scores import ORIGINS

FLAVOURS = np.array(["b", "c", "u", "tau"])
CODES = np.array([5, 4, 0, 15])


def toy_jets(n: int = 4000, seed: int = 1, tau: bool = True, weighted: bool = True) -> ak.Array:
    """Jets as simulated ones look to the evaluation; b-jets have a vertex (and a c-vertex), others seldom."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(4, n, p=[0.35, 0.15, 0.46, 0.04] if tau else [0.35, 0.15, 0.5, 0.0])
    pt = 20 + rng.exponential(45, n)
    count = np.minimum(1 + rng.poisson(5 + pt / 40), 40)
    jet = np.repeat(np.arange(n), count)
    place = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    origin = rng.choice([0, 1, 2, 7], len(jet), p=[0.2, 0.02, 0.7, 0.08])
    vertex = np.where(np.isin(origin, [0, 1]), -2, np.where(origin == 7, 5 + place, 0))
    for flavour, first, second in ((0, 3, 4), (1, 5, 5)):
        heavy = (kind[jet] == flavour) & (place >= 1) & (place < 4)
        origin[heavy], vertex[heavy] = first, 1
        later = (kind[jet] == flavour) & (place >= 4) & (place < 6) & (flavour == 0)
        origin[later], vertex[later] = second, 2
    in_tau = (kind[jet] == 3) & (place < 2)
    origin[in_tau], vertex[in_tau] = 6, 1
    displaced = np.isin(origin, [3, 4, 5, 6, 7])
    d0 = rng.normal(0, 1, len(jet)) + displaced * rng.exponential(6, len(jet))
    weight = np.where(rng.random(n) < 0.1, -1.0, 1.0) * rng.uniform(0.5, 1.5, n) if weighted else np.ones(n)
    tracks = ak.zip(
        {
            "ftagTruthOriginLabel": origin.astype(np.int8),
            "ftagTruthVertexIndex": vertex.astype(np.int16),
            "IP3D_signed_d0_significance": d0.astype(np.float32),
            "IP3D_signed_z0_significance": (
                rng.normal(0, 1, len(jet)) + displaced * rng.exponential(3, len(jet))
            ).astype(np.float32),
            "pt": (0.5 + rng.exponential(4, len(jet))).astype(np.float32),
            "dr": np.abs(rng.normal(0, 0.12, len(jet))).astype(np.float32),
            "numberOfInnermostPixelLayerHits": rng.choice(3, len(jet), p=[0.08, 0.88, 0.04]),
            "numberOfPixelHits": 3 + rng.poisson(1.2, len(jet)),
        }
    )
    return ak.Array(
        {
            "pt": pt.astype(np.float32),
            "eta": rng.uniform(-2.5, 2.5, n).astype(np.float32),
            "n_tracks": count.astype(np.int16),
            "mcEventWeight": weight.astype(np.float32),
            "HadronConeExclTruthLabelID": CODES[kind].astype(np.int8),
            "tracks": ak.unflatten(tracks, count),
        }
    )


def toy_prediction(jets: ak.Array, name: str, power: float, seed: int, tracks: bool = True) -> ak.Array:
    """A tagger of a given power: Gaussian log-odds around the true flavour, and so for track origins."""
    rng = np.random.default_rng(seed)
    code = ak.to_numpy(jets.HadronConeExclTruthLabelID)
    logits = rng.normal(0, 1, (len(code), 3))
    reach = 1 + 0.2 * np.log(ak.to_numpy(jets.pt) / 50)
    for column, flavour in enumerate((5, 4, 0)):
        logits[:, column] += power * reach * (code == flavour)
    logits[:, 1] += 0.45 * power * (code == 5)
    logits[:, 0] += 0.45 * power * (code == 4)
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    fields = {f"{name}_p{flavour}": probability[:, i].astype(np.float32) for i, flavour in enumerate("bcu")}
    if tracks:
        counts = ak.num(jets.tracks)
        origin = ak.to_numpy(ak.flatten(jets.tracks.ftagTruthOriginLabel)).astype(int)
        classes = [name for name in ORIGINS if name != "FromTau"]
        truth = np.array(
            [classes.index(c) if c in classes else classes.index("OtherSecondary") for c in ORIGINS]
        )[origin]
        score = rng.normal(0, 1, (len(origin), len(classes)))
        score[np.arange(len(origin)), truth] += power
        chance = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
        found = ak.to_numpy(ak.flatten(jets.tracks.ftagTruthVertexIndex)).astype(np.int64)
        found = np.where(rng.random(len(found)) < 0.12, rng.integers(0, 3, len(found)), found)
        columns = {f"{name}_p{origin}": chance[:, i].astype(np.float32) for i, origin in enumerate(classes)}
        fields["tracks"] = ak.unflatten(ak.zip({**columns, f"{name}_VertexIndex": found}), counts)
    return ak.Array(fields)
