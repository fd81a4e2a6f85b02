"""GN2 in salt 0.13.0: rates of training and prediction. Run by `gn2_vs_salt.py` in an environment with salt.

    python benchmarks/salt_gn2.py FILE --batch 1000 --threads 2

The model is salt's own, put together from its own classes with the values of its GN2.yaml, which the wheel
does not hold; batches are read from the file by salt's own data set.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from pathlib import Path

import h5py
import numpy as np
import torch
import yaml
from salt.data.datasets import SaltDataset
from salt.models import (
    ClassificationTask,
    GlobalAttentionPooling,
    InputNorm,
    SaltModel,
    Transformer,
    VertexingTask,
)
from torch import nn

import gn2_clock

VARIABLES = {
    "jets": ["pt_btagJes", "eta_btagJes"],
    "tracks": [
        "d0", "z0SinTheta", "dphi", "deta", "qOverP", "IP3D_signed_d0_significance",
        "IP3D_signed_z0_significance", "phiUncertainty", "thetaUncertainty", "qOverPUncertainty",
        "numberOfPixelHits", "numberOfSCTHits", "numberOfInnermostPixelLayerHits",
        "numberOfNextToInnermostPixelLayerHits", "numberOfInnermostPixelLayerSharedHits",
        "numberOfInnermostPixelLayerSplitHits", "numberOfPixelSharedHits", "numberOfPixelSplitHits",
        "numberOfSCTSharedHits",
    ],
}  # fmt: skip
LABELS = {"jets": ["flavour_label"], "tracks": ["ftagTruthOriginLabel", "ftagTruthVertexIndex"]}
FLAVOURS = ["bjets", "cjets", "ujets", "taujets"]


def scaling(file: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Means and deviations, as salt's norm_dict."""
    answer: dict[str, dict[str, dict[str, float]]] = {}
    with h5py.File(file) as data:
        for name, variables in VARIABLES.items():
            rows = data[name][:5000]
            rows = rows[rows["valid"]] if "valid" in rows.dtype.names else rows
            answer[name] = {
                field: {"mean": float(rows[field].mean()), "std": float(rows[field].std() or 1.0)}
                for field in variables
            }
    return answer


def model() -> SaltModel:
    """GN2.yaml: 256, 4 layers, 8 heads, ReLU, LayerNorm before each block, out 128, heads 128-64-32."""

    def head(out: int, size: int = 128, context: int = 128) -> dict[str, object]:
        hidden = {"hidden_layers": [128, 64, 32], "activation": "ReLU"}
        return {"input_size": size, "output_size": out, "context_size": context, **hidden}

    jets = ClassificationTask(
        name="jets_classification", input_name="jets", label="flavour_label", class_names=FLAVOURS,
        loss=nn.CrossEntropyLoss(weight=torch.ones(4)), dense_config=head(4, context=0),
    )  # fmt: skip
    origin = ClassificationTask(
        name="track_origin", input_name="tracks", label="ftagTruthOriginLabel", weight=0.5,
        loss=nn.CrossEntropyLoss(weight=torch.ones(8)), dense_config=head(8),
    )  # fmt: skip
    vertex = VertexingTask(
        name="track_vertexing", input_name="tracks", label="ftagTruthVertexIndex", weight=1.5,
        loss=nn.BCEWithLogitsLoss(reduction="none"), dense_config=head(1, size=256),
    )  # fmt: skip
    tasks = nn.ModuleList([jets, origin, vertex])
    initial = {
        "input_name": "tracks",
        "dense_config": {"output_size": 256, "hidden_layers": [256], "activation": "ReLU"},
        "variables": VARIABLES,
        "global_object": "jets",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no flash attention on a processor: salt says so and goes on
        encoder = Transformer(
            num_layers=4, embed_dim=256, out_dim=128, attn_type="flash-varlen", norm="LayerNorm",
            do_final_norm=True, dense_kwargs={"activation": "ReLU", "gated": False},
            attn_kwargs={"num_heads": 8},
        )  # fmt: skip
    made = SaltModel([initial], tasks, encoder=encoder, pool_net=GlobalAttentionPooling(128))
    for task in tasks:
        task.global_object, task.model_name = "jets", "GN2"
    return made


def main() -> None:
    arguments = gn2_clock.arguments(argparse.ArgumentParser(description=__doc__))
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    with tempfile.TemporaryDirectory() as folder:
        norm = Path(folder) / "norm.yaml"
        norm.write_text(yaml.safe_dump(scaling(arguments.file)))
        names = {"jets": "jets", "tracks": "tracks"}
        data = SaltDataset(arguments.file, norm, VARIABLES, "fit", labels=LABELS)
        network = nn.ModuleDict({"norm": InputNorm(norm, VARIABLES, "jets", names), "model": model()})
    size = arguments.batch
    starts = np.arange(gn2_clock.BATCHES) * size
    batches = [data[slice(start, start + size)] for start in starts.tolist()]
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=1e-5)

    def forward(index: int, labels: bool) -> dict[str, torch.Tensor]:
        inputs, masks, truth = batches[index]
        scaled = network["norm"](dict(inputs))
        _, loss = network["model"](scaled, dict(masks), truth if labels else None)
        return loss

    def train(index: int) -> None:
        optimiser.zero_grad()
        sum(forward(index, True).values()).backward()
        optimiser.step()

    def predict(index: int) -> None:
        with torch.inference_mode():
            forward(index, False)

    parameters = sum(p.numel() for p in network.parameters())
    print(json.dumps(gn2_clock.measure(network, train, predict, size) | {"parameters": parameters}))


if __name__ == "__main__":
    main()
