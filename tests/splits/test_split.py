"""Whole splits: parts, certificate, files, and a verification that notices everything."""

import gc
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read, write

from castile.cli.main import main
from castile.errors import InputError
from castile.splits.assignment import assign_components, make_strata
from castile.splits.dataset import read_dataset
from castile.splits.manifest import digest, read_manifest, write_split
from castile.splits.plan import SplitSettings, effective_number, make_split
from castile.splits.settings import SimilaritySettings
from castile.splits.verify import verify_split
from castile.structures import StructureSource

SIMILARITY = SimilaritySettings(cutoff=4.0, n_max=4, l_max=3)
NAMES = ("H2O", "CH3OH", "NH3", "CH4", "C2H6", "CO2", "N2", "H2CO", "C2H4", "HCN", "CO", "C2H2")


def molecules(copies: int = 3) -> list[Atoms]:
    """Molecules, each several times in slightly other shapes, with labels of all kinds."""
    generator = np.random.default_rng(0)
    structures = []
    for name in NAMES:
        for copy in range(copies):
            atoms = molecule(name)
            atoms.positions += generator.normal(scale=0.003, size=atoms.positions.shape)
            atoms.info |= {"molecule": name, "config_type": f"kind{copy}", "my_tensor": np.arange(9.0)}
            atoms.info["REF_energy"] = -float(len(atoms)) + 0.01 * copy
            atoms.arrays["my_charges"] = generator.normal(size=len(atoms))
            structures.append(atoms)
    return structures


@pytest.fixture(scope="module")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "molecules.xyz"
    write(path, molecules())
    return path


def split_to(folder: Path, data: Path, **options) -> SplitSettings:
    settings = SplitSettings(**{"threshold": 0.999, "similarity": SIMILARITY} | options)
    source = StructureSource([str(data)])
    made = make_split(read_dataset(source, (*settings.group_by, *settings.stratify)), settings)
    write_split(folder, source, made, settings, [str(data)])
    return settings


def test_parts_have_everything_and_share_nothing(tmp_path: Path, data_file: Path) -> None:
    split_to(tmp_path / "out", data_file, fractions=(0.5, 0.25, 0.25))
    parts = {name: read(tmp_path / "out" / f"{name}.xyz", ":") for name in ("train", "valid", "test")}
    assert [len(part) for part in parts.values()] == [18, 9, 9]
    seen = [{atoms.info["molecule"] for atoms in part} for part in parts.values()]
    assert sum(len(names) for names in seen) == len(NAMES)
    original = {(a.info["molecule"], a.info["config_type"]): a for a in read(data_file, ":")}
    for part in parts.values():
        for atoms in part:
            source = original[atoms.info["molecule"], atoms.info["config_type"]]
            assert atoms.info.keys() == source.info.keys()
            np.testing.assert_array_equal(atoms.info["my_tensor"], source.info["my_tensor"])
            np.testing.assert_allclose(atoms.arrays["my_charges"], source.arrays["my_charges"])
            np.testing.assert_allclose(atoms.positions, source.positions, atol=1e-8)
            assert atoms.info["REF_energy"] == source.info["REF_energy"]


def test_manifest_holds_and_is_the_same_every_time(tmp_path: Path, data_file: Path) -> None:
    split_to(tmp_path / "one", data_file)
    split_to(tmp_path / "two", data_file)
    assert (tmp_path / "one/manifest.json").read_bytes() == (tmp_path / "two/manifest.json").read_bytes()
    verification = verify_split(tmp_path / "one")
    assert verification.passed, verification.checks
    _, content = read_manifest(tmp_path / "one")
    assert content["component_sizes"] == [3] * len(NAMES)
    assert content["effective_number"] == pytest.approx(len(NAMES))
    assert content["largest_similarity"] == pytest.approx(verification.largest_similarity)
    assert content["largest_similarity"] < content["threshold"]
    assert len(content["closest_pairs"]) == 3


def tamper_index(content: dict) -> None:
    moved = content["parts"][0]["indices"].pop()
    content["parts"][1]["indices"].append(moved)


def tamper_twice(content: dict) -> None:
    content["parts"][0]["indices"].append(content["parts"][1]["indices"][0])


def tamper_similarity(content: dict) -> None:
    content["largest_similarity"] -= 1e-4


def tamper_threshold(content: dict) -> None:
    content["threshold"] = 0.5


def tamper_components(content: dict) -> None:
    content["components"][0] = 3


def tamper_kernel(content: dict) -> None:
    content["settings"]["similarity"]["cutoff"] = 3.0


def tamper_effective(content: dict) -> None:
    content["effective_number"] += 1.0


def tamper_pairs(content: dict) -> None:
    content["closest_pairs"][-1]["similarity"] = 0.1


TAMPERS = (
    tamper_index, tamper_twice, tamper_similarity, tamper_threshold, tamper_components, tamper_kernel,
    tamper_effective, tamper_pairs,
)  # fmt: skip


@pytest.mark.parametrize("rehash", [False, True], ids=["plain", "with a new hash"])
@pytest.mark.parametrize("tamper", TAMPERS)
def test_a_manifest_that_was_edited_fails(tmp_path: Path, data_file: Path, tamper, rehash: bool) -> None:
    split_to(tmp_path / "out", data_file)
    path, content = read_manifest(tmp_path / "out")
    tamper(content)
    if rehash:
        content["sha256"] = digest(content)
    path.write_text(json.dumps(content))
    assert not verify_split(tmp_path / "out").passed


@pytest.mark.parametrize("change", ["label", "position", "missing", "frame"])
def test_a_part_that_was_edited_fails(tmp_path: Path, data_file: Path, change: str) -> None:
    split_to(tmp_path / "out", data_file)
    path = tmp_path / "out" / "test.xyz"
    frames = read(path, ":")
    if change == "label":
        path.write_text(path.read_text().replace("kind0", "kind7"))
    elif change == "position":
        frames[0].positions[0, 0] += 1e-4
        write(path, frames)
    elif change == "frame":
        write(path, frames[:-1])
    else:
        path.unlink()
    assert not verify_split(tmp_path / "out").passed


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content["settings"].pop("group_by"),
        lambda content: content.update(threshold="high"),
        lambda content: content.update(parts=None),
        lambda content: content["parts"][0].update(indices=["a", "b"]),
        lambda content: content["settings"]["similarity"].pop("cutoff"),
        lambda content: content.pop("removed"),
    ],
)
def test_a_manifest_that_was_damaged_is_one_message(tmp_path: Path, data_file: Path, damage) -> None:
    split_to(tmp_path / "out", data_file)
    path, content = read_manifest(tmp_path / "out")
    damage(content)
    path.write_text(json.dumps(content))
    try:
        assert not verify_split(tmp_path / "out").passed
    except InputError as error:
        assert "manifest" in str(error) or "settings of the similarity" in str(error)  # noqa: PT017


def test_broken_structures_are_left_out_where_that_is_asked_for(
    tmp_path: Path, data_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = read(data_file, ":")
    frames[4].positions[1] = frames[4].positions[0] + [0.01, 0.0, 0.0]
    frames[20].positions[0, 0] = np.nan
    path, out, numbers = tmp_path / "broken.xyz", tmp_path / "out", tmp_path / "numbers.json"
    write(path, frames)
    options = ["--fractions", "0.5", "0.5", "--threshold", "0.999", "--cutoff", "4", "--json", str(numbers)]
    assert run("split", str(path), "-o", str(out), *options) == 1
    message = capsys.readouterr().err
    assert "broken.xyz[4]: atoms 0" in message
    assert "--skip-broken" in message
    assert run("split", str(path), "-o", str(out), *options, "--skip-broken") == 0
    message = capsys.readouterr().err
    assert "2 of 36 structures were left out" in message
    assert "broken.xyz[20]: atom 0" in message
    assert json.loads(numbers.read_text())["n_skipped"] == 2
    _, content = read_manifest(out)
    assert [item["index"] for item in content["skipped"]] == [4, 20]
    named = sorted(index for part in content["parts"] for index in part["indices"])
    assert named == [k for k in range(36) if k not in (4, 20)]
    for part in content["parts"]:
        for index, atoms in zip(part["indices"], read(out / part["file"], ":"), strict=True):
            np.testing.assert_allclose(atoms.positions, frames[index].positions, atol=1e-7)
    assert run("split", "--verify", str(out)) == 0
    content["skipped"] = content["skipped"][:1]
    content["parts"][0]["indices"].append(20)
    content["sha256"] = digest(content)
    (out / "manifest.json").write_text(json.dumps(content))
    assert not verify_split(out).passed


def test_a_new_split_leaves_no_part_of_an_older_one_behind(tmp_path: Path, data_file: Path) -> None:
    split_to(tmp_path / "out", data_file, fractions=(0.5, 0.25, 0.25))
    (tmp_path / "out/notes.xyz").write_text("mine")
    split_to(tmp_path / "out", data_file, fractions=(0.5, 0.5))
    assert sorted(p.name for p in (tmp_path / "out").glob("*.xyz")) == ["notes.xyz", "test.xyz", "train.xyz"]
    assert verify_split(tmp_path / "out").passed


def test_keys_of_labels_are_those_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = molecules()
    for k, atoms in enumerate(frames):
        atoms.info |= {"dft_energy": float(k), "family": atoms.info.pop("config_type")}
    path, out = tmp_path / "data.xyz", tmp_path / "out"
    write(path, frames)
    options = ["--fractions", "0.5", "0.5", "--threshold", "0.999", "--cutoff", "4"]
    assert run("split", str(path), "-o", str(out), *options) == 1
    message = capsys.readouterr().err
    assert "--energy-key" in message
    assert "--skip-broken" not in message
    options += ["--energy-key", "dft_energy", "--config-type-key", "family", "--stratify", "config_type"]
    assert run("split", str(path), "-o", str(out), *options) == 0
    assert run("split", "--verify", str(out)) == 0
    families = [atoms.info["family"] for atoms in read(out / "train.xyz", ":")]
    assert np.unique(families, return_counts=True)[1].tolist() == [6, 6, 6]


def test_data_that_changed_fail_and_data_that_moved_do_not(tmp_path: Path, data_file: Path) -> None:
    data = tmp_path / "data.xyz"
    data.write_bytes(data_file.read_bytes())
    split_to(tmp_path / "out", data)
    data.rename(tmp_path / "moved.xyz")
    with pytest.raises(InputError, match="no such file"):
        verify_split(tmp_path / "out")
    assert verify_split(tmp_path / "out", [str(tmp_path / "moved.xyz")]).passed
    data.write_text((tmp_path / "moved.xyz").read_text().replace("kind1", "kind2"))
    assert not verify_split(tmp_path / "out").passed


def test_groups_merge_and_strata_are_shared(tmp_path: Path, data_file: Path) -> None:
    source = StructureSource([str(data_file)])
    settings = SplitSettings(
        fractions=(0.5, 0.5), threshold=0.99999999, similarity=SIMILARITY, group_by=("molecule",),
        stratify=("config_type",),
    )  # fmt: skip
    dataset = read_dataset(source, ("molecule", "config_type"))
    made = make_split(dataset, settings)
    for name in NAMES:
        inside = [p for p, m in zip(made.parts, dataset.columns["molecule"], strict=True) if m == name]
        assert len(set(inside)) == 1
    for part in (0, 1):
        kinds = [k for k, p in zip(dataset.config_types, made.parts, strict=True) if p == part]
        assert np.unique(kinds, return_counts=True)[1].tolist() == [6, 6, 6]
    with pytest.raises(InputError, match=r"molecules.xyz\[0\]: has no info key 'paper'"):
        read_dataset(source, ("paper",))


def trajectory(n: int) -> list[Atoms]:
    """A slow, continuous motion."""
    frames = []
    for step in range(n):
        atoms = molecule("CH3OH")
        atoms.set_distance(0, 1, 1.2 + 0.8 * step / n, fix=0)
        frames.append(atoms)
    return frames


def test_giant_component_is_said_plainly_and_cut_in_blocks(tmp_path: Path) -> None:
    path = tmp_path / "md.xyz"
    write(path, trajectory(60))
    source = StructureSource([str(path)])
    data = read_dataset(source)
    with pytest.raises(InputError, match=r"1 component, the largest of 60.*--block-split"):
        make_split(data, SplitSettings(threshold=0.9995, similarity=SIMILARITY))
    with pytest.raises(InputError, match=r"1 component.*From --threshold 0\.999.* on \(d = .*more than 80%"):
        make_split(data, SplitSettings(similarity=SIMILARITY, rattle=0.03))
    settings = SplitSettings(fractions=(0.7, 0.3), threshold=0.9995, similarity=SIMILARITY, blocks=True)
    made = make_split(data, settings)
    removed = np.flatnonzero(made.parts < 0)
    assert 0 < len(removed) < 20
    np.testing.assert_array_equal(removed, np.arange(removed[0], removed[0] + len(removed)))
    assert made.certificate.largest_similarity < 0.9995
    assert f"{len(removed)} of 60 structures were removed" in " ".join(made.remarks)
    write_split(tmp_path / "out", source, made, settings, [str(path)])
    assert verify_split(tmp_path / "out").passed


def test_fractions_that_cannot_be_met_are_explained() -> None:
    components = np.array([0] * 70 + list(range(1, 31)))
    assignment = assign_components(components, (0.4, 0.4, 0.2))
    assert sorted(np.bincount(assignment.parts).tolist()) == [5, 25, 70]
    assert "one component has 70 of 100" in assignment.explanation
    assert not assign_components(components, (0.8, 0.1, 0.1)).explanation
    with pytest.raises(InputError, match=r"2 components.*closest possible outcome is 2 parts of 5, 1"):
        assign_components(np.array([0, 0, 0, 0, 0, 1]), (0.5, 0.3, 0.2))
    with pytest.raises(InputError, match="1 structures cannot fill 2 parts"):
        assign_components(np.array([0]), (0.5, 0.5))
    with pytest.raises(InputError, match=r"add up to 1\.1"):
        assign_components(components, (0.8, 0.3))


def test_assignment_is_near_the_best() -> None:
    generator = np.random.default_rng(1)
    for seed in range(5):
        sizes = generator.integers(1, 40, size=60)
        labels = np.repeat(np.arange(60), sizes)
        strata = generator.integers(3, size=len(labels))
        plain = assign_components(labels, (0.7, 0.2, 0.1), seed=seed)
        np.testing.assert_allclose(plain.reached, plain.wanted, atol=1.5 / len(labels))
        mixed = assign_components(labels, (0.7, 0.2, 0.1), strata=strata, seed=seed)
        for part, wanted in enumerate(mixed.wanted):
            counts = np.bincount(strata[mixed.parts == part], minlength=3)
            np.testing.assert_allclose(counts / np.bincount(strata), wanted, atol=0.04)


def test_exhaustive_assignment_is_the_best() -> None:
    labels = np.repeat(np.arange(6), [9, 7, 6, 5, 2, 1])
    reached = assign_components(labels, (0.5, 0.5)).reached
    assert reached == (0.5, 0.5)


def test_strata_of_numbers_and_names() -> None:
    assert make_strata(["b", "a", "b"]).tolist() == [1, 0, 1]
    assert np.bincount(make_strata(np.random.default_rng(0).normal(size=1000))).tolist() == [100] * 10
    assert effective_number(np.array([4, 4])) == 2.0


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code or 0


def test_command_line(tmp_path: Path, data_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    numbers = tmp_path / "split.json"
    options = ("--fractions", "0.5", "0.25", "0.25", "--cutoff", "4", "--json", str(numbers))
    assert run("split", str(data_file), "-o", str(out), *options) == 0
    found = json.loads(numbers.read_text())
    assert found["n_structures"] == 36
    assert found["n_components"] == 12
    assert found["part/train/n_structures"] == 18
    assert found["max_cross_similarity"] < found["threshold"]
    assert found["threshold_suggested"]
    assert (out / "threshold.png").stat().st_size > 10_000
    assert run("split", "--verify", str(out)) == 0
    (out / "test.xyz").write_text((out / "test.xyz").read_text().replace("kind1", "kind0"))
    capsys.readouterr()
    assert run("split", "--verify", str(out)) == 1
    assert "test.xyz: hash" in capsys.readouterr().out


def test_workers_write_the_same_certificate(tmp_path: Path, data_file: Path) -> None:
    pytest.importorskip("distributed", reason="the package distributed is missing")
    options = ("--fractions", "0.5", "0.5", "--cutoff", "4", "--stratify", "config_type")
    assert run("split", str(data_file), "-o", str(tmp_path / "one"), *options) == 0
    assert run("split", str(data_file), "-o", str(tmp_path / "two"), *options, "--workers", "2") == 0
    assert (tmp_path / "one/manifest.json").read_bytes() == (tmp_path / "two/manifest.json").read_bytes()


def test_bad_input_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.xyz"
    path.write_text('1\nProperties=species:S:1:pos:R:3 pbc="F F F"\nH nan 0 0\n')
    assert run("split", str(path), "-o", str(tmp_path / "out")) == 1
    gc.collect()  # would warn of a file that is still open
    assert "bad.xyz[0]: atom 0 (H) has position" in capsys.readouterr().err
    assert run("split", str(path)) == 1
    assert "castile split DATA -o DIR" in capsys.readouterr().err
    data = tmp_path / "train.xyz"
    write(data, molecules(1))
    assert run("split", str(data), "-o", str(tmp_path), "--fractions", "0.5", "0.5") == 1
    assert "is also read" in capsys.readouterr().err
    assert run("split", str(data), "-o", str(tmp_path / "out"), "--fractions", "0.9", "0.9") == 1
    assert "add up to 1.8" in capsys.readouterr().err
