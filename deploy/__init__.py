"""Puts the programs together: the command, the embedded runtime, the demo."""
