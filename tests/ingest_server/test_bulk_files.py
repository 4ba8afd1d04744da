"""Files of readings, without a database: what is written comes back, what is wrong is refused."""

import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_server.bulk.csv_file import read_csv, write_csv
from ingest_server.bulk.nem12 import STREAMS, read_nem12, write_nem12
from ingest_server.bulk.row import Row
from protocols.errors import UsageError
from protocols.telemetry.batch import AT_MS_MAX, AT_MS_MIN, VALUE_MAX
from protocols.telemetry.reading import Quality, Reading

MADE_AT = datetime(2025, 10, 3, tzinfo=UTC)
START_MS = 1_759_251_600_000  # 2025-10-01 00:00 in Vietnam
csv_readings = st.builds(
    Reading,
    meter=st.sampled_from(["M-1", "a.b_c-9"]),
    obis=st.sampled_from(["1.0.1.8.0", "1.0.1.29.0", "1.0.32.7.0"]),
    measured_at_ms=st.integers(AT_MS_MIN, AT_MS_MAX),
    value=st.integers(-VALUE_MAX, VALUE_MAX),
    quality=st.integers(0, 127),
)


def lines(text):
    return io.StringIO(text)


@given(st.lists(csv_readings, max_size=20))
def test_csv_comes_back_as_it_was(readings):
    out = io.StringIO()
    assert write_csv((Row(each) for each in readings), out) == len(readings)
    assert [row.reading for row in read_csv(lines(out.getvalue()), "f.csv")] == readings


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
    found = sorted(read_nem12(lines(out.getvalue()), "f.nem", utc_offset_h))
    assert found == rows


DAY = "300,20251001," + ",".join(f"{n}.5" for n in range(48))
GOOD = f"100,NEM12,202510020000,a,b\n200,M-1,E1,E1,E1,N1,,KWH,30,\n{DAY},V,,,,\n400,1,47,A,,\n400,48,48,E52,,\n900\n"


def test_a_nem12_day_is_read_with_its_ends_of_intervals_and_qualities():
    rows = list(read_nem12(lines(GOOD), "f.nem", 7))
    assert len(rows) == 48
    assert rows[0] == Row(Reading("M-1", "1.0.1.29.0", START_MS + 1_800_000, 500, 0))
    assert rows[47] == Row(Reading("M-1", "1.0.1.29.0", START_MS + 86_400_000, 47_500, Quality.ESTIMATED), "E52")


def test_intervals_without_a_value_are_no_readings():
    text = GOOD.replace("400,48,48,E52", "400,48,48,N")
    assert len(list(read_nem12(lines(text), "f.nem", 7))) == 47


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("100,NEM12", "100,NEM13", "line 1: found '100,NEM13,202510020000,a,b"),
        ("900\n", "", "line 5: the file ends without a record 900"),
        ("KWH,30", "KWH,31", "line 2: an interval of '31' minutes"),
        ("KWH", "GJ", "line 2: stream 'E1' in 'GJ'"),
        ("300,20251001", "300,20250230", "line 3: date '20250230'"),
        (",47.5,V", ",V", "line 3: "),
        (",1.5,", ",1.50001,", "line 6: value '1.50001'"),
        (",1.5,", ",NaN,", "line 6: value 'NaN'"),
        (",1.5,", ",1e400000000,", "line 6: value '1e400000000'"),
        ("400,48,48", "400,48,49", "line 5: intervals 48 to 49"),
        ("400,48,48,E52", "400,48,48,E", "line 5: quality 'E'"),
        ("400,48,48,E52,,\n", "", "interval 48: quality V, and no record 400"),
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
        (HEAD + "M-1,1.0.1.8.0,2025-10-01T00:00:00Z,1\n", "line 2: found 4 fields"),
        (HEAD + "M-1,1.0.1.8.0,2025-10-01T00:00:00,1,\n", "line 2: at '2025-10-01T00:00:00'"),
        (HEAD + "M-1,1.0.1.8.0,2025-02-30T00:00:00Z,1,\n", "line 2: at '2025-02-30T00:00:00Z'"),
        (HEAD + "M-1,1.0.1.8.0,1999-10-01T00:00:00Z,1,\n", "line 2: time 1999"),
        (HEAD + "M-1,1.0.1.8.0,2025-10-01T00:00:00Z,1e3,\n", "line 2: value '1e3'"),
        (HEAD + "M-1,1.0.1.8.0,2025-10-01T00:00:00Z,1.0,\n", "line 2: value '1.0'"),
        (HEAD + "M-1,1.0.1.8.0,2025-10-01T00:00:00Z,٣,\n", "line 2: value '٣'"),
        (HEAD + "M-1,1.0.1.8.0,2025-10-01T00:00:00Z,9223372036854775807,\n", "line 2: value 9223372036854775807"),
        (HEAD + "M-1,1.0.1.8,2025-10-01T00:00:00Z,1,\n", "line 2: OBIS code '1.0.1.8'"),
        (HEAD + "=cmd(),1.0.1.8.0,2025-10-01T00:00:00Z,1,\n", "line 2: meter '=cmd()'"),
        (HEAD + "M-1,1.0.1.8.0,2025-10-01T00:00:00Z,1,GOOD\n", "line 2: quality 'GOOD'"),
        (HEAD + "M-1,1.0.1.8.0,2025-10-01T00:00:00Z,1,MANUAL+MANUAL\n", "line 2: quality 'MANUAL+MANUAL'"),
        (HEAD + 'M-1,"1.0', "line 2: "),
    ],
)
def test_a_wrong_csv_file_is_refused_naming_the_line(text, message):
    with pytest.raises(UsageError) as refused:
        list(read_csv(lines(text), "f.csv"))
    assert str(refused.value).startswith(f"f.csv: {message}")


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
