"""How much each candidate of a jet counts for an answer: integrated gradients [1703.01365]."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from femtobarn.data.ragged import Batch
from femtobarn.learn.method import Classifier
from femtobarn.nn.candidates import Cloud

__all__ = ["integrated_gradients"]


def integrated_gradients(tagger: Classifier, batch: Batch, name: str, steps: int = 64) -> Tensor:
    """Attribution (T,) of the log-probability of class `name` to the candidates of a batch.

    The gradients are taken with respect to the features of the candidates, and summed along the straight way
    from those of nought, where all candidates are alike [1703.01365, Eqs. 1 and 3]: for each jet they add up
    to what its log-probability gains on that way. A tagger that reads momenta beside features (images, pairs,
    Lorentz vectors) keeps these as they are.

    Args:
        tagger: a fitted network on candidates.
        batch: jets as `data.packing.to_batch` packs them.
        name: the class.
        steps: on the way, by the midpoint rule.
    """
    network = tagger.fitted_module.eval()
    candidates: Any = network.candidates
    code = tagger.classes.index(name)
    with torch.no_grad():
        full: Tensor = candidates(batch).features
    total = torch.zeros_like(full)
    for step in range(steps):
        features = (full * ((step + 0.5) / steps)).requires_grad_()

        def on_the_way(module: Any, inputs: Any, cloud: Cloud, now: Tensor = features) -> Cloud:
            return replace(cloud, features=now)

        handle = candidates.register_forward_hook(on_the_way)
        try:
            answer = torch.log_softmax(network(batch)[tagger.label].float(), -1)[:, code].sum()
        finally:
            handle.remove()
        total += torch.autograd.grad(answer, features)[0]
    return (full * total / steps).sum(-1)
