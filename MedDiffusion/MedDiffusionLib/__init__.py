"""What the five modules of MedDiffusion share inside Slicer: nodes, worker process, set-up, catalogue, panels.

The networks run in a process of their own; nothing in this package imports torch.
"""
