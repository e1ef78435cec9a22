"""What all tests share: a PostgreSQL server, started when the first test asks for it."""

import os
from collections.abc import Iterator

import pytest

from tests.fakes import house
from tests.fakes.postgres import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def database_of_houses(request: pytest.FixtureRequest) -> Iterator[None]:
    """`HALLEY_TEST_DATABASE=postgres` puts every whole Halley on PostgreSQL, each folder on a database of its own."""
    if os.environ.get("HALLEY_TEST_DATABASE") == "postgres":
        house.DATABASES.server = request.getfixturevalue("postgres")
    yield
    house.DATABASES.server = None
