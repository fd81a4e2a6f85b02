"""Archives of published likelihoods: reading, the reference CLs, and what is no HistFactory."""

import copy
import io
import json
import math
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
from scipy.stats import norm

from femtobarn.errors import InputError
from femtobarn.statistics.histfactory import Channel, Process, workspace
from femtobarn.statistics.inference import Model, cls, upper_limit
from femtobarn.statistics.published import read_archive, read_workspace

BACKGROUND = workspace([Channel("SR", [Process("s", [1.0, 2.0], signal=True), Process("b", [9.0, 3.0])])])


def patch(size: float) -> list:
    sample = {
        "name": "new",
        "data": [size, size],
        "modifiers": [{"name": "mu", "type": "normfactor", "data": None}],
    }
    return [{"op": "add", "path": "/channels/0/samples/0", "value": sample}]


def files() -> dict[str, str]:
    patches = [{"metadata": {"name": "heavy", "values": [1]}, "patch": patch(0.5)}]
    return {
        "A/BkgOnly.json": json.dumps(BACKGROUND),
        "A/patch.light_1.json": json.dumps(patch(4.0)),
        "A/README.md": "text",
        "B/bkg.json": json.dumps(BACKGROUND),
        "B/patchset.json": json.dumps({"patches": patches, "version": "1.0.0", "metadata": {}}),
    }


def written(folder: Path, kind: str) -> Path:
    if kind == "folder":
        for name, text in files().items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        return folder
    path = folder / f"likelihoods.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files().items():
                archive.writestr(name, text)
        return path
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files().items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.mark.parametrize("kind", ["tar.gz", "zip", "folder"])
def test_archives_of_all_kinds(tmp_path, kind):
    regions = read_archive(written(tmp_path, kind))
    assert {name: list(region.patches) for name, region in regions.items()} == {
        "A": ["light_1"],
        "B": ["heavy"],
    }
    light, heavy = (
        cls(Model.of(regions[r].with_signal(s))).observed for r, s in (("A", "light_1"), ("B", "heavy"))
    )
    assert light < heavy
    with pytest.raises(InputError, match="A has no signal 'light_2'; did you mean 'light_1'"):
        regions["A"].with_signal("light_2")
    regions["A"].patches["odd"] = [{"op": "remove", "path": "/channels/7"}]
    with pytest.raises(InputError, match="the patch 'odd' does not fit the workspace of A"):
        regions["A"].with_signal("odd")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "not JSON"),
        ("[1, 2]", "it is a list"),
        ('{"a": 1}', "not a HistFactory workspace: 'channels' is missing"),
        (json.dumps(BACKGROUND | {"channels": [{"name": "x"}]}), "not a HistFactory workspace: "),
        (
            json.dumps(BACKGROUND | {"observations": [{"name": "y", "data": [1]}]}),
            "channel 'SR' has no observation",
        ),
    ],
)
def test_what_is_not_histfactory(tmp_path, content, sentence):
    path = tmp_path / "file.json"
    path.write_text(content)
    with pytest.raises(InputError, match=sentence) as error:
        read_workspace(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_workspace_is_read(tmp_path):
    path = tmp_path / "file.json"
    path.write_text(json.dumps(BACKGROUND))
    assert read_workspace(path) == BACKGROUND


def test_bad_archives(tmp_path):
    with pytest.raises(InputError, match=r"none.tar.gz: cannot be read \(No such file"):
        read_archive(tmp_path / "none.tar.gz")
    (tmp_path / "text.tar.gz").write_text("no archive")
    with pytest.raises(InputError, match="expected a tar or zip archive") as refused:
        read_archive(tmp_path / "text.tar.gz")
    assert len(str(refused.value).splitlines()) == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no HistFactory workspace in it"):
        read_archive(tmp_path / "empty")


def broken(change):
    """The workspace with more in it, then changed."""
    spec = copy.deepcopy(BACKGROUND)
    sample = spec["channels"][0]["samples"][1]
    sample["modifiers"] += [
        {"name": "shape", "type": "histosys", "data": {"hi_data": [10.0, 4.0], "lo_data": [8.0, 2.0]}},
        {"name": "simulation", "type": "staterror", "data": [1.0, 0.5]},
        {"name": "counted", "type": "shapesys", "data": [1.0, 0.5]},
    ]
    parameters = spec["measurements"][0]["config"]["parameters"]
    change(spec, {m["type"]: m for m in sample["modifiers"]}, sample["modifiers"], parameters)
    return spec


SYSTEMATIC = {"type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s, m, *_: m["histosys"]["data"].update(hi_data=[1.0]), r"'shape' of 'b' \(hi_data\)"),
        (lambda s, m, *_: m["staterror"].update(data=[1.0]), "'simulation' of 'b' of 'SR' has 1 bins"),
        (lambda s, m, *_: m["shapesys"].update(data=[1.0] * 3), "'counted' of 'b' of 'SR' has 3 bins"),
        (lambda s, *_: s["observations"][0].update(data=[5.0]), "the observation of 'SR' has 1 bins where 2"),
        (lambda s, *_: s["observations"][0].update(data=[5.0, math.nan]), "'SR' holds a number"),
        (lambda s, *_: s["observations"][0].update(data=[5.0, -1.0]), "less than no events"),
        (lambda s, *_: s["channels"].append(s["channels"][0]), "two channels are called 'SR'"),
        (lambda s, m, *_: m["staterror"].update(name="shape"), "called 'shape' are of different"),
        (lambda s, m, all_, _: all_.append({"name": "simulation", **SYSTEMATIC}), "called 'simulation'"),
        (lambda s, m, a, p: p[0].update(inits=[1.0, 1.0]), "gives 'mu' 2 inits, not 1"),
        (lambda s, m, a, p: p.append({"name": "simulation", "bounds": [[0, 2]]}), "1 bounds, not 2"),
        (lambda s, m, a, p: p[0].update(bounds=[[10, 0]]), "the lower is above the upper"),
    ],
)  # fmt: skip
def test_what_the_schema_lets_pass_gets_a_sentence(change, sentence, tmp_path):
    path = tmp_path / "file.json"
    path.write_text(json.dumps(broken(lambda *_: None)))
    Model.of(read_workspace(path))
    path.write_text(json.dumps(broken(change)))
    with pytest.raises(InputError, match=sentence):
        Model.of(read_workspace(path))


def test_bad_patches(tmp_path):
    (tmp_path / "BkgOnly.json").write_text(json.dumps(BACKGROUND))
    (tmp_path / "patch.x.json").write_text("[{")
    (region,) = read_archive(tmp_path).values()
    with pytest.raises(InputError, match="the patch 'x' is not JSON"):
        region.with_signal("x")
    (tmp_path / "set.json").write_text('{"patches": [{"patch": []}]}')
    with pytest.raises(InputError, match=r"set.json: not a patch set"):
        read_archive(tmp_path)


def test_the_reference_cls(shared_data):
    """Observed CLs of pyhf's own regression test; 5 s are ten times what it takes on a quiet machine."""
    start = time.process_time()
    regions = read_archive(shared_data / "atlas-likelihoods" / "ins1748602-sbottom.tar.gz")
    found = cls(Model.of(regions["RegionA"].with_signal("sbottom_1300_205_60")))
    assert found.observed == pytest.approx(0.24443627759, abs=1e-5)
    assert time.process_time() - start < 5
    assert {name: len(region.patches) > 200 for name, region in regions.items()} == dict.fromkeys(
        regions, True
    )


def test_the_expected_limit_is_where_the_lowest_fit_has_it(shared_data):
    """A fit that starts from that at another mu lies in a higher minimum here; pyhf has 0.45885."""
    regions = read_archive(shared_data / "atlas-likelihoods" / "ins1748602-sbottom.tar.gz")
    model = Model.of(regions["RegionC"].with_signal("sbottom_500_400_60"))
    expected = upper_limit(model).expected[2]
    asimov = model.asimov(0.0, model.minimum(model.observed, 0.0).theta)
    best = model.minimum(asimov, expected, asimov.aux)
    assert float(best.deviance) ** 0.5 == pytest.approx(float(norm.isf(0.025)), abs=1e-5)
    assert expected == pytest.approx(0.45885, rel=1e-4)


def test_fits_of_a_published_likelihood_do_not_depend_on_the_start(shared_data):
    regions = read_archive(shared_data / "atlas-likelihoods" / "ins1748602-sbottom.tar.gz")
    for region, signal in (("RegionC", "sbottom_800_650_60"), ("RegionA", "sbottom_500_400_60")):
        model = Model.of(regions[region].with_signal(signal))
        found = [model.minimum(model.observed, None, model.at(mu)) for mu in (0.0, 1.0, 5.0)]
        assert all(bool(one.converged) for one in found)
        assert max(abs(float(one.deviance - found[0].deviance)) for one in found) < 1e-6
