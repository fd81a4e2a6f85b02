"""What a fit did: yields before and after it with their errors, and the impact of each nuisance parameter."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from femtobarn.statistics.inference import Fit, Model, fit
from femtobarn.statistics.minimise import minimise
from femtobarn.statistics.twin import Data

__all__ = ["ChannelYields", "Impact", "impacts", "yields"]

Floats = NDArray[np.float64]


class ChannelYields(NamedTuple):
    """Expected events of each process (B,) in one channel, their total with its error, and the data."""

    name: str
    processes: dict[str, Floats]
    total: Floats
    error: Floats
    data: Floats


class Impact(NamedTuple):
    """How one nuisance parameter moved, and how mu moves with it.

    `pull` and `constraint` are in units of the prior (NaN for a free parameter, then `value` and `error` say
    it). `up`, `down`: change of mu with the parameter held one fitted standard deviation above and below its
    best value; `prior_up`, `prior_down`: one prior one. NaN where that fit did not converge.
    """

    name: str
    value: float
    error: float
    pull: float
    constraint: float
    up: float
    down: float
    prior_up: float
    prior_down: float

    @property
    def size(self) -> float:
        """The larger of the two changes after the fit."""
        return float(np.fmax(abs(self.up), abs(self.down)))


def yields(model: Model, fitted: Fit | None = None, data: Data | None = None) -> list[ChannelYields]:
    """Expected events per channel and process, before a fit or after it.

    Args:
        model: the model.
        fitted: after which fit; None: before, at the nominal parameters, with the errors of the constraints.
        data: shown beside; None: the observed.
    """
    data, p = model.observed if data is None else data, model.twin.parameters
    if fitted is None:
        theta, covariance = p.start, torch.diag(p.prior.nan_to_num() ** 2)
    else:
        theta, covariance = torch.as_tensor(fitted.values), torch.as_tensor(fitted.covariance)
    slopes = torch.func.jacrev(model.twin.expected)(theta)
    total = model.twin.expected(theta).numpy()
    error = torch.einsum("bp,pq,bq->b", slopes, covariance, slopes).clamp(min=0).sqrt().numpy()
    cells, row = model.twin.cells(theta).numpy(), model.twin.row.numpy()
    main, channel = data.main.reshape(-1).numpy(), np.array([name for name, _ in model.twin.bins])
    answer = []
    for name in dict.fromkeys(channel):
        here = channel == name
        processes = {
            process: cells[row == k] for k, (where, process) in enumerate(model.twin.rows) if where == name
        }
        answer.append(ChannelYields(str(name), processes, total[here], error[here], main[here]))
    return answer


def impacts(model: Model, data: Data | None = None, *, fitted: Fit | None = None) -> list[Impact]:
    """Impact of each nuisance parameter on mu, the largest first: four fits each, all at once.

    Args:
        model: mu must be able to move both ways: `model.with_negative_signal()` where the data want none.
        data: None: the observed.
        fitted: their best fit, if at hand.
    """
    data = model.observed if data is None else data
    fitted = fit(model, data) if fitted is None else fitted
    p = model.twin.parameters
    prior = p.prior.numpy()
    chosen = [k for k in range(len(p.names)) if k != model.twin.poi and not p.fixed[k]]
    best = torch.as_tensor(fitted.values)
    shifts = np.stack([fitted.errors, -fitted.errors, prior, -prior])[:, chosen]  # (4, K)
    start, held = best.repeat(4 * len(chosen), 1), torch.zeros(4 * len(chosen), len(best), dtype=torch.bool)
    places = torch.arange(4 * len(chosen)), torch.tensor(chosen * 4)
    moved = best[places[1]] + torch.as_tensor(np.nan_to_num(shifts)).reshape(-1)
    start[places] = moved.clamp(p.lower[places[1]], p.upper[places[1]])
    held[places] = True
    many = Data(*(part.reshape(1, -1).expand(len(start), -1) for part in data))
    minimum = minimise(model.twin, many, start, held)
    mu = torch.where(minimum.converged, minimum.theta[:, model.twin.poi], torch.nan)
    changes = mu.numpy() - fitted.mu
    changes = np.where(np.isnan(shifts), np.nan, changes.reshape(shifts.shape))
    return sorted(
        (
            Impact(p.names[k], float(fitted.values[k]), float(fitted.errors[k]), float(fitted.pulls[k]),
                   float(fitted.constraints[k]), *(float(change) for change in changes[:, place]))
            for place, k in enumerate(chosen)
        ),
        key=lambda impact: -np.nan_to_num(impact.size),
    )  # fmt: skip
