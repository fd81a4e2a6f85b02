"""Search for resonances in anomalous events with a lepton [ATLAS, PRL 132 (2024) 081801, 2307.01612].

A cocktail of simulated backgrounds stands for the data. An autoencoder of the 1287 cells of the rapidity-mass
matrix learns from events simulated for that alone; the events of the searched sample that it carries through
worst make three anomaly regions of given cross-sections. Nine pair masses are searched for bumps in each
region and in all events, limits are set on Gaussian signals, and benchmark signals say what the regions gain,
beside regions made by a density and by a cut on the scalar sum of momenta.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from femtobarn.errors import InputError
from femtobarn.evaluate.result import At, Metric, Result, combine, read_references, with_references
from femtobarn.recipes.rmm_gains import (
    SUM,
    Background,
    Gain,
    background_of,
    cut,
    gain,
    scalar_sum,
    shortest,
)
from femtobarn.recipes.rmm_page import INCLUSIVE, METHODS, Outcome, gaining, page
from femtobarn.recipes.rmm_samples import (
    BACKGROUNDS,
    MASSES,
    SIGNALS,
    SQRT_S,
    Events,
    Source,
    load,
    selected,
)
from femtobarn.recipes.rmm_scores import PUBLISHED, SCORES, TRAIN, matrix, scored, trained
from femtobarn.recipes.rmm_spectra import Searched, false_alarms, searched, smooth
from femtobarn.recipes.run import Run, Settings, recipe

Array = NDArray[np.float64]
TRIED = 3
"""Folds of the signals before it were looked at when sizes and epochs were chosen: they are not judged."""


STEEP = ("w_jets", "z_jets", "dijet")
"""Sources that fall from the least momentum on, `harder` where they are searched. Top quarks rise first,
and a few soft ones would count for all."""
EPOCHS = {"rmm_autoencoder": 10, "flow_density": 8}


class RmmSearchSettings(Settings):
    """What differs between the scales.

    Attributes:
        learnt: collisions simulated of each source of the cocktail to learn from.
        backgrounds: those of the cocktail that is searched, with as many of the hard ones as of the others.
        signals: collisions simulated of each signal.
        benchmarks: the signals.
        regions: cross-sections of the anomaly regions in pb.
        luminosity: of the pseudo-data, in 1/fb.
        seeds: of the trainings; spectra are those of the first.
        epochs: of the trainings, by score.
        toys: pseudo-experiments that calibrate each bump hunt.
        trials: further ones in which the whole search is repeated, for the rate of false alarms.
        masses: signal hypotheses of each spectrum.
        widths: standard deviation over mass of the signals, to which the resolution is added in quadrature.
        resolution: of the pair masses; ours.
    """

    learnt: dict[str, int]
    backgrounds: dict[str, int]
    signals: int
    benchmarks: tuple[str, ...] = tuple(SIGNALS)
    regions: tuple[float, ...] = (10.0, 1.0, 0.1)
    luminosity: float = 140.0
    seeds: tuple[int, ...] = (1,)
    epochs: dict[str, int] = EPOCHS
    toys: int = 1_000
    trials: int = 500
    masses: int = 15
    widths: tuple[float, ...] = (0.0, 0.05, 0.15)
    resolution: float = 0.04


QUICK = {"w_jets": 12_000, "z_jets": 4_000, "ttbar_1l": 4_800, "ttbar_2l": 1_120, "single_top": 1_200,
         "ww": 800, "dijet": 9_600}  # fmt: skip
SCALES = {
    "smoke": RmmSearchSettings(
        learnt={"w_jets": 1200, "ttbar_1l": 600, "dijet": 600},
        backgrounds={"w_jets": 800, "ttbar_1l": 400, "dijet": 600}, signals=200, benchmarks=("leptoquarks",),
        regions=(50.0, 20.0), epochs={"rmm_autoencoder": 2, "flow_density": 1}, toys=60, trials=40, masses=4,
        widths=(0.0,),
    ),
    "quick": RmmSearchSettings(learnt=QUICK, backgrounds=QUICK, signals=1_000),
    "standard": RmmSearchSettings(
        learnt=QUICK | {"w_jets": 100_000, "ttbar_1l": 15_000, "dijet": 24_000},
        backgrounds={"w_jets": 80_000, "z_jets": 15_000, "ttbar_1l": 15_000, "ttbar_2l": 4_000,
                     "single_top": 8_000, "ww": 3_000, "dijet": 60_000},
        signals=4_000, seeds=(1, 2), toys=2_000, trials=1_000,
    ),
}  # fmt: skip


@recipe(scales=SCALES)
def rmm_search(settings: RmmSearchSettings, run: Run) -> Result:
    """Bumps in nine pair masses of what a rapidity-mass autoencoder rebuilds worst [PRL 132, 081801]."""
    sources = {name: BACKGROUNDS[name] for name in settings.backgrounds}
    other = replace(run, seed=run.seed + 1)
    learnt_files = {name: selected(run, name, BACKGROUNDS[name], count)
                    for name, count in settings.learnt.items()}  # fmt: skip
    files = {name: selected(other, f"searched {name}", harder(source) if name in STEEP else source,
                            settings.backgrounds[name]) for name, source in sources.items()}  # fmt: skip
    signal_files = {name: selected(run, name, SIGNALS[name].source, settings.signals)
                    for name in settings.benchmarks}  # fmt: skip
    learnt, cocktail, signals = (
        {name: load(file) for name, file in some.items()} for some in (learnt_files, files, signal_files)
    )
    signals = {name: events.take(events.fold >= TRIED) for name, events in signals.items()}
    background = background_of(cocktail)
    windows = {
        name: shortest(events.masses[:, MASSES.index(SIGNALS[name].mass)]) for name, events in signals.items()
    }
    searched_files = [*files.values(), *signal_files.values()]
    parts: list[Result] = []
    first: dict[str, dict[str, Array]] = {
        SUM: {name: scalar_sum(events) for name, events in signals.items()}
        | {"background": background.scalar_sum}
    }
    for seed in settings.seeds:
        part = Result.start(run.recipe, run.scale, run.seed, run.command)
        scores = {} if parts else dict(first)
        for method in SCORES:
            model = trained(run, method, seed, settings.epochs[method], list(learnt_files.values()), learnt)
            found = scored(run, method, seed, model, searched_files, {**cocktail, **signals})
            scores[method] = found | {"background": np.concatenate([found[name] for name in cocktail])}
        for method, score in scores.items():
            part.metrics += told(settings, method, seed, score, signals, windows, background)
        first = first if parts else scores
        parts.append(part)
    result = combine(parts)
    loss = first[PUBLISHED]["background"]
    regions = {INCLUSIVE: np.ones(len(background.weight), dtype=np.bool_)}
    regions |= {f"{size:g} pb": loss > cut(loss, background.weight, size) for size in settings.regions}
    spectra = {name: hunted(settings, run, name, which, background) for name, which in regions.items()}
    result.sizes = {f"{name}, learnt": int((events.fold < TRAIN[1]).sum()) for name, events in learnt.items()}
    result.sizes |= {f"{name}, searched": len(events.weight) for name, events in cocktail.items()}
    result.sizes |= {f"{name}, judged": len(events.weight) for name, events in signals.items()}
    inputs = matrix(next(iter(signals.values()))).shape[1]
    result.metrics.append(Metric(name="inputs", method=PUBLISHED, sample="all", value=inputs))
    result.metrics.append(learnt_share(settings, learnt, background))
    result.metrics += composition(background, sources, regions)
    result.metrics += [metric for name in spectra for metric in measured(settings, name, spectra[name])]
    result.metrics += alarm_metrics(spectra)
    result.metrics += [
        Metric(name="signals_gained", method=method, sample="all", value=len(gaining(result, method)))
        for method in METHODS
    ]
    result.metrics = with_references(result.metrics, read_references(Path(__file__).with_suffix(".csv")))
    outcome = Outcome(background, [source.label for source in sources.values()], signals, first[PUBLISHED],
                      windows, regions, spectra)  # fmt: skip
    return page(settings, run, result, outcome)


def harder(source: Source) -> Source:
    """The source with about as many collisions of each order of magnitude of the momentum exchanged."""
    return source._replace(lines=(*source.lines, "PhaseSpace:bias2SelectionPow = 3.0"))


def learnt_share(settings: RmmSearchSettings, learnt: Mapping[str, Events], background: Background) -> Metric:
    """Events learnt, as many as unweighted ones would tell as much, over those of the pseudo-data."""
    weight = np.concatenate([events.weight[events.fold < TRAIN[1]] for events in learnt.values()])
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    expected = 1000 * settings.luminosity * float(background.weight.sum())
    note = f"{len(weight)} simulated, that tell as much as {effective:.0f} of the data"
    return Metric(name="learnt_share", method="simulation", sample="background", value=effective / expected,
                  note=note)  # fmt: skip


def told(
    settings: RmmSearchSettings, method: str, seed: int, score: Mapping[str, Array],
    signals: Mapping[str, Events], windows: Mapping[str, tuple[float, float]], background: Background,
) -> list[Metric]:  # fmt: skip
    """The cuts on a score that make the regions, and the gain and efficiency of each signal."""
    metrics = []
    for size in settings.regions:
        threshold = cut(score["background"], background.weight, size)
        metrics.append(Metric(name="cut", at={"region": size}, method=method, sample="background",
                              seeds=[seed], value=threshold))  # fmt: skip
        for name, events in signals.items():
            one = gain(SIGNALS[name].mass, windows[name], (events, score[name]), background,
                       score["background"], threshold, 1000 * settings.luminosity)  # fmt: skip
            metrics += gain_metrics(method, size, name, seed, one)
    return metrics


def gain_metrics(method: str, region: float, name: str, seed: int, one: Gain) -> list[Metric]:
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


def alarm_metrics(spectra: Mapping[str, Mapping[str, Searched]]) -> list[Metric]:
    """How often searches without a signal raise an alarm: each one, and all together."""
    each, together, trials = false_alarms([one for some in spectra.values() for one in some.values()])
    names = [(region, mass) for region, some in spectra.items() for mass in some]
    metrics = []
    for (region, mass), rate in zip(names, each, strict=True):
        error = float(np.sqrt(max(rate * (1 - rate), 1 / trials) / trials))
        at: At = {"size": 0.05, "region": region, "mass": mass}
        metrics.append(Metric(name="false_alarm_rate", at=at, method="bump_hunt", sample="background",
                              value=float(rate), error=error))  # fmt: skip
    rate, error = together
    metrics.append(Metric(name="false_alarm_rate", at={"size": 0.05, "spectra": len(names)}, method="search",
                          sample="background", value=float(rate), error=float(error)))  # fmt: skip
    return metrics
