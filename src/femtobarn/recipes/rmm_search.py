"""Search for resonances in anomalous events with a lepton [ATLAS, PRL 132 (2024) 081801, 2307.01612].

A cocktail of simulated backgrounds stands for the data. An autoencoder of the 1287 cells of the rapidity-mass
matrix learns from a tenth of it; the events it carries through worst make three anomaly regions of given
cross-sections. Nine pair masses are searched for bumps in each region and in all events, limits are set on
Gaussian signals, and benchmark signals say what the regions gain.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from femtobarn.errors import InputError
from femtobarn.evaluate.result import At, Metric, Result, combine, read_references, with_references
from femtobarn.recipes.rmm_page import INCLUSIVE, Outcome, page
from femtobarn.recipes.rmm_samples import BACKGROUNDS, MASSES, SIGNALS, SQRT_S, Events, load, selected
from femtobarn.recipes.rmm_scores import (
    TRAIN,
    Background,
    Gain,
    background_of,
    cut,
    gain,
    judged,
    scalar_sum,
    scored,
    shortest,
)
from femtobarn.recipes.rmm_spectra import Searched, false_alarms, searched, smooth
from femtobarn.recipes.run import Run, Settings, recipe

Array = NDArray[np.float64]
METHODS = ("rmm_autoencoder", "scalar_sum")
"""The score, and what it is to beat: the sum of all transverse momenta."""


class RmmSearchSettings(Settings):
    """What differs between the scales.

    Attributes:
        backgrounds: collisions simulated of each source of the cocktail.
        signals: collisions simulated of each signal.
        benchmarks: the signals.
        regions: cross-sections of the anomaly regions in pb.
        luminosity: of the pseudo-data, in 1/fb.
        seeds: of the trainings; spectra are those of the first.
        epochs: of the trainings.
        toys: pseudo-experiments that calibrate each bump hunt.
        trials: further ones in which the whole search is repeated, for the rate of false alarms.
        masses: signal hypotheses of each spectrum.
        widths: standard deviation over mass of the signals, to which the resolution is added in quadrature.
        resolution: of the pair masses; ours.
    """

    backgrounds: dict[str, int]
    signals: int
    benchmarks: tuple[str, ...] = tuple(SIGNALS)
    regions: tuple[float, ...] = (10.0, 1.0, 0.1)
    luminosity: float = 140.0
    seeds: tuple[int, ...] = (1,)
    epochs: int = 30
    toys: int = 1_000
    trials: int = 500
    masses: int = 15
    widths: tuple[float, ...] = (0.0, 0.05, 0.15)
    resolution: float = 0.04


QUICK = {"w_jets": 12_000, "z_jets": 4_000, "ttbar_1l": 4_800, "ttbar_2l": 1_120, "single_top": 1_200,
         "ww": 800, "dijet": 9_600}  # fmt: skip
SCALES = {
    "smoke": RmmSearchSettings(
        backgrounds={"w_jets": 1200, "ttbar_1l": 600, "dijet": 600}, signals=200,
        benchmarks=("leptoquarks",), regions=(50.0, 20.0), epochs=2, toys=60, trials=40, masses=4,
        widths=(0.0,),
    ),
    "quick": RmmSearchSettings(backgrounds=QUICK, signals=1_000, epochs=20),
    "standard": RmmSearchSettings(
        backgrounds=QUICK | {"w_jets": 100_000, "ttbar_1l": 15_000, "dijet": 24_000}, signals=4_000,
        seeds=(1, 2, 3), epochs=20, toys=2_000, trials=1_000,
    ),
}  # fmt: skip


@recipe(scales=SCALES)
def rmm_search(settings: RmmSearchSettings, run: Run) -> Result:
    """Bumps in nine pair masses of what a rapidity-mass autoencoder rebuilds worst [PRL 132, 081801]."""
    sources = {name: BACKGROUNDS[name] for name in settings.backgrounds}
    files = {name: selected(run, name, source, settings.backgrounds[name])
             for name, source in sources.items()}  # fmt: skip
    signal_files = {
        name: selected(run, name, SIGNALS[name].source, settings.signals) for name in settings.benchmarks
    }
    cocktail, signals = ({name: load(file) for name, file in some.items()} for some in (files, signal_files))
    background = background_of(cocktail)
    signals_judged = {name: events.take(judged(events)) for name, events in signals.items()}
    windows = {
        name: shortest(events.masses[:, MASSES.index(SIGNALS[name].mass)])
        for name, events in signals_judged.items()
    }
    parts = []
    scores: dict[str, Array] = {}
    for seed in settings.seeds:
        folder = scored(run, seed, settings.epochs, {**files, **signal_files}, cocktail, signals)
        own = {name: np.load(folder / f"{name}.npy") for name in (*cocktail, *signals)}
        own |= {"background": np.concatenate([own[name] for name in cocktail])}
        scores = scores or own
        part = Result.start(run.recipe, run.scale, run.seed, run.command)
        part.metrics += [
            Metric(name="cut", at={"region": size}, method="rmm_autoencoder", sample="background",
                   seeds=[seed], value=cut(own["background"], background.weight, size))
            for size in settings.regions
        ]  # fmt: skip
        chosen = METHODS if seed == settings.seeds[0] else METHODS[:1]
        found = gained(settings, chosen, own, signals_judged, windows, background)
        for (method, size, name), one in found.items():
            part.metrics += told(method, size, name, seed, one)
        parts.append(part)
    result = combine(parts)
    regions = {INCLUSIVE: np.ones(len(background.weight), dtype=np.bool_)}
    regions |= {
        f"{size:g} pb": scores["background"] > cut(scores["background"], background.weight, size)
        for size in settings.regions
    }
    spectra = {name: hunted(settings, run, name, which, background) for name, which in regions.items()}
    alarms = false_alarms([one for some in spectra.values() for one in some.values()])
    result.sizes = {
        f"{name}, selected": len(events.weight) for name, events in {**cocktail, **signals}.items()
    }
    result.sizes["learnt"] = sum(int((events.fold < TRAIN[1]).sum()) for events in cocktail.values())
    inputs = next(iter(cocktail.values())).inputs().shape[1]
    result.metrics.append(Metric(name="inputs", method="rmm_autoencoder", sample="all", value=inputs))
    result.metrics += composition(background, sources, regions)
    result.metrics += [metric for name in spectra for metric in measured(settings, name, spectra[name])]
    numbers = zip([(region, mass) for region in spectra for mass in spectra[region]], alarms[0], strict=True)
    for (region, mass), rate in numbers:
        at: At = {"size": 0.05, "region": region, "mass": mass}
        error = float(np.sqrt(max(rate * (1 - rate), 1 / alarms[2]) / alarms[2]))
        result.metrics.append(Metric(name="false_alarm_rate", at=at, method="bump_hunt", sample="background",
                                     value=float(rate), error=error))  # fmt: skip
    result.metrics.append(Metric(name="false_alarm_rate", at={"size": 0.05, "spectra": len(alarms[0])},
                                 method="search", sample="background", value=float(alarms[1][0]),
                                 error=float(alarms[1][1])))  # fmt: skip
    result.metrics = with_references(result.metrics, read_references(Path(__file__).with_suffix(".csv")))
    outcome = Outcome(background, [source.label for source in sources.values()], signals_judged, scores,
                      windows, regions, spectra)  # fmt: skip
    return page(settings, run, result, outcome)


def gained(
    settings: RmmSearchSettings, methods: tuple[str, ...], scores: Mapping[str, Array],
    signals: Mapping[str, Events], windows: Mapping[str, tuple[float, float]], background: Background,
) -> dict[tuple[str, float, str], Gain]:  # fmt: skip
    """Gains by method, region and signal."""
    found = {}
    for method in methods:
        plain = method == "scalar_sum"
        score = background.scalar_sum if plain else scores["background"]
        for region in settings.regions:
            threshold = cut(score, background.weight, region)
            for name, events in signals.items():
                own = scalar_sum(events) if plain else scores[name]
                found[method, region, name] = gain(
                    SIGNALS[name].mass, windows[name], (events, own), background, score, threshold,
                    1000 * settings.luminosity,
                )  # fmt: skip
    return found


def told(method: str, region: float, name: str, seed: int, one: Gain) -> list[Metric]:
    """Gain and efficiency of one signal in one region."""
    at: At = {"region": region, "mass": SIGNALS[name].mass}
    note = None if one.lower_limit is None else "too few simulated background events pass"
    return [
        Metric(name="gain", at=at, method=method, sample=name, value=one.ratio,
               error=one.error, lower_limit=one.lower_limit, note=note, seeds=[seed]),
        Metric(name="signal_efficiency", at=at, method=method, sample=name, seeds=[seed],
               value=one.efficiency, error=one.efficiency_error),
    ]  # fmt: skip


def hunted(settings: RmmSearchSettings, run: Run, region: str, which: NDArray[np.bool_],
           background: Background) -> dict[str, Searched]:  # fmt: skip
    """The search in the spectra of one region that have enough events, by mass."""
    found = {}
    with run.stage(f"search {region}"):
        for place, mass in enumerate(MASSES):
            present = which & (background.masses[:, place] > 0)
            try:
                truth = smooth(background.masses[present, place], background.weight[present], SQRT_S)
            except InputError as error:
                raise InputError(f"mass {mass} in the region {region}: {error}") from None
            if truth is not None:
                rng = np.random.default_rng([run.seed, place, *region.encode()])
                found[mass] = searched(
                    truth, 1000 * settings.luminosity, SQRT_S, settings.toys, settings.trials,
                    settings.widths, settings.resolution, settings.masses, rng,
                )  # fmt: skip
    return found


def composition(background: Background, sources: Mapping[str, object],
                regions: Mapping[str, NDArray[np.bool_]]) -> list[Metric]:  # fmt: skip
    """Cross-section of each source in each region."""
    metrics = []
    for region, which in regions.items():
        for place, name in enumerate(sources):
            weight = background.weight[which & (background.source == place)]
            metrics.append(Metric(name="cross_section", at={"region": region}, method="simulation",
                                  sample=name, value=float(weight.sum()),
                                  error=float(np.sqrt((weight**2).sum())),
                                  note="pb"))  # fmt: skip
    return metrics


def measured(settings: RmmSearchSettings, region: str, spectra: Mapping[str, Searched]) -> list[Metric]:
    """Fits, bump hunts and limits of one region."""
    metrics = []
    for mass, one in spectra.items():
        at: At = {"region": region, "mass": mass}
        low, high = one.truth.edges[one.hunt.low], one.truth.edges[one.hunt.high]
        tail = one.hunt.tail
        values: dict[str, tuple[float, float | None]] = {
            "fit_probability": (one.truth.probability, None),
            "terms": (one.terms, None),
            "local_significance": (one.hunt.local_significance, None),
            "global_p": (tail.p, 0.5 * (tail.high - tail.low)),
            "window_low": (float(low), None),
            "window_high": (float(high), None),
        }
        metrics += [Metric(name=name, at=at, method="bump_hunt", sample="background", value=value,
                           error=error) for name, (value, error) in values.items()]  # fmt: skip
        for width, limits in one.limits.items():
            for k in sorted({0, len(one.mass) // 2, len(one.mass) - 1}):
                there: At = {**at, "width": width, "signal": round(float(one.mass[k]))}
                metrics += [
                    Metric(name=name, at=there, method="limits", sample="background", note="fb",
                           value=float(events[k]) / settings.luminosity)
                    for name, events in (("upper_limit", limits.observed),
                                         ("expected_limit", limits.expected[2]))
                ]  # fmt: skip
    return metrics
