"""Streaming QR against the QR of all rows at once."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from castile.errors import FitError
from castile.regression import StreamingQR, merge_tree

SHAPES = [(1, 1), (9, 1), (1, 5), (5, 5), (6, 5), (7, 5), (200, 5), (64, 130), (131, 130), (400, 130)]


def make_rows(n_rows, n_columns, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n_rows, n_columns)), rng.standard_normal(n_rows)


def gram(rows, targets):
    stacked = np.column_stack([rows, targets])
    return stacked.T @ stacked


def feed(rows, targets, batch, **options):
    streaming = StreamingQR(rows.shape[1], **options)
    for start in range(0, len(rows), batch):
        streaming.add(rows[start : start + batch], targets[start : start + batch])
    return streaming


@pytest.mark.parametrize(("n_rows", "n_columns"), SHAPES)
@pytest.mark.parametrize("block_rows", [None, 3])
def test_factor_has_gram_of_all_rows(n_rows, n_columns, block_rows):
    rows, targets = make_rows(n_rows, n_columns)
    factor = feed(rows, targets, 17, block_rows=block_rows).factor()
    assert factor.shape == (min(n_rows, n_columns + 1), n_columns + 1)
    np.testing.assert_allclose(factor.T @ factor, gram(rows, targets), atol=1e-11 * n_rows)


def test_triangle_equals_lapack_qr():
    rows, targets = make_rows(300, 40)
    expected = np.linalg.qr(np.column_stack([rows, targets]), mode="r")
    expected *= np.sign(np.diag(expected))[:, None]
    factor = feed(rows, targets, 50).factor()
    np.testing.assert_allclose(factor, expected, atol=1e-12)
    np.testing.assert_array_equal(factor, np.triu(factor))


def test_does_not_depend_on_batches():
    rows, targets = make_rows(500, 70)
    one = feed(rows, targets, 500).factor()
    for batch in (1, 7, 64, 499):
        np.testing.assert_array_equal(feed(rows, targets, batch).factor(), one)


def test_factor_in_between_leaves_the_result():
    rows, targets = make_rows(300, 20)
    streaming = StreamingQR(20)
    for start in range(0, 300, 10):
        streaming.add(rows[start : start + 10], targets[start : start + 10])
        streaming.factor()
    np.testing.assert_allclose(streaming.factor(), feed(rows, targets, 300).factor(), atol=1e-12)


@pytest.mark.parametrize(
    "sizes",
    [(10, 10), (10, 60), (60, 10), (60, 60), (31, 1), (20, 11), (0, 40), (40, 0)],
)
def test_merge(sizes):
    rows, targets = make_rows(sum(sizes), 30)
    left = feed(rows[: sizes[0]], targets[: sizes[0]], 8)
    right = feed(rows[sizes[0] :], targets[sizes[0] :], 8)
    right_before = right.factor()
    left.merge(right)
    factor = left.factor()
    assert left.n_rows == sum(sizes)
    assert factor.shape[0] == min(sum(sizes), 31)
    np.testing.assert_allclose(factor.T @ factor, gram(rows, targets), atol=1e-11)
    np.testing.assert_array_equal(right.factor(), right_before)


@pytest.mark.parametrize("n_parts", [1, 2, 3, 5, 8])
def test_merge_tree(n_parts):
    rows, targets = make_rows(240, 20)

    def parts():
        pieces = np.array_split(np.arange(240), n_parts)
        return [feed(rows[piece], targets[piece], 9) for piece in pieces]

    merged = merge_tree(parts())
    assert merged.n_rows == 240
    np.testing.assert_allclose(merged.factor(), feed(rows, targets, 240).factor(), atol=1e-12)
    np.testing.assert_array_equal(merge_tree(parts()).factor(), merged.factor())


@pytest.mark.parametrize("n_rows", [3, 20, 21, 22, 90])
def test_pack_round_trip_and_continue(n_rows):
    rows, targets = make_rows(n_rows + 50, 20)
    first = feed(rows[:n_rows], targets[:n_rows], 11)
    packed = first.pack()
    assert packed.values.size <= 21 * 22 / 2 + 20 * 21
    restored = StreamingQR.unpack(packed)
    np.testing.assert_array_equal(restored.factor(), first.factor())
    restored.add(rows[n_rows:], targets[n_rows:])
    assert restored.n_rows == n_rows + 50
    factor = restored.factor()
    np.testing.assert_allclose(factor.T @ factor, gram(rows, targets), atol=1e-11)


def test_relative_sigmas_divide_rows_and_are_summed():
    rows, targets = make_rows(60, 7)
    relative = np.random.default_rng(2).uniform(0.2, 5.0, 60)
    streaming = StreamingQR(7, kind="force")
    streaming.add(rows[:25], targets[:25], relative[:25])
    other = StreamingQR(7, kind="force")
    other.add(rows[25:], targets[25:], relative[25:])
    streaming.merge(other)
    labels = StreamingQR.unpack(streaming.pack()).label_factor()
    expected = feed(rows / relative[:, None], targets / relative, 60).factor()
    np.testing.assert_allclose(labels.factor, expected, atol=1e-12)
    assert labels.log_relative_sigma_sum == pytest.approx(np.sum(np.log(relative)))
    assert (labels.kind, labels.n_rows) == ("force", 60)
    with pytest.raises(FitError, match="force noise"):
        streaming.add(rows, targets, np.zeros(60))


def test_wrong_packed_size():
    rows, targets = make_rows(60, 7)
    for n_rows in (5, 60):
        packed = feed(rows[:n_rows], targets[:n_rows], 60).pack()
        with pytest.raises(FitError, match="sparse points"):
            StreamingQR.unpack(replace(packed, values=packed.values[:-1]))


def test_memory_is_bounded():
    rows, targets = make_rows(2000, 100)
    streaming = StreamingQR(100)
    largest = 0
    for start in range(0, 2000, 40):
        streaming.add(rows[start : start + 40], targets[start : start + 40])
        largest = max(largest, streaming.nbytes)
    assert largest <= 8 * 101 * (101 + 2 * streaming.block_rows)


def test_rank_deficient_rows():
    rows, targets = make_rows(100, 10)
    rows[:, 3] = rows[:, 7]
    rows[:, 5] = 0.0
    factor = feed(rows, targets, 13).factor()
    assert np.isfinite(factor).all()
    np.testing.assert_allclose(factor.T @ factor, gram(rows, targets), atol=1e-11)


def test_threads_do_not_disturb_each_other():
    rows, targets = make_rows(600, 120)
    results = {}

    def work(name):
        results[name] = feed(rows, targets, 50).factor()

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = feed(rows, targets, 50).factor()
    for name in range(4):
        np.testing.assert_array_equal(results[name], expected)


def test_errors_name_the_kind():
    streaming = StreamingQR(3, kind="force")
    rows, targets = make_rows(4, 3)
    bad_rows = rows.copy()
    bad_rows[2, 1] = np.nan
    with pytest.raises(FitError, match="force kernel row number 2"):
        streaming.add(bad_rows, targets)
    bad_targets = targets.copy()
    bad_targets[1] = np.inf
    with pytest.raises(FitError, match="force target number 1"):
        streaming.add(rows, bad_targets)
    with pytest.raises(FitError, match="expected"):
        streaming.add(rows[:, :2], targets)
    assert streaming.n_rows == 0
    with pytest.raises(FitError, match="same sparse points"):
        streaming.merge(StreamingQR(4))
    with pytest.raises(FitError, match="at least one"):
        StreamingQR(0)
    with pytest.raises(FitError, match="no factors"):
        merge_tree([])
