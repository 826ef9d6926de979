"""A damaged file of journal or store is kept under a name of its own, with its log."""

from pathlib import Path

from readings.database_file import set_aside


def write(folder: Path, **files: str) -> None:
    for ending, text in files.items():
        name = "store.sqlite" if ending == "file" else f"store.sqlite-{ending}"
        (folder / name).write_text(text)


def test_a_file_is_set_aside_with_its_log_under_a_name_that_nothing_has(tmp_path):
    """A log that had lost its file has the first name alone: the next one must not take its place."""
    write(tmp_path, wal="a log alone")
    assert set_aside(tmp_path / "store.sqlite").name == "store.sqlite.damaged-1"
    write(tmp_path, file="file", wal="log", shm="index")
    assert set_aside(tmp_path / "store.sqlite").name == "store.sqlite.damaged-2"
    assert {one.name.removeprefix("store.sqlite."): one.read_text() for one in tmp_path.iterdir()} == {
        "damaged-1-wal": "a log alone",
        "damaged-2": "file",
        "damaged-2-wal": "log",
        "damaged-2-shm": "index",
    }
