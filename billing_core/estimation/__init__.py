"""Estimation of what is missing or failed, to the Wh of the registers, and versions of what was estimated or edited."""
