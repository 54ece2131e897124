"""The verbs of the command line, a file for each family; torch is imported when a verb runs, not for its help."""
