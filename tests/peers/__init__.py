"""Held against other implementations: each runs as processes of its own, in an environment of its own.

Those for DLMS are under the GPL, so nothing of them is imported by congto or by its tests, and nothing is copied: a
test starts their programs, or gives their interpreter a driver text of ours (``*.txt`` here, read by ``python -c``).
"""
