"""Training in two steps: `prepare` turns images into one cache file, `fit` turns the cache into a model folder."""
