"""Does a surrogate gain by a noise that differs from point to point?

    python experiments/optimizer_benchmark/repeated_seeds.py --task sst2 --splits 20

Of the configurations of a table that were trained with two seeds some are learned from and the
others predicted: the mean of their seeds. What is fitted: `shipped`, every training a point, as a
search does it; `one seed`, the first of each; `equal noise`, means with the noise that all pairs
have in common; `own noise`, means with a noise that is a line in the quality, fitted to the squared
differences of the pairs. Shown are error, rank correlation and the mean negative log likelihood.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from botorch.models import SingleTaskGP
from botorch.models.model import Model
from botorch.models.transforms import Standardize
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from numpy.typing import NDArray
from scipy.stats import spearmanr
from table import read_table

from autopeft.study.strategies.features import Features
from autopeft.study.strategies.gain import fitted, quiet
from autopeft.study.strategies.surrogate import ENOUGH, MAX_ITERATIONS, most_probable

HERE = Path(__file__).parent
SIZES = (20, 40, 60)
#: No noise is taken for smaller than this share of what all pairs have in common.
LEAST = 0.1
Matrix = NDArray[np.float64]
#: Returns a model of points, shape (n, d), and what their seeds measured, shape (n, 2).
Fit = Callable[[Matrix, Matrix], Model]


def with_noise(x: Matrix, mean: Matrix, variance: Matrix) -> Model:
    """Fit the surrogate of a search to means of a known variance."""
    inputs, targets = torch.from_numpy(x), torch.from_numpy(mean[:, None])
    model = SingleTaskGP(
        inputs,
        targets,
        torch.from_numpy(variance[:, None]),
        covar_module=get_covar_module_with_dim_scaled_prior(x.shape[1], use_rbf_kernel=False),
        outcome_transform=Standardize(m=1),
    )
    with quiet():
        return most_probable(model, maxiter=MAX_ITERATIONS, ftol=ENOUGH)


def shipped(x: Matrix, measured: Matrix) -> Model:
    return fitted(np.repeat(x, 2, axis=0), measured.reshape(-1, 1), "matern", 0)


def one_seed(x: Matrix, measured: Matrix) -> Model:
    return fitted(x, measured[:, :1], "matern", 0)


def equal_noise(x: Matrix, measured: Matrix) -> Model:
    variance = np.full(len(x), _variances(measured).mean())
    return with_noise(x, measured.mean(axis=1), variance / 2)


def own_noise(x: Matrix, measured: Matrix) -> Model:
    mean, variances = measured.mean(axis=1), _variances(measured)
    line = np.polynomial.Polynomial.fit(mean, variances, 1)
    variance = np.maximum(line(mean), LEAST * variances.mean())
    return with_noise(x, mean, variance / 2)


FITS: Mapping[str, Fit] = {
    "shipped": shipped,
    "one seed": one_seed,
    "equal noise": equal_noise,
    "own noise": own_noise,
}


def _variances(measured: Matrix) -> Matrix:
    """Return the variance of one training, from each pair."""
    found: Matrix = measured.var(axis=1, ddof=1)
    return found


def scores(fit: Fit, x: Matrix, measured: Matrix, split: NDArray[np.int64], n: int) -> list[float]:
    """Learn from the first points of a split and return how the others are predicted."""
    learned, others = split[:n], split[n:]
    model = fit(x[learned], measured[learned])
    with torch.no_grad():
        posterior: Any = model.posterior(torch.from_numpy(x[others]))
    truth, predicted = measured[others].mean(axis=1), posterior.mean.squeeze(-1).numpy()
    variance = posterior.variance.squeeze(-1).numpy() + _variances(measured).mean() / 2
    error = truth - predicted
    surprise = 0.5 * (error**2 / variance + np.log(variance))
    rank = float(spearmanr(predicted, truth)[0])
    return [float(np.sqrt((error**2).mean())), rank, float(surprise.mean())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = read_table(HERE / f"{options.task}.jsonl", options.task)
    pairs = [found for found in table.by_digest().values() if len(found) == 2]
    features = Features(table.space)
    x = np.stack([features.row(one.point) for one, _ in pairs])
    measured = np.array([[training.quality for training in pair] for pair in pairs])
    print(f"{len(pairs)} configurations with two seeds\n")
    print("| configurations | fitted to | error | rank correlation | surprise |")
    print("| --- |" + " --- |" * 4)
    for n in options.sizes:
        for name, fit in FITS.items():
            splits = [np.random.default_rng(s).permutation(len(x)) for s in range(options.splits)]
            found = np.array([scores(fit, x, measured, split, n) for split in splits])
            mean, error = found.mean(axis=0), found.std(axis=0, ddof=1) / len(found) ** 0.5
            print(
                f"| {n} | {name} | {mean[0]:.4f} ± {error[0]:.4f} | {mean[1]:.3f} ± "
                f"{error[1]:.3f} | {mean[2]:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
