"""The strategies: Sobol and Bayesian optimisation, and Optuna's for comparison."""
