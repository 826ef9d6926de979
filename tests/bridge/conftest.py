"""A store on disk and a strict receiver, for whoever sends from one to the other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.database import Database
from bridge.store import Store
from tests.bridge.receiver import Receiver


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store.sqlite"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(path)
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as receiver:
        yield receiver
