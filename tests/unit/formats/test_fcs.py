"""FCS files as programs really write them: several data sets, odd offsets, matrices that do not add up, FCS 3.2."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pipelines.formats.fcs import compensate
from pipelines.formats.protocol import Options, Reading, UnreadableFile
from pipelines.formats.registry import read_file
from tests.unit.formats import samples


def read(folder: Path, data: bytes) -> Reading:
    path = folder / "a.fcs"
    path.write_bytes(data)
    return read_file(path, None, Options())


def linked(first: bytes, second: bytes) -> bytes:
    """Two data sets in one file: the first says where the second begins, within eight digits of its text."""
    return first.replace(b"$NEXTDATA|99999999", b"$NEXTDATA|%08d" % len(first)) + second


def test_every_data_set_is_read_and_each_event_says_which_it_is_of(tmp_path: Path) -> None:
    first = samples.fcs([16, 16], [[1, 2], [3, 4]], **{"$NEXTDATA": "99999999"})
    second = samples.fcs([8], [[5], [6], [7]], P_1N="C2")
    found = read(tmp_path, linked(first, second))
    assert found.records.rows() == [
        (1, 1, 1, 2),
        (2, 1, 3, 4),
        (3, 2, None, 5),
        (4, 2, None, 6),
        (5, 2, None, 7),
    ]
    assert found.received == 5
    assert [one["events"] for one in found.header["data_sets"]] == [2, 3]
    with pytest.raises(UnreadableFile, match="events are missing"):
        read(tmp_path, linked(first, second)[:-1])


def test_a_chain_of_data_sets_that_never_ends_is_refused(tmp_path: Path) -> None:
    one = samples.fcs([16], [[1]], **{"$NEXTDATA": "99999999"})
    with pytest.raises(UnreadableFile, match="more than 100 data sets"):
        read(tmp_path, linked(one, one).replace(b"99999999", b"%08d" % len(one)) * 60)


def test_what_stands_beside_the_events_is_refused_alone(tmp_path: Path) -> None:
    found = read(tmp_path, samples.fcs([16, 16], [[1, 2]], **{"$SPILLOVER": "2,C1,C2"}))
    assert found.records.rows() == [(1, 1, 2)]
    assert [(r.source_row, r.field, r.reason) for r in found.refused] == [
        (None, "$SPILLOVER", "damaged_element")
    ]
    with pytest.raises(ValueError, match="no spillover"):
        compensate(found)

    plain = samples.fcs([16], [[1]], **{"$BEGINSTEXT": "00000000", "$ENDSTEXT": "00000000"})
    archive = b"PK\x03\x04 not keywords"
    at, end = len(plain), len(plain) + len(archive)
    odd = plain.replace(b"$BEGINSTEXT|00000000", b"$BEGINSTEXT|%08d" % at)
    odd = odd.replace(b"$ENDSTEXT|00000000", b"$ENDSTEXT|%08d" % (end - 1)) + archive + b" "
    found = read(tmp_path, odd)
    assert found.records.rows() == [(1, 1)]
    assert [r.field for r in found.refused] == ["$BEGINSTEXT"]


def test_offsets_may_be_blank_where_the_keywords_have_them(tmp_path: Path) -> None:
    plain = samples.fcs([16], [[1], [2]], **{"$BEGINDATA": "00000000", "$ENDDATA": "00000000"})
    begin, end = int(plain[26:34]), int(plain[34:42])
    named = plain.replace(b"$BEGINDATA|00000000", b"$BEGINDATA|%08d" % begin)
    named = named.replace(b"$ENDDATA|00000000", b"$ENDDATA|%08d" % end)
    assert read(tmp_path, named[:26] + b" " * 16 + named[42:]).records["C1"].to_list() == [1, 2]


def test_channels_of_unlike_types(tmp_path: Path) -> None:
    """FCS 3.2 says of each channel which type it has."""
    bits = [16, 32]
    number = struct.unpack(">I", struct.pack(">f", -2.5))[0]
    data = samples.fcs(bits, [[7, number]], P_2DATATYPE="F").replace(b"FCS3.0", b"FCS3.2")
    assert read(tmp_path, data).records.rows() == [(1, 7, -2.5)]
    with pytest.raises(UnreadableFile, match="events of type A"):
        read(tmp_path, samples.fcs(bits, [[7, 1]], P_2DATATYPE="A"))
