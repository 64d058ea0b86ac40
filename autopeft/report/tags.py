"""Tags of MLflow's runs by which they are found, and by which a later search learns from them."""

#: Number of a trial; the parent run, which is the search, has -1.
NUMBER = "autopeft.trial"
STUDY = "autopeft.study"
#: A trial's configuration as JSON.
CONFIGURATION = "autopeft.configuration"
#: Layers of the model of a search.
LAYERS = "autopeft.n_layers"
