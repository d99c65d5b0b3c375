"""A small sparse GP problem with several kinds of label and terms, in streamed and in dense form."""

from dataclasses import dataclass

import numpy as np

from castile.regression import LabelFactor, Noise, PriorBlock, StreamingQR, fit_exact

N_ROWS = {"energy": 9, "force": 60, "stress": 25}
SIGMAS = {"energy": 0.02, "force": 0.15, "stress": 0.05}


def kernel(x, y, length):
    distances = np.sum((x[:, None] - y[None, :]) ** 2, axis=-1)
    return np.exp(-0.5 * distances / length**2)


@dataclass(frozen=True)
class Problem:
    """Rows are not yet divided by anything; ``relative`` are the relative sigmas."""

    sparse: list
    lengths: list
    amplitudes: list
    rows: dict
    targets: dict
    relative: dict
    new_points: np.ndarray

    def blocks(self, learn=True, start=True):
        blocks, first = [], 0
        for points, length, amplitude in zip(self.sparse, self.lengths, self.amplitudes, strict=True):
            columns = slice(first, first + len(points))
            first = columns.stop
            blocks.append(
                PriorBlock(
                    f"term {len(blocks)}",
                    columns,
                    kernel(points, points, length),
                    amplitude if start else None,
                    learn,
                )
            )
        return blocks

    def factors(self, part=slice(None)):
        factors = []
        for kind, rows in self.rows.items():
            relative = self.relative[kind][part]
            streaming = StreamingQR(rows.shape[1], kind=kind, block_rows=8)
            streaming.add(rows[part] / relative[:, None], self.targets[kind][part] / relative)
            factors.append(
                LabelFactor(kind, streaming.factor(), len(relative), float(np.sum(np.log(relative))))
            )
        return factors

    def noises(self, learn=True, start=True):
        return [Noise(kind, SIGMAS[kind] if start else None, learn) for kind in self.rows]

    def new_rows(self, points):
        return np.hstack(
            [kernel(points, s, length) for s, length in zip(self.sparse, self.lengths, strict=True)]
        )

    def prior_covariance(self, amplitudes, jitters):
        """Covariance of the weights."""
        n_columns = sum(len(points) for points in self.sparse)
        covariance = np.zeros((n_columns, n_columns))
        for block, amplitude, jitter in zip(self.blocks(), amplitudes, jitters, strict=True):
            K = block.K_mm + jitter * np.mean(np.diag(block.K_mm)) * np.eye(len(block.K_mm))
            covariance[block.columns, block.columns] = amplitude**2 * np.linalg.inv(K)
        return covariance

    def dense(self, sigmas, amplitudes, jitters):
        """Exact GP with the degenerate kernel A S A^T, and A and S."""
        A = np.vstack(list(self.rows.values()))
        y = np.concatenate(list(self.targets.values()))
        noise = np.concatenate(
            [self.relative[kind] * sigma for kind, sigma in zip(self.rows, sigmas, strict=True)]
        )
        S = self.prior_covariance(amplitudes, jitters)
        return fit_exact(A @ S @ A.T, y, noise**2), A, S


def make_problem(seed=0, n_terms=2, n_sparse=12, kinds=("energy", "force", "stress"), n_rows=None):
    rng = np.random.default_rng(seed)
    sparse = [rng.uniform(-2, 2, (n_sparse + 3 * t, 2)) for t in range(n_terms)]
    lengths = [1.0 / (1 + t) for t in range(n_terms)]
    amplitudes = [1.3 / (1 + t) for t in range(n_terms)]
    rows, targets, relative = {}, {}, {}
    weights = [rng.standard_normal(len(points)) * a for points, a in zip(sparse, amplitudes, strict=True)]
    for kind in kinds:
        n_kind = (n_rows or N_ROWS)[kind]
        points = rng.uniform(-2, 2, (2, n_kind, 2))
        # sums and differences of function values stand for energies and forces
        sign = 1.0 if kind == "energy" else -1.0
        rows[kind] = np.hstack(
            [kernel(points[0], s, length) + sign * kernel(points[1], s, length)
             for s, length in zip(sparse, lengths, strict=True)]
        )  # fmt: skip
        relative[kind] = np.where(rng.uniform(size=n_kind) < 0.3, 2.5, 1.0)
        noise = SIGMAS[kind] * relative[kind] * rng.standard_normal(n_kind)
        targets[kind] = rows[kind] @ np.concatenate(weights) + noise
    return Problem(sparse, lengths, amplitudes, rows, targets, relative, rng.uniform(-3, 3, (7, 2)))
