"""Property models: prediction, intervals, files, descriptors of other packages."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from sklearn.base import BaseEstimator, TransformerMixin

from castile.errors import InputError, ModelFileError, NotFittedError
from castile.formats.model_file import read_model_file, write_model_file
from castile.properties import ForeignDescriptor, PropertyModel, make_descriptor
from properties.cases import crystals, density


class Volume(TransformerMixin, BaseEstimator):
    """A transformer of the user: volume and mean atomic number."""

    def fit(self, structures, y=None):
        self.mean_ = np.mean([a.get_volume() for a in structures])
        return self

    def transform(self, structures):
        return np.array([[a.get_volume() / self.mean_, a.numbers.mean()] for a in structures])


@pytest.mark.parametrize("kind", ["composition", "rdf", "soap"])
def test_learns_and_comes_back_from_a_file(kind: str, tmp_path: Path) -> None:
    structures = crystals(90)
    y = density(structures)
    model = PropertyModel(make_descriptor(kind), target="density", unit="1/A^3").fit(structures[:70], y[:70])
    mean, deviation = model.predict(structures[70:])
    if kind != "composition":
        assert np.abs(mean - y[70:]).mean() < 0.25 * np.abs(y - y.mean()).mean()
    assert (model.predict(structures[70:], noise=False)[1] < deviation).all()
    path = tmp_path / "model.castile"
    model.save(path)
    again = PropertyModel.load(path)
    assert (again.target, again.unit, again.summary_.n_structures) == ("density", "1/A^3", 70)
    np.testing.assert_allclose(again.predict(structures[70:]), (mean, deviation), rtol=1e-8)
    assert again.interval_factor(0.9) == model.interval_factor(0.9)


def test_sums_over_atoms_are_extensive(tmp_path: Path) -> None:
    structures = crystals(60)
    y = density(structures) * 4
    model = PropertyModel(make_descriptor("soap", {"n_max": 4, "l_max": 2}), scope="atoms").fit(structures, y)
    single, double = model.predict(structures[0])[0], model.predict(structures[0] * (1, 1, 2))[0]
    assert double[0] == pytest.approx(2 * single[0], rel=1e-6)
    model.save(tmp_path / "sum.castile")
    loaded = PropertyModel.load(tmp_path / "sum.castile")
    np.testing.assert_allclose(loaded.predict(structures[:5]), model.predict(structures[:5]), rtol=1e-8)


def test_intervals_hold_what_they_say() -> None:
    structures = crystals(300, seed=5)
    y = density(structures) + 0.2 * np.random.default_rng(0).normal(size=300)
    model = PropertyModel(make_descriptor("rdf")).fit(structures[:150], y[:150])
    low, high = model.predict_interval(structures[150:], 0.8)
    inside = np.mean((y[150:] >= low) & (y[150:] <= high))
    assert 0.70 < inside < 0.90
    with pytest.raises(InputError, match="coverage = 1"):
        model.interval_factor(1.0)


def test_transformer_of_the_user_is_handed_over_again(tmp_path: Path) -> None:
    structures = crystals(40)
    descriptor = ForeignDescriptor(Volume())
    model = PropertyModel(descriptor).fit(structures, density(structures))
    assert np.abs(model.predict(structures)[0] - density(structures)).mean() < 0.05
    path = tmp_path / "foreign.castile"
    model.save(path)
    with pytest.raises(ModelFileError, match="Volume, which is not Castile's"):
        PropertyModel.load(path)
    again = PropertyModel.load(path, descriptor)
    np.testing.assert_allclose(again.predict(structures)[0], model.predict(structures)[0])
    other = ForeignDescriptor(Volume().fit(crystals(3, seed=9) * 1))
    other.maker.mean_ *= 2.0
    with pytest.raises(ModelFileError, match="hand over the descriptor of the fit"):
        PropertyModel.load(path, other)


def test_dscribe_and_matminer_by_name() -> None:
    pytest.importorskip("dscribe", reason="dscribe is not installed")
    structures = crystals(30)
    options = {"r_cut": 4.0, "n_max": 2, "l_max": 2, "periodic": True, "average": "inner"}
    descriptor = make_descriptor("dscribe.descriptors:SOAP", options)
    model = PropertyModel(descriptor).fit(structures, density(structures))
    assert model.predict(structures[:2])[0].shape == (2,)
    with pytest.raises(InputError, match=r"refuses .*nonsense"):
        make_descriptor("dscribe.descriptors:SOAP", {"nonsense": 1}).fit(structures)
    with pytest.raises(InputError, match="choose its average"):
        make_descriptor("dscribe.descriptors:SOAP", {**options, "average": "off"}).fit(structures)


def test_featurizers_of_matminer() -> None:
    pytest.importorskip("matminer", reason="matminer is not installed")
    structures = crystals(10)
    descriptor = make_descriptor("matminer.featurizers.structure:DensityFeatures").fit(structures)
    rows = descriptor.transform(structures)
    volumes = [a.get_volume() / len(a) for a in structures]
    assert "vpa" in descriptor.get_feature_names_out()
    np.testing.assert_allclose(rows[:, list(descriptor.get_feature_names_out()).index("vpa")], volumes)


def test_damaged_files_and_bad_input_are_told(tmp_path: Path) -> None:
    structures = crystals(30)
    model = PropertyModel(make_descriptor("rdf"))
    with pytest.raises(NotFittedError, match="call fit"):
        model.predict(structures)
    y = density(structures)
    with pytest.raises(InputError, match="y of structure 3 is nan"):
        model.fit(structures, np.where(np.arange(30) == 3, np.nan, y))
    with pytest.raises(InputError, match="one number for each"):
        model.fit(structures, y[:-1])
    model.fit(structures, y)
    with pytest.raises(InputError, match=r"structure 2 \(CH4\)|structure 2: "):
        model.predict([*structures[:2], molecule("CH4")])
    path = tmp_path / "m.castile"
    model.save(path)
    content = read_model_file(path)
    write_model_file(path, content.header, {**content.arrays, "weights": 1.01 * content.arrays["weights"]})
    with pytest.raises(ModelFileError, match="off what was written"):
        PropertyModel.load(path)
    write_model_file(path, {**content.header, "kind": "gap"}, content.arrays)
    with pytest.raises(ModelFileError, match="not a model of a property"):
        PropertyModel.load(path)
