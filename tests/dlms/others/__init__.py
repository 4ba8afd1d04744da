"""Held against other implementations: run as processes of their own, never imported.

``python -m pytest tests/dlms/others/interop.py`` (the name keeps it out of the suite that must work without a package
index: the other implementation is fetched into the cache the first time).
"""
