"""The tabs of the module MedDiffusion: models, this computer, and what has been run."""
