"""One evaluation and its record: specs, results, the training engine and the store."""
