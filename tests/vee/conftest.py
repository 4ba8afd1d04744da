"""A district in a fresh database."""

from tests.billing_runs.conftest import district

__all__ = ["district"]
