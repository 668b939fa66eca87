"""The table of engines: rows can be measured one by one, and the rest of the document stays as it is."""

from __future__ import annotations

import pytest

from lab import engine_table
from lab.holdings import Space


@pytest.fixture
def measured(monkeypatch):
    """Measure every engine as one on which an image was left, and return the names of those that were measured."""
    names = []

    def measure(cell, _folder, _debians, _registry, cycles, _rest_seconds):
        names.append(cell.name)
        engine = {"server": "1", "store": "s", "client": "2", "builder": "b"}
        left, nothing = frozenset({"image ID NAME"}), frozenset()
        grown = Space(history_blobs=0, history_bytes=100 * cycles, data_bytes=7 * cycles, data_files=0)
        return engine_table.Result(
            cell, engine, {"up": cycles}, nothing, nothing, 2 * cycles, 2 * cycles, left, nothing, grown, 0.5
        )

    monkeypatch.setattr(engine_table, "measure", measure)
    return names


def test_rows_that_are_asked_for_are_measured_and_the_rest_of_the_document_stays(measured, tmp_path):
    """Given no names, all; a document that is not there yet is made."""
    document = tmp_path / "engines.md"
    assert engine_table.main([str(document), "--cycles=3", "docker", "podman"]) == 1
    document.write_text(f"{document.read_text()}\nWhat people wrote.\n")
    assert engine_table.main([str(document), "--cycles=4", "podman", "docker-buildkit"]) == 1

    rows = document.read_text().rpartition(" ---: | --- |\n")[2].splitlines()
    assert measured == ["docker", "podman", "podman", "docker-buildkit"]
    assert [row.split(" | ")[0] for row in rows[:3]] == ["| docker", "| docker-buildkit", "| podman"]
    assert rows[3:] == ["", "What people wrote."]
    assert rows[0] == (
        "| docker | 1 | s | 2 | auto | b | 3 up | 6 | 6 | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 100 | 7 | 0.50 | **wrong** |"
    )
    assert "| 4 up | 8 | 8 |" in rows[1]


def test_a_name_that_no_row_has_is_refused(measured, tmp_path, capsys):
    with pytest.raises(SystemExit):
        engine_table.main([str(tmp_path / "engines.md"), "dokcer"])

    assert "dokcer" in capsys.readouterr().err
    assert measured == []
