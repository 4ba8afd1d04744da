"""Meter models as data: which register or object of a meter holds which measurement."""
