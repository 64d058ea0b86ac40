"""Which surrogate, on which features, predicts trainings that it has not seen?

    python experiments/optimizer_benchmark/surrogates.py --task sst2 --splits 10

For each number of trainings to learn from and each split: the root of the mean squared error of the
accuracy on 80 others, the rank correlation, the negative log likelihood (with the binomial error of
the measurement added to the variance), and the processor seconds of the fit.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from botorch.models import SingleTaskGP
from botorch.models.model import Model
from botorch.models.transforms import Standardize, Warp
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from contestants import Rows
from gpytorch.constraints import GreaterThan
from gpytorch.kernels import MaternKernel
from gpytorch.priors import LogNormalPrior
from numpy.typing import NDArray
from plain import plain_model
from scipy.stats import spearmanr
from table import read_table

from autopeft.space.hyperparameter import Choice
from autopeft.space.space import LEARNING_RATE
from autopeft.study.strategies.gain import fitted, quiet
from autopeft.study.strategies.surrogate import ENOUGH, MAX_ITERATIONS, most_probable
from autopeft.tasks.metrics import METRICS

HERE = Path(__file__).parent
HELD_OUT = 80
SIZES = (20, 40, 100)
#: What `expected` takes lengthscales for, before it sees a training: of learning rate and number of
#: parameters, of methods, of all else; and the standard deviation of their logarithms.
MATTERS, TELLS, HARDLY_MATTERS, DOUBT = 1.0, 2.0, 4.0, 0.5
#: What is fitted to what; `botorch`, its own squared exponential kernel, `warped` and `expected`
#: are no surrogates of a search.
CASES = (
    ("features", "matern"),
    ("features", "expected"),
    ("features", "botorch"),
    ("features", "warped"),
    ("features", "saas"),
    ("without parameters", "matern"),
    ("one-hot", "matern"),
    ("one-hot", "saas"),
    ("one-hot and parameters", "matern"),
)


def inputs(rows: Rows) -> dict[str, NDArray[np.float64]]:
    """Return the rows of the table as each case sees them."""
    params = rows.features[:, -1:]
    return {
        "features": rows.features,
        "without parameters": rows.features[:, :-1],
        "one-hot": rows.one_hot,
        "one-hot and parameters": np.concatenate([rows.one_hot, params], axis=1),
    }


def warped(x: NDArray[np.float64], y: NDArray[np.float64]) -> Model:
    """Fit `matern` with a Kumaraswamy distribution for each number that bends its axis.

    The priors are those of BoTorch's tutorial on input warping.
    """
    numbers = [i for i, column in enumerate(x.T) if len(np.unique(column)) > 2]
    prior = LogNormalPrior(0.0, 0.75**0.5)
    bend = Warp(
        d=x.shape[1], indices=numbers, concentration1_prior=prior, concentration0_prior=prior
    )
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
    outcome = Standardize(m=1)
    kernel = get_covar_module_with_dim_scaled_prior(x.shape[1], use_rbf_kernel=False)
    model = SingleTaskGP(
        inputs, targets, covar_module=kernel, input_transform=bend, outcome_transform=outcome
    )
    with quiet():
        return most_probable(model, maxiter=MAX_ITERATIONS, ftol=ENOUGH)


def expected(x: NDArray[np.float64], y: NDArray[np.float64], rows: Rows) -> Model:
    """Fit `matern` to features, with lengthscales that are expected to be those of their column."""
    lengthscales: list[float] = []
    for h in rows.table.space.space.hyperparameters:
        if h.field == "targets":
            continue  # features have module kinds in its place
        scale = {LEARNING_RATE: MATTERS, "method": TELLS}.get(h.field, HARDLY_MATTERS)
        lengthscales += [scale] * (len(h.choices) if isinstance(h, Choice) else h.width)
    kinds = x.shape[1] - len(lengthscales) - 1
    medians = torch.tensor([*lengthscales, *[HARDLY_MATTERS] * kinds, MATTERS], dtype=torch.double)
    kernel = MaternKernel(
        ard_num_dims=x.shape[1],
        lengthscale_prior=LogNormalPrior(medians.log(), torch.full_like(medians, DOUBT)),
        lengthscale_constraint=GreaterThan(0.025, transform=None, initial_value=medians),
    )
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
    model = SingleTaskGP(inputs, targets, covar_module=kernel, outcome_transform=Standardize(m=1))
    with quiet():
        return most_probable(model, maxiter=MAX_ITERATIONS, ftol=ENOUGH)


FITS: Mapping[str, Callable[[NDArray[np.float64], NDArray[np.float64], Rows], Model]] = {
    "matern": lambda x, y, _: fitted(x, y, "matern", 0),
    "saas": lambda x, y, _: fitted(x, y, "saas", 0),
    "botorch": lambda x, y, _: plain_model(x, y, 0),
    "warped": lambda x, y, _: warped(x, y),
    "expected": expected,
}


def scores(
    x: NDArray[np.float64], rows: Rows, split: NDArray[np.int64], surrogate: str, n: int
) -> list[float]:
    """Fit the first rows of a split and return how the last are predicted."""
    learned, others = split[:n], split[-HELD_OUT:]
    started = time.process_time()
    y = rows.quality[learned][:, None]
    model = FITS[surrogate](x[learned], y, rows)
    seconds = time.process_time() - started
    with torch.no_grad():
        posterior: Any = model.posterior(torch.from_numpy(x[others]))
    ensemble = hasattr(posterior, "mixture_mean")
    mean = posterior.mixture_mean if ensemble else posterior.mean
    variance = posterior.mixture_variance if ensemble else posterior.variance
    predicted = mean.squeeze(-1).numpy()
    measured = rows.quality[others]
    binomial = np.array([METRICS["accuracy"].error(q, 600) for q in measured])
    deviation = np.sqrt(variance.squeeze(-1).numpy() + binomial**2)
    error = measured - predicted
    surprise = 0.5 * (error / deviation) ** 2 + np.log(deviation)
    rank = float(spearmanr(predicted, measured)[0])
    return [float(np.sqrt((error**2).mean())), rank, float(surprise.mean()), seconds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--table", type=Path, help="default: TASK.jsonl beside this file")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--inputs", nargs="+", help="default: all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = Rows(read_table(options.table or HERE / f"{options.task}.jsonl", options.task))
    print(f"{len(rows)} trainings; standard deviation of the accuracy {rows.quality.std():.4f}\n")
    print("| trainings | input | surrogate | error | rank correlation | surprise | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    chosen = [case for case in CASES if case[0] in (options.inputs or case)]
    for n in options.sizes:
        for name, surrogate in chosen:
            found = np.array(
                [
                    scores(
                        inputs(rows)[name],
                        rows,
                        np.random.default_rng(split).permutation(len(rows)),
                        surrogate,
                        n,
                    )
                    for split in range(options.splits)
                ]
            )
            mean, error = found.mean(axis=0), found.std(axis=0, ddof=1) / len(found) ** 0.5
            print(
                f"| {n} | {name} | {surrogate} | {mean[0]:.4f} ± {error[0]:.4f} | "
                f"{mean[1]:.3f} ± {error[1]:.3f} | {mean[2]:.2f} | {mean[3]:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
