"""A district in a fresh database."""

from collections.abc import Iterator

import pytest

from tests.billing_runs.district import District


@pytest.fixture
def district(database: str) -> Iterator[District]:
    """Give an empty district."""
    found = District(database)
    yield found
    found.close()
