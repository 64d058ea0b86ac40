"""The short search of the embedded task that scripts time parts of."""

from autopeft.api.request import SearchRequest


def embedded_search(trials: int, epochs: float) -> SearchRequest:
    """Return a random search of 600 rows on MiniLM, each trial trained with one seed.

    Args:
        trials: Number of trials.
        epochs: Length of a full training.
    """
    return SearchRequest.build(
        model="minilm",
        trials=trials,
        strategy="random",
        repeats=1,
        epochs=epochs,
        train_rows=600,
        eval_rows=400,
    )
