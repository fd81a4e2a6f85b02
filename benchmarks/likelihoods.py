"""Binned likelihoods: our numbers and times beside pyhf's, in one run on one core.

    OMP_NUM_THREADS=1 python benchmarks/likelihoods.py ARCHIVE [--stages S ...] [--points 10] [--everywhere]
        [--toys N] [--cabinetry] [--out FILE]

ARCHIVE is ins1748602-sbottom.tar.gz of HEPData. Measured are: the reference CLs of pyhf's regression test;
limits and significances of signals spread evenly over the archive and its three regions; toys against
asymptotic formulas, in a model with many events and in the reference one, and against pyhf's toys; the time
of an objective with its gradient. Peers are pyhf with its torch and numpy backends and scipy or Minuit, and
for significances cabinetry, where it is installed. Times are CPU seconds, sides in turn; those of pyhf's
limits of all bands and of its toys are of one go, since they take minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyhf
import torch
from scipy.stats import norm

from femtobarn.evaluate.result import At, Metric, Result
from femtobarn.statistics.histfactory import Channel, Process, Systematic, workspace
from femtobarn.statistics.inference import Model, cls, discovery, upper_limit
from femtobarn.statistics.objectives import expected_limit, expected_significance
from femtobarn.statistics.published import Region, read_archive
from femtobarn.statistics.toys import toy_cls, toy_discovery

REFERENCE, REGION, SIGNAL = 0.24443627759, "RegionA", "sbottom_1300_205_60"
PEERS = {
    "pyhf_torch_scipy": ("pytorch", "scipy"),
    "pyhf_numpy_scipy": ("numpy", "scipy"),
    "pyhf_numpy_minuit": ("numpy", "minuit"),
}


def timed(action: Callable[[], Any]) -> tuple[Any, float]:
    """The answer, and CPU seconds."""
    start = time.process_time()
    answer = action()
    return answer, time.process_time() - start


class Twice(pyhf.optimize.scipy_optimizer):
    """pyhf's fit, begun where pyhf begins it and where its last one ended; the lower of the two.

    From the nominal values alone it ends, for signals far from the data, in minima that are not the lowest:
    0.007 above it in the Asimov data of sbottom_1200_450_60, Region B, mu = 75.3, which moves CLs by 0.4 %.
    """

    last: Any = None

    def minimize(self, objective: Any, data: Any, pdf: Any, init_pars: Any, par_bounds: Any,
                 fixed_vals: Any = None, return_fitted_val: bool = False, **options: Any) -> Any:  # fmt: skip
        """As `super().minimize`."""
        starts = [list(init_pars)]
        if self.last is not None and len(self.last) == len(starts[0]):
            starts.append(list(self.last))
            for index, value in fixed_vals or ():
                starts[1][index] = value
        fits = []
        for start in starts:
            try:
                fits.append(super().minimize(objective, data, pdf, start, par_bounds, fixed_vals,
                                             return_fitted_val=True, **options))  # fmt: skip
            except pyhf.exceptions.FailedMinimization:
                if start is starts[-1] and not fits:
                    raise
        best, value = min(fits, key=lambda fit: float(fit[1]))
        self.last = np.asarray(best).tolist()
        return (best, value) if return_fitted_val else best


class Peer:
    """pyhf's model of a workspace, fitted to more digits than it does by itself."""

    def __init__(self, spec: dict[str, Any]) -> None:
        pyhf.set_backend("pytorch", Twice(tolerance=1e-12))
        parsed = pyhf.Workspace(spec, validate=False)
        self.model = parsed.model()
        self.data = pyhf.tensorlib.astensor(parsed.data(self.model))
        self.known: dict[float, tuple[float, float]] = {}

    def cls(self, mu: float) -> tuple[float, float]:
        """Observed, and expected in the median."""
        if mu not in self.known:
            seen, expected = pyhf.infer.hypotest(mu, self.data, self.model, return_expected_set=True)
            self.known[mu] = float(seen), float(expected[2])
        return self.known[mu]

    def limit(self, which: int, guess: float) -> float:
        """Where CLs is 0.05, observed (0) or in the median (1); `guess` only says where to begin.

        Between ends 2 % apart ln CLs is straight to 1e-4 of their distance, which is 2e-6 of the limit.
        """
        low, high = 0.99 * guess, 1.01 * guess
        while self.cls(low)[which] < 0.05:
            low, high = 0.98 * low, low
        while self.cls(high)[which] > 0.05:
            low, high = high, 1.02 * high
        above, below = (np.log(self.cls(mu)[which] / 0.05) for mu in (low, high))
        return float(low + (high - low) * above / (above - below))

    def significance(self, names: tuple[str, ...]) -> tuple[float, float, torch.Tensor]:
        """Observed, expected, and the parameters (1, P) at mu = 1 that the latter's data are made with, in
        the order of these names."""
        seen, expected, calculator = pyhf.infer.hypotest(
            0.0, self.data, self.model, test_stat="q0", return_expected=True, return_calculator=True
        )
        values = np.asarray(calculator.fitted_pars.asimov_pars).tolist()
        known = dict(zip(self.model.config.par_names, values, strict=True))
        fitted = torch.tensor([[known[name] for name in names]], dtype=torch.float64)
        found, hoped = (max(0.0, float(norm.isf(float(p)))) for p in (seen, expected))
        return found, hoped, fitted


def reference(result: Result, regions: dict[str, Region], rounds: int) -> None:
    """The reference CLs from the parsed archive: value and time by method."""
    spec = regions[REGION].with_signal(SIGNAL)
    seconds: dict[str, list[float]] = {name: [] for name in ("twin", *PEERS)}
    values = {}

    def peer() -> float:
        parsed = pyhf.Workspace(spec, validate=False)
        model = parsed.model()
        return float(pyhf.infer.hypotest(1.0, parsed.data(model), model, return_expected_set=True)[0])

    for turn in range(rounds):
        values["twin"], taken = timed(lambda: cls(Model.of(spec)).observed)
        seconds["twin"].append(taken)
        for name, backend in PEERS.items():
            if turn and name == "pyhf_numpy_minuit":
                continue
            pyhf.set_backend(*backend)
            values[name], taken = timed(peer)
            seconds[name].append(taken)
    at: At = {"region": REGION, "signal": SIGNAL}
    for name, value in values.items():
        result.metrics.append(Metric(name="cls", at=at, method=name, sample="ins1748602", value=value,
                                     reference=REFERENCE, source="pyhf regression test"))  # fmt: skip
        add(result, "cls_seconds", name, median(seconds[name]), at)
        if name != "twin":
            ratio = median(seconds[name]) / median(seconds["twin"])
            add(result, "cls_ratio", f"twin over {name}", ratio, at)


def whole(result: Result, archive: Path) -> None:
    """From the archive on disk to CLs, and to a limit with all bands beside pyhf's scan of 11 points."""
    at: At = {"region": REGION, "signal": SIGNAL}

    def ours() -> float:
        return cls(Model.of(read_archive(archive)[REGION].with_signal(SIGNAL))).observed

    add(result, "archive_to_cls_seconds", "twin", median(timed(ours)[1] for _ in range(3)), at)
    spec = read_archive(archive)[REGION].with_signal(SIGNAL)
    mine = median(timed(lambda: upper_limit(Model.of(spec)))[1] for _ in range(3))
    pyhf.set_backend("pytorch", "scipy")

    def theirs() -> Any:
        parsed = pyhf.Workspace(spec, validate=False)
        model = parsed.model()
        data = pyhf.tensorlib.astensor(parsed.data(model))
        scan = np.linspace(0.5, 8.0, 11)  # its own search for the limit does not take torch's numbers
        return [pyhf.infer.hypotest(mu, data, model, return_expected_set=True) for mu in scan]

    add(result, "limit_seconds", "twin", mine, at)
    theirs_seconds = timed(theirs)[1]
    add(result, "limit_seconds", "pyhf_torch_scipy", theirs_seconds, at)
    add(result, "limit_ratio", "twin over pyhf_torch_scipy", theirs_seconds / mine, at)


def agreement(
    result: Result, regions: dict[str, Region], points: int, everywhere: bool, save: Callable[[], None]
) -> None:
    """Limits and significances of signals of the twin and of pyhf.

    Signals are spread evenly over those that all regions have; each is looked at in the region where pyhf
    expects the lowest limit, if `everywhere` in the others too. Expected significances are those of one data
    set, expected with pyhf's fit at mu = 1: far from the data a likelihood has several minima, since
    resolutions are as uncertain up as down, and `fit_difference` is by how much ours lies above theirs.
    """
    common = sorted(set.intersection(*(set(region.patches) for region in regions.values())))
    signals = [common[round(place)] for place in np.linspace(0, len(common) - 1, points)]
    worst: dict[tuple[str, str], float] = {}
    for signal in signals:
        peers, models = {}, {}
        for name in sorted(regions):
            spec = widened(regions[name].with_signal(signal))
            models[name], peers[name] = Model.of(spec), Peer(spec)
        limits = {name: upper_limit(model) for name, model in models.items()}
        best = min(limits, key=lambda name: float(limits[name].expected[2]))
        for name in limits if everywhere else [best]:
            at: At = {"region": name, "signal": signal, "best": int(name == best)}
            model, peer, limit = models[name], peers[name], limits[name]
            seen, expected, their_fit = peer.significance(model.twin.parameters.names)
            both = {
                "upper_limit": (limit.observed, peer.limit(0, limit.observed)),
                "upper_limit_expected": (limit.expected[2], peer.limit(1, float(limit.expected[2]))),
                "significance": (discovery(model).z, seen),
                "significance_expected": (discovery(model, model.asimov(1.0, their_fit)).z, expected),
            }
            for quantity, (ours, theirs) in both.items():
                add(result, quantity, "twin", float(ours), at)
                add(result, quantity, "pyhf_torch_scipy", float(theirs), at)
                scale = theirs if quantity.startswith("upper") else 1.0
                for kind in ("best", "all") if name == best else ("all",):
                    before = worst.get((quantity, kind), 0.0)
                    worst[quantity, kind] = max(before, abs(float(ours) - theirs) / scale)
            ours_at = model.minimum(model.observed, 1.0).deviance
            theirs_at = model.twin.deviance(their_fit, model.observed)
            add(result, "fit_difference", "twin against pyhf_torch_scipy", float(ours_at - theirs_at), at)
            save()
            print(
                signal, at, {k: (round(float(a), 5), round(b, 5)) for k, (a, b) in both.items()}, flush=True
            )
    for (quantity, kind), difference in worst.items():
        label = "relative" if quantity.startswith("upper") else "absolute"
        where: At = {"quantity": quantity, "signals": len(signals), "regions": kind}
        add(result, f"largest_{label}_difference", "twin against pyhf_torch_scipy", difference, where)


def widened(spec: dict[str, Any], most: float = 2000.0) -> dict[str, Any]:
    """With mu free up to `most`: published bounds of 0 to 10 cut off the limits of weak signals."""
    measurement = spec["measurements"][0]
    config = measurement["config"]
    bounds = {"name": config["poi"], "bounds": [[0.0, most]]}
    config = {**config, "parameters": [*config["parameters"], bounds]}
    return {**spec, "measurements": [{**measurement, "config": config}]}


def with_cabinetry(result: Result, regions: dict[str, Region]) -> None:
    """Significances of the reference signal where it is expected to be seen, by cabinetry with Minuit."""
    import cabinetry

    pyhf.set_backend("pytorch")
    spec = regions[REGION].with_signal("sbottom_900_250_60")
    at: At = {"region": REGION, "signal": "sbottom_900_250_60"}
    model, data = cabinetry.model_utils.model_and_data(spec)
    found, seconds = timed(lambda: cabinetry.fit.significance(model, data))
    mine = Model.of(spec)

    def both() -> tuple[float, float]:
        fitted = mine.asimov(1.0, mine.minimum(mine.observed, 1.0).theta)
        return discovery(mine).z, discovery(mine, fitted).z

    ours, taken = timed(both)
    for method, pair, spent in (
        ("twin", ours, taken),
        ("cabinetry", (found.observed_significance, found.expected_significance), seconds),
    ):
        add(result, "significance", method, float(pair[0]), {**at, "bounds": "published"})
        add(result, "significance_expected", method, float(pair[1]), {**at, "bounds": "published"})
        add(result, "significance_seconds", method, spent, at)


def many_events() -> Model:
    """Three bins with hundreds of events each, three systematic effects, an excess."""
    b = np.array([900.0, 500.0, 260.0])
    effects = [Systematic("shape", b * [0.98, 1.0, 1.04]), Systematic("rate", 0.03)]
    signal = Process("s", [20.0, 40.0, 60.0], [Systematic("theory", 0.1)], signal=True)
    data = [915.0, 522.0, 301.0]
    return Model.of(workspace([Channel("SR", [signal, Process("b", b, effects)], data=data)]))


def toys(result: Result, regions: dict[str, Region], count: int) -> None:
    """Toys against asymptotic formulas, and toys per second beside pyhf."""
    published = Model.of(regions[REGION].with_signal(SIGNAL))
    for sample, model, mu in (("many events", many_events(), 1.0), ("ins1748602", published, 1.0)):
        number = count if sample == "many events" else count // 5
        counted, seconds = timed(lambda: toy_cls(model, mu, count=number))  # noqa: B023
        formula = cls(model, mu).observed
        add(result, "cls", "toys", counted.value, {"mu": mu, "toys": number}, sample, counted.error)
        add(result, "cls", "asymptotic", formula, {"mu": mu}, sample)
        add(result, "cls_pull", "toys", (counted.value - formula) / counted.error, {"mu": mu}, sample)
        add(result, "toys_per_second", "twin", 2 * number / seconds, {}, sample)
        p = toy_discovery(model, count=number)
        z = discovery(model)
        add(result, "p0", "toys", p.value, {"toys": number}, sample, p.error)
        add(result, "p0", "asymptotic", z.p, {}, sample)
        if (
            z.z > 0.01
        ):  # without an excess the formula says 0.5 and the toys, of which as many have none, more
            add(result, "p0_pull", "toys", (p.value - z.p) / p.error, {}, sample)
        few = 200 if sample == "many events" else 6
        pyhf.set_backend("pytorch", "scipy")
        parsed = pyhf.Workspace(model.spec, validate=False)
        peer = parsed.model()
        data = pyhf.tensorlib.astensor(parsed.data(peer))
        torch.manual_seed(1)
        value, seconds = timed(
            lambda: pyhf.infer.hypotest(mu, data, peer, calctype="toybased", ntoys=few, track_progress=False,  # noqa: B023
                                        return_tail_probs=True)
        )  # fmt: skip
        add(result, "toys_per_second", "pyhf_torch_scipy", 2 * few / seconds, {}, sample)
        if sample == "many events":
            tails = [float(tail) for tail in value[1]]
            error = float(value[0]) * sum((1 - tail) / max(tail * few, 1.0) for tail in tails) ** 0.5
            add(result, "cls", "pyhf toys", float(value[0]), {"mu": mu, "toys": few}, sample, error)


def gradients(result: Result) -> None:
    """Ten bins, twenty nuisance parameters: an objective with its gradient in all yields."""
    rng = np.random.default_rng(1)
    b, s = np.linspace(200, 20, 10), np.linspace(2, 15, 10)
    effects = [Systematic(f"effect {k}", b * (1 + 0.05 * rng.normal(size=10))) for k in range(10)]
    effects += [Systematic(f"rate {k}", 0.02) for k in range(10)]
    channel = Channel("SR", [Process("s", s, signal=True), Process("b", b, effects)])
    twin = Model.of(workspace([channel])).twin
    at: At = {"bins": 10, "nuisances": 20}
    for objective in (expected_significance, expected_limit):

        def step(objective: Any = objective) -> None:
            nominal = twin.nominal.clone().requires_grad_()
            objective(twin.with_(nominal=nominal)).backward()

        step()
        add(
            result,
            f"{objective.__name__}_gradient_ms",
            "twin",
            1e3 * median(timed(step)[1] for _ in range(15)),
            at,
        )


def log_likelihoods(result: Result, regions: dict[str, Region]) -> None:
    """Largest difference of ln L from pyhf's at random parameters, over the regions."""
    rng, largest = np.random.default_rng(1), 0.0
    pyhf.set_backend("numpy")
    for region in regions.values():
        spec = region.with_signal(SIGNAL)
        model, parsed = Model.of(spec), pyhf.Workspace(spec, validate=False)
        peer = parsed.model()
        data, p = parsed.data(peer), model.twin.parameters
        order = [p.names.index(name) for name in peer.config.par_names]
        for _ in range(20):
            theta = np.abs(p.start.numpy() + 0.3 * rng.normal(size=len(order)) * ~p.fixed.numpy())
            theirs = float(peer.logpdf(theta[order], data)[0])
            ours = float(model.twin.log_likelihood(torch.as_tensor(theta)[None], model.observed)[0])
            largest = max(largest, abs(ours - theirs))
    add(
        result,
        "largest_absolute_difference",
        "twin against pyhf_numpy",
        largest,
        {"quantity": "log_likelihood"},
    )


def add(
    result: Result,
    name: str,
    method: str,
    value: float,
    at: Any,
    sample: str = "ins1748602",
    error: float | None = None,
) -> None:
    result.metrics.append(Metric(name=name, at=at, method=method, sample=sample, value=value, error=error))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--everywhere", action="store_true", help="each signal in all regions")
    parser.add_argument("--toys", type=int, default=20_000)
    parser.add_argument("--cabinetry", action="store_true")
    parser.add_argument("--stages", nargs="*", help="only these, added to what --out holds already")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of pyhf's libraries
    result = Result.start("statistics", "benchmark", 1, " ".join(["python", *sys.argv]))
    result.versions["pyhf"] = pyhf.__version__
    if arguments.out and arguments.out.exists():  # more stages for it
        now, result = result, Result.read(arguments.out)
        result.versions["commit of later stages"] = now.versions["commit"]
    regions = read_archive(arguments.archive)

    def save() -> None:
        if arguments.out:
            result.write(arguments.out)

    stages = {
        "log likelihoods": lambda: log_likelihoods(result, regions),
        "gradients": lambda: gradients(result),
        "reference": lambda: reference(result, regions, 3),
        "whole": lambda: whole(result, arguments.archive),
        "toys": lambda: toys(result, regions, arguments.toys),
        "agreement": lambda: agreement(result, regions, arguments.points, arguments.everywhere, save),
    }
    if arguments.cabinetry:
        stages["cabinetry"] = lambda: with_cabinetry(result, regions)
    for name in arguments.stages or stages:
        result.seconds[name] = round(timed(stages[name])[1], 3)
        print(name, result.seconds[name], flush=True)
        save()
    for metric in result.metrics:
        if "signal" not in metric.at or metric.name.endswith(("seconds", "ratio")):
            print(metric.name, metric.method, metric.at, metric.sample, metric.value, metric.error)


if __name__ == "__main__":
    main()
