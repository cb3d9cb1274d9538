"""What many tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.foundation.database import open_database
from tests.databases import Databases


@pytest.fixture(scope="session")
async def databases() -> AsyncIterator[Databases]:
    """The test run's database server."""
    joined = await Databases.join()
    yield joined
    await joined.leave()


@pytest.fixture
async def database_url(databases: Databases) -> AsyncIterator[str]:
    """The address of a database of this test alone, with all tables and nothing in them."""
    url = await databases.fresh()
    yield url
    await databases.drop(url)


@pytest.fixture
async def empty_url(databases: Databases) -> AsyncIterator[str]:
    """The address of a database of this test alone, without tables."""
    url = await databases.empty()
    yield url
    await databases.drop(url)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    """A database of this test alone, opened."""
    engine = open_database(database_url, command_timeout=10.0, application_name="dari test")
    yield engine
    await engine.dispose()
