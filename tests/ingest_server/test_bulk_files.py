"""Files of readings, without a database: what is written comes back, what is wrong is refused."""

import csv
import io
import re
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_server.bulk import csv_block, csv_file
from ingest_server.bulk.csv_file import read_csv, write_csv
from ingest_server.bulk.nem12 import STREAMS, read_nem12, write_nem12
from ingest_server.bulk.numbers import parse_decimals
from ingest_server.bulk.part import in_parts
from ingest_server.bulk.row import Row
from protocols.errors import UsageError
from protocols.telemetry.batch import AT_MS_MAX, AT_MS_MIN, VALUE_MAX
from protocols.telemetry.reading import Quality, Reading

MADE_AT = datetime(2025, 10, 3, tzinfo=UTC)
START_MS = 1_759_251_600_000  # 2025-10-01 00:00 in Vietnam


def possible(reading: Reading) -> Reading:
    """Return a reading with a value its register may have: one that counts up is never below 0."""
    return reading._replace(value=abs(reading.value)) if ".8." in reading.obis else reading


csv_readings = st.builds(
    Reading,
    meter=st.sampled_from(["M-1", "a.b_c-9"]),
    obis=st.sampled_from(["1.0.1.8.0", "1.0.1.29.0", "1.0.32.7.0"]),
    measured_at_ms=st.integers(AT_MS_MIN, AT_MS_MAX),
    value=st.integers(-VALUE_MAX, VALUE_MAX),
    quality=st.integers(0, 127),
).map(possible)


def lines(text):
    return io.StringIO(text)


def rows_of(parts):
    return [row for part in parts for row in part.rows()]


def csv_parts(text):
    return list(read_csv(io.BytesIO(text.encode()), "f.csv"))


@given(st.lists(csv_readings, max_size=20))
def test_csv_comes_back_as_it_was(readings):
    out = io.StringIO()
    assert write_csv((Row(each) for each in readings), out) == len(readings)
    assert [row.reading for row in rows_of(csv_parts(out.getvalue()))] == readings


nem12_rows = st.dictionaries(
    st.tuples(st.sampled_from(["M-1", "M-2"]), st.sampled_from(sorted(STREAMS.values())), st.integers(-5, 150)),
    st.tuples(st.integers(-(10**9), 10**9), st.sampled_from([None, "E52", "S14", "F16"])),
    min_size=1,
    max_size=30,
).map(
    lambda found: [
        Row(
            Reading(meter, obis, START_MS + step * 1_800_000, value, {None: 0, "E52": 16}.get(flag, 32)),
            flag,
        )
        for (meter, obis, step), (value, flag) in sorted(found.items())
    ]
)


@given(nem12_rows, st.sampled_from([10, 7, 0]))
def test_nem12_comes_back_as_it_was(rows, utc_offset_h):
    out = io.StringIO()
    assert write_nem12(rows, out, MADE_AT, utc_offset_h) == len(rows)
    found = sorted(rows_of(read_nem12(lines(out.getvalue()), "f.nem", utc_offset_h)))
    assert found == rows


DAY = "300,20251001," + ",".join(f"{n}.5" for n in range(48))
GOOD = f"100,NEM12,202510020000,a,b\n200,M-1,E1,E1,E1,N1,,KWH,30,\n{DAY},V,,,,\n400,1,47,A,,\n400,48,48,E52,,\n900\n"


def test_a_nem12_day_is_read_with_its_ends_of_intervals_and_qualities():
    rows = rows_of(read_nem12(lines(GOOD), "f.nem", 7))
    assert len(rows) == 48
    assert rows[0] == Row(Reading("M-1", "1.0.1.29.0", START_MS + 1_800_000, 500, 0))
    assert rows[47] == Row(Reading("M-1", "1.0.1.29.0", START_MS + 86_400_000, 47_500, Quality.ESTIMATED), "E52")


def test_intervals_without_a_value_are_no_readings():
    text = GOOD.replace("400,48,48,E52", "400,48,48,N")
    assert len(rows_of(read_nem12(lines(text), "f.nem", 7))) == 47


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("100,NEM12", "100,NEM13", "line 1: found '100,NEM13,202510020000,a,b"),
        ("900\n", "", "line 5: the file ends without a record 900"),
        ("KWH,30", "KWH,31", "line 2: an interval of '31' minutes"),
        ("KWH", "GJ", "line 2: stream 'E1' in 'GJ'"),
        ("300,20251001", "300,20250230", "line 3: date '20250230'"),
        (",47.5,V", ",V", "line 3: "),
        (",1.5,", ",1.50001,", "line 3: value '1.50001'"),
        (",1.5,", ",NaN,", "line 3: value 'NaN'"),
        (",1.5,", ",1e400000000,", "line 3: value '1e400000000'"),
        ("400,48,48", "400,48,49", "line 5: intervals 48 to 49"),
        ("400,48,48,E52", "400,48,48,E", "line 5: quality 'E'"),
        ("400,48,48,E52,,\n", "", "line 3: interval 48: quality V, and no record 400"),
        ("200,M-1,E1,E1,E1,N1,,KWH,30,\n", "", "line 2: a record 300 before any 200"),
        ("400,1", "401,1", "line 4: a record '401'"),
    ],
)
def test_a_wrong_nem12_file_is_refused_naming_the_line(old, new, message):
    assert old in GOOD
    with pytest.raises(UsageError) as refused:
        list(read_nem12(lines(GOOD.replace(old, new)), "f.nem", 7))
    assert f"f.nem: {message}" in str(refused.value) or message in str(refused.value)


HEAD = "meter,obis,at,value,quality\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: found the columns ''"),
        ("meter,value\n", "line 1: found the columns 'meter,value'"),
        (HEAD + "x" * 5000, "5000 octets without a line end"),
    ],
)
def test_a_file_of_something_else_is_refused(text, message):
    with pytest.raises(UsageError) as refused:
        csv_parts(text)
    assert str(refused.value).startswith(f"f.csv: {message}")


GOOD_LINE = "M-1,1.0.1.8.0,2025-10-01T00:00:00Z,1,"
WRONG_LINES = [
    ("M-1,1.0.1.8.0,2025-10-01T00:00:00Z,1", "found 4 fields"),
    ("M-1,1.0.1.8.0,2025-10-01T00:00:00Z,1,,", "found 6 fields"),
    ("", "found 0 fields"),
    ("M-1,1.0.1.8.0,2025-10-01T00:00:00,1,", "at '2025-10-01T00:00:00'"),
    ("M-1,1.0.1.8.0,2025-02-30T00:00:00Z,1,", "at '2025-02-30T00:00:00Z'"),
    ("M-1,1.0.1.8.0,2025-13-01T00:00:00Z,1,", "at '2025-13-01T00:00:00Z'"),
    ("M-1,1.0.1.8.0,2025-10-01T24:01:00Z,1,", "at '2025-10-01T24:01:00Z'"),
    ("M-1,1.0.1.8.0,2025-10-01T00:00:60Z,1,", "at '2025-10-01T00:00:60Z'"),
    ("M-1,1.0.1.8.0,2025-10-01T00:00:00X,1,", "at '2025-10-01T00:00:00X'"),
    ("M-1,1.0.1.8.0,2025-10-01T00:00:00*07:00,1,", "at '2025-10-01T00:00:00*07:00'"),
    ("M-1,1.0.1.8.0,1999-10-01T00:00:00Z,1,", "time 1999"),
    ("M-1,1.0.1.8.0,2100-01-01T00:00:01Z,1,", "time 2100"),
    ("M-1,1.0.1.8.0,2025-10-01T00:00:00Z,1e3,", "value '1e3'"),
    ("M-1,1.0.1.8.0,2025-10-01T00:00:00Z,1.0,", "value '1.0'"),
    ("M-1,1.0.1.8.0,2025-10-01T00:00:00Z,,", "value ''"),
    ("M-1,1.0.1.8.0,2025-10-01T00:00:00Z,-,", "value '-'"),
    ("M-1,1.0.1.8.0,2025-10-01T00:00:00Z,+1,", "value '+1'"),
    ("M-1,1.0.1.8.0,2025-10-01T00:00:00Z,1-1,", "value '1-1'"),
    ("M-1,1.0.1.8.0,2025-10-01T00:00:00Z,٣,", "value '٣'"),
    ("M-1,1.0.1.8.0,2025-10-01T00:00:00Z,9223372036854775807,", "value 9223372036854775807"),
    ("M-1,1.0.1.8.0,2025-10-01T00:00:00Z,-500000,", "value -500000: 1.0.1.8.0 is a register that counts up from 0"),
    ('"M-1",1.0.3.8.1,2025-10-01T00:00:00Z,-1,ACTUAL', "value -1: 1.0.3.8.1 is a register that counts up from 0"),
    ("M-1,1.0.1.8,2025-10-01T00:00:00Z,1,", "OBIS code '1.0.1.8'"),
    ("=cmd(),1.0.1.8.0,2025-10-01T00:00:00Z,1,", "meter '=cmd()'"),
    (f"{'M' * 65},1.0.1.8.0,2025-10-01T00:00:00Z,1,", "meter 'MMM"),
    ("M-1,1.0.1.8.0,2025-10-01T00:00:00Z,1,GOOD", "quality 'GOOD'"),
    ("M-1,1.0.1.8.0,2025-10-01T00:00:00Z,1,MANUAL+MANUAL", "quality 'MANUAL+MANUAL'"),
    ('M-1,"1.0', "unexpected end of data"),
    ("M-1,1.0.1.8.0,2025-10-01T00:00:00Z,1,\rM-1", "found 0 fields"),
]


@pytest.mark.parametrize(("line", "message"), WRONG_LINES)
def test_a_wrong_line_is_told_with_its_number_and_the_others_stand(line, message):
    (part,) = csv_parts(f"{HEAD}{GOOD_LINE}\n{line}\n{GOOD_LINE}MANUAL\n")
    assert [row.reading.quality for row in part.rows()] == [0, Quality.MANUAL]
    ((place, number, reason, text),) = part.bad
    assert (place, number, text) == (1, 3, line)
    assert message in reason


texts = st.one_of(
    st.sampled_from([line for line, _ in WRONG_LINES if "\r" not in line]),
    st.builds(
        ",".join,
        st.tuples(
            st.sampled_from(["M-1", "M-2", '"M-1"', "M 1", "M" * 64, "M" * 57 + "-" * 7, ""]),
            st.sampled_from(["1.0.1.8.0", "01.0.1.8.0", "1.0.1.8.0.255", "1.0.1.8.256", "255.255.255.255.255.254"]),
            st.sampled_from(
                [
                    *("2024-02-29T23:59:59Z", "2100-01-01T00:00:00+00:00", "2025-10-01T00:00:00.5Z"),
                    *("2025-10-01T00:00:00.123Z", "2025-10-01T00:00:00-11:30", "2025-10-01T07:00:00+07:00"),
                    *("2025-10-01T07:00:00+24:00", "2025-10-01T07:00:00+07:60", "2025-10-01 07:00:00Z", "20251001"),
                    *("2023-02-29T00:00:00Z", "2000-01-01T00:00:00+00:01", "2025-10-01T00:00:00.12xZ"),
                ]
            ),
            st.sampled_from(["0", "-0", "007", "123456789012345678", "-1234567890123456789", "1" * 20, "1 ", "--1"]),
            st.sampled_from(["", "ACTUAL", "MANUAL+SUSPECT", "manual", '"MANUAL"', "ACTUAL "]),
        ),
    ),
)


@given(st.lists(texts, max_size=30), st.integers(5000, 6000), st.sampled_from(["\n", "\r\n"]))
def test_all_at_once_says_what_line_by_line_says(found, octets, line_end):
    content = (HEAD.strip() + line_end + line_end.join(found)).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_file, "BLOCK_OCTETS", octets // 10)
        parts = list(csv_file.read_csv(io.BytesIO(content), "f.csv"))
    expected, bad = [], []
    for number, text in enumerate(found, 2):
        try:
            expected.append(csv_file.read_line(text))
        except (UsageError, csv.Error) as error:
            bad.append((number, str(error)))
    if found and not found[-1]:
        bad.pop()  # what follows the last line end is no line
    assert [row.reading for row in rows_of(parts)] == expected
    assert [each[1:3] for part in parts for each in part.bad] == bad


def test_names_that_share_a_hash_are_told_apart(monkeypatch):
    names = ["M-1", "M-2", "N" * 64, "N" * 63 + "O"] * 2
    text = HEAD + "".join(GOOD_LINE.replace("M-1", name) + "\n" for name in names)
    monkeypatch.setattr(csv_block, "_FACTOR", np.uint64(0))
    assert [row.reading.meter for row in rows_of(csv_parts(text))] == names


@given(st.data(), st.lists(st.booleans(), min_size=1, max_size=20))
def test_a_file_is_cut_anywhere_and_nothing_is_lost(data, good):
    lines_of = [GOOD_LINE.replace("Z,1,", f"Z,{place},") if ok else "bad" for place, ok in enumerate(good)]
    length = data.draw(st.integers(1, 5))
    skip = data.draw(st.integers(0, len(good)))
    parts = list(in_parts(iter(csv_parts(HEAD + "\n".join(lines_of))), length, skip))
    assert all(len(part) <= length for part in parts)
    values = [row.reading.value for row in rows_of(parts)]
    assert values == [place for place, ok in enumerate(good) if ok and place >= skip]
    assert [bad.number - 2 for part in parts for bad in part.bad] == [
        place for place, ok in enumerate(good) if not ok and place >= skip
    ]
    assert all(0 <= bad.place <= len(part.value) for part in parts for bad in part.bad)


decimals = st.from_regex(r"-?[0-9]{0,16}(\.[0-9]{0,7})?", fullmatch=True)


@given(st.lists(st.tuples(decimals, st.sampled_from([1, 1000, 1_000_000])), min_size=1, max_size=30))
def test_decimals_are_exact_or_left_to_the_strict_way(found):
    value, plain = parse_decimals(",".join(text for text, _ in found), np.array([factor for _, factor in found]))
    for (text, factor), number, sure in zip(found, value.tolist(), plain.tolist(), strict=True):
        if sure:
            assert Decimal(text) * factor == number
        elif re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,3})?", text) and factor >= 1000:
            pytest.fail(f"{text} is plain")


@pytest.mark.parametrize(
    ("reading", "flag", "message"),
    [
        (Reading("M", "1.0.1.8.0", START_MS, 1), None, "NEM12 holds interval energies"),
        (Reading("M", "1.0.1.29.0", START_MS + 1, 1), None, "not on a grid"),
        (Reading("M", "1.0.1.29.0", START_MS, 1, Quality.ESTIMATED), None, "an estimate without"),
        (Reading("M", "1.0.1.29.0", START_MS, 1, Quality.MANUAL), None, "knows no quality"),
    ],
)
def test_what_nem12_cannot_carry_is_not_written_as_something_else(reading, flag, message):
    with pytest.raises(UsageError, match=message):
        write_nem12([Row(reading, flag)], io.StringIO(), MADE_AT)
