"""The command line: thin, one function per command.

Exit codes: 0 done, 2 bad input (one sentence on stderr), 130 after Ctrl-C, 1 anything unforeseen.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import yaml
from rich.console import Console
from rich.table import Table

from femtobarn import registry
from femtobarn.errors import InputError

app = typer.Typer(
    help="Machine learning for high energy physics, from collisions to a result.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print for machines.")]
Seed = Annotated[int, typer.Option(help="Seed of every random number.", min=0)]
Workers = Annotated[int, typer.Option(help="Processes at once.", min=1)]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="Change one setting: KEY.SUBKEY=VALUE, repeatable.")
]
Units = Annotated[str | None, typer.Option(help="MeV or GeV, for a file that does not say.")]
TreeName = Annotated[str | None, typer.Option(help="Tree of a ROOT file; found when there is only one.")]
CORES = os.cpu_count() or 1


def main() -> None:
    """Run the command line; bad input ends in one sentence and exit code 2."""
    try:
        app()
    except InputError as error:
        print(f"femtobarn: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("femtobarn: interrupted; what was finished is kept, nothing is half-written", file=sys.stderr)
        sys.exit(130)


@app.command()
def recipes(as_json: Json = False) -> None:
    """What published systems can be repeated, and at which scales they have been measured."""
    from femtobarn.evaluate.table import measured_scales

    measured = measured_scales(Path("results"))
    rows = [
        (name, registry.find("recipes", name).summary, ", ".join(measured.get(name, [])))
        for name in registry.names("recipes")
    ]
    _print_rows(["recipe", "what it is", "measured"], rows, as_json)


@app.command()
def methods(as_json: Json = False) -> None:
    """What methods there are."""
    rows = []
    for name in registry.names("methods"):
        kind = registry.find("methods", name)
        rows.append((name, kind.__mro__[1].__name__, (kind.__doc__ or "").strip().partition("\n")[0]))
    _print_rows(["method", "verb", "what it is"], rows, as_json)


@app.command()
def run(
    recipe: str,
    scale: Annotated[str, typer.Option(help="smoke, quick, standard or full.")] = "quick",
    only: Annotated[str | None, typer.Option(help="One unit: METHOD:SEED.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the page, the result and the models.")] = None,
    seed: Seed = 1,
    workers: Workers = CORES,
    changes: Changes = None,
    as_json: Json = False,
) -> None:
    """Repeat a published system: simulate, train, measure, report."""
    from femtobarn.evaluate.numbers import duration
    from femtobarn.recipes.run import Run, Unit

    chosen = registry.find("recipes", recipe)
    settings = chosen.settings(scale, _changes(changes))
    folder = out or Path("runs") / f"{recipe}-{scale}"
    unit = Unit.parse(only) if only else None
    this = Run(recipe, scale, folder, seed, workers, unit, command=" ".join(["femtobarn", *sys.argv[1:]]))
    result = chosen(settings, this)
    if as_json:
        print(result.model_dump_json(indent=1))
    elif this.report:
        this.report.show(Console())
        for stage, seconds in result.seconds.items():
            print(f"{stage:>24}: {duration(seconds)}")
        print(f"report page: {folder / 'report.html'}")


@app.command()
def simulate(
    process: Annotated[str, typer.Argument(help="ttbar, dijet, ...; jets: as candidates, for jet taggers.")],
    out: Annotated[Path, typer.Option(help="File to write: .h5 (ATLAS layout) or .parquet.")],
    n: Annotated[int, typer.Option("-n", help="Collisions to simulate.", min=1)],
    pileup: Annotated[
        float | None,
        typer.Option(help="Mean number of further collisions per crossing; 20, none at the Z pole.", min=0),
    ] = None,
    seed: Seed = 1,
    workers: Workers = CORES,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler.")] = None,
    rows: Annotated[
        Literal["jets", "events"],
        typer.Option(help="jets with their tracks, or events of leptons, photons, jets and MET."),
    ] = "jets",
    underlying_event: Annotated[
        Literal["full", "overlay", "off"] | None,
        typer.Option(
            help="full; overlay: minimum-bias events instead of multi-parton interactions, for jets; "
            "off, for events. Default: full for jets, off for events, several times faster."
        ),
    ] = None,
    changes: Changes = None,
    as_json: Json = False,
) -> None:
    """Simulate collisions in a detector and write their jets with tracks, or whole events.

    Jets of quarks and gluons: simulate jets --set "classes=[gluon, quark]" --set calorimeter.jet_radius=0.4
    -n 1000 --out jets.parquet; their range: --set calorimeter.jet_pt_min=20 --set jet_pt_max=2000.
    """
    from femtobarn.learn.config import merged, parse
    from femtobarn.progress import progress_bar
    from femtobarn.simulation import EventSettings, SimulationSettings
    from femtobarn.simulation import simulate as simulate_sample
    from femtobarn.simulation.simulate import OWN, AnySettings

    kind: type[AnySettings] = EventSettings if rows == "events" else OWN.get(process, SimulationSettings)
    settings = parse(kind, merged({}, _changes(changes)), "--set")
    with progress_bar(f"simulate {process}", "events") as progress:
        summary = simulate_sample(
            process,
            n,
            out,
            seed=seed,
            pileup=pileup,
            workers=workers,
            scheduler=scheduler,
            settings=settings,
            underlying_event=underlying_event,
            progress=progress,
        )
    print(summary.model_dump_json(indent=1) if as_json else f"{out}: {summary}")


@app.command()
def inspect(file: Path, tree: TreeName = None, as_json: Json = False) -> None:
    """What is in a file: collections, fields, types, counts."""
    from femtobarn.data import inspect as inspect_file

    contents = inspect_file(file, tree=tree)
    print(contents.model_dump_json(indent=1) if as_json else contents)


@app.command()
def convert(
    sources: Annotated[list[str], typer.Argument(help="SRC... DST", metavar="SRC... DST")],
    tree: TreeName = None,
    collection: Annotated[str | None, typer.Option(help="Collection whose entries become the rows.")] = None,
    units: Units = None,
) -> None:
    """Convert between ROOT, HDF5 and Parquet, any way round, streamed."""
    from femtobarn.data import convert as convert_files
    from femtobarn.progress import progress_bar

    if len(sources) < 2:
        raise InputError("convert needs one or more source files and a destination: SRC... DST")
    *inputs, destination = sources
    with progress_bar("convert", "rows") as progress:
        convert_files(
            inputs, Path(destination), tree=tree, collection=collection, units=units, progress=progress
        )


@app.command()
def train(
    config: Path,
    out: Annotated[Path | None, typer.Option(help="Folder of the model; default: runs/CONFIG.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in OUT.")] = False,
    changes: Changes = None,
) -> None:
    """Train a method as a YAML file says: data, inputs, method, training."""
    from femtobarn.learn.config import TrainConfig

    parsed = TrainConfig.read(config, _changes(changes))
    method, training = parsed.build()
    folder = out or Path("runs") / config.stem
    checkpoints = folder.with_name(folder.name + ".checkpoints")
    if checkpoints.exists() and not resume:
        raise InputError(
            f"{checkpoints}: an unfinished training is there; go on with --resume or remove the folder"
        )
    train_sample, valid_sample = parsed.data.samples()
    method.fit(train_sample, valid_sample, parsed.inputs_of(method), training, resume=checkpoints)
    method.save(folder)
    shutil.rmtree(checkpoints, ignore_errors=True)
    print(folder)


@app.command()
def predict(
    model: Path,
    files: list[str],
    out: Annotated[Path, typer.Option(help="File with the scores appended.")],
    units: Units = None,
) -> None:
    """Append a saved model's scores to the rows of files."""
    from femtobarn.data import append_columns, open_sample
    from femtobarn.data.packing import fields_of
    from femtobarn.learn.model_files import load
    from femtobarn.progress import progress_bar

    method = load(model)
    sample = open_sample(files, units=units)
    sample.schema.restrict(fields_of(method.fitted_inputs.without_labels()), sample.where)
    with progress_bar("predict", "rows") as progress:
        append_columns(sample, getattr(method, method.verb), out, progress=progress)
    print(out)


@app.command()
def evaluate(
    files: list[str],
    model: Annotated[Path | None, typer.Option(help="A saved model to score the rows with.")] = None,
    scores: Annotated[
        list[str] | None, typer.Option(help="Stored scores: b=FIELD[,c=FIELD,u=FIELD], repeatable.")
    ] = None,
    label: Annotated[str, typer.Option(help="Field with the true flavour.")] = "flavour_label",
    background: Annotated[
        str | None,
        typer.Option(
            help="Class that the others are to be told from, of a model of other classes than flavours."
        ),
    ] = None,
    collection: Annotated[str | None, typer.Option(help="Collection whose entries are the jets.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the page and the result.")] = Path("runs/evaluate"),
    split: Annotated[
        Literal["train", "valid", "test", "all"] | None,
        typer.Option(
            help="Rows judged; default: for a model test, where the file knows its events, else all."
        ),
    ] = None,
    units: Units = None,
    as_json: Json = False,
) -> None:
    """Measure a tagger on a file: ROC curves, rejections, working points, a report page."""
    from femtobarn.evaluate.files import evaluate_files

    if (model is None) == (not scores):
        raise InputError("evaluate needs either --model DIR or --scores b=FIELD[,c=FIELD,u=FIELD]")
    scorer = None
    if model:
        from femtobarn.learn.model_files import load

        scorer = load(model)
        if scorer.verb != "predict":
            raise InputError(
                f"{model}: '{scorer.name}' gives no probabilities of classes to measure; "
                "`femtobarn predict` appends its scores to a file"
            )
        if "b" not in scorer.fitted_inputs.labels[scorer.label].classes:
            from femtobarn.evaluate.classes import evaluate_classes

            result = evaluate_classes(files, scorer, background=background, units=units, out=out, split=split)
            print(result.model_dump_json(indent=1) if as_json else out / "report.html")
            return
    if background is not None:
        raise InputError(f"--background {background}: among flavours, b is judged against c and light")
    result = evaluate_files(
        files,
        scorer=scorer,
        scores=[_fields(score) for score in scores or []],
        label=label,
        collection=collection,
        units=units,
        out=out,
        split=split,
    )
    print(result.model_dump_json(indent=1) if as_json else out / "report.html")


@app.command()
def export(model: Path, out: Path) -> None:
    """Export a saved model to ONNX, checked against torch."""
    from femtobarn.learn.model_files import load

    print(load(model).export(out))


@app.command()
def table(
    results: Annotated[Path, typer.Argument(help="Folder of results.")] = Path("results"),
    markdown: Annotated[bool, typer.Option("--markdown", help="Print as Markdown.")] = False,
    as_json: Json = False,
) -> None:
    """Our figures beside the papers'."""
    from femtobarn.evaluate.table import print_table

    print_table(results, "json" if as_json else "markdown" if markdown else "terminal")


def _fields(score: str) -> dict[str, str]:
    """`"b=F,c=G"` as a dictionary."""
    parts = [part.partition("=") for part in score.split(",")]
    names = [name for name, _, _ in parts]
    if not all(name in ("b", "c", "u", "tau") and field for name, _, field in parts) or len({*names}) < len(
        parts
    ):
        raise InputError(f"--scores {score}: expected b=FIELD[,c=FIELD,u=FIELD], each once")
    return {name: field for name, _, field in parts}


def _changes(entries: list[str] | None) -> dict[str, Any]:
    changes = {}
    for entry in entries or []:
        key, sign, value = entry.partition("=")
        if not sign or not key:
            raise InputError(f"--set {entry}: expected KEY=VALUE, for example training.epochs=3")
        try:
            changes[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"--set {entry}: the value is not YAML; put it in quotes") from None
    return changes


def _print_rows(columns: list[str], rows: Sequence[tuple[str, ...]], as_json: bool) -> None:
    if as_json:
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=1))
        return
    shown = Table(*columns, box=None)
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)
