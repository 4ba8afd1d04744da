"""The tools, as commands and as processes against simulated meters."""
