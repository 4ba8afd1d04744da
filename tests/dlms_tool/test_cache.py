"""What is kept of meters spares questions, and is never believed against the meter."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.dlms_cache import CacheRefused, DlmsCache, Kept, identity_of
from protocols.dlms.data import octets
from protocols.dlms.objects import ScalerUnit
from protocols.dlms.xdlms.references import Attribute
from protocols.obis import Obis
from tests.dlms_tool.processes import LOW, SECRET, congto, sim

SUBJECT = {"kind": "object list", "of": "model m", "firmware": "1"}
KEPT = Kept(b"\x01\x00", "name X", {Attribute(3, Obis(1, 0, 1, 8, 0), 2): ScalerUnit(-1, 30)})
SIM = ("dlms", "--tcp", "--seed", "5", "--secret", SECRET, "--units", "17-18")
ASKS_FOR_LIST = "15:0.0.40.0.0:2"


def test_what_is_kept_comes_back_and_nothing_else(tmp_path):
    cache = DlmsCache(tmp_path / "made")
    assert cache.load(SUBJECT) is None
    assert cache.store(SUBJECT, KEPT) == ""
    assert cache.load(SUBJECT) == KEPT
    assert cache.load({**SUBJECT, "firmware": "2"}) is None
    assert cache.path(SUBJECT).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("place", range(0, 300, 7))
def test_any_changed_octet_is_refused(tmp_path, place):
    cache = DlmsCache(tmp_path)
    cache.store(SUBJECT, KEPT)
    content = bytearray(cache.path(SUBJECT).read_bytes())
    content[place % len(content)] ^= 0x04
    cache.path(SUBJECT).write_bytes(content)
    assert isinstance(cache.load(SUBJECT), CacheRefused)


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"[" * 5000, b"\xff", b'{"digest": 1}', b" " * (5 << 20)])
def test_what_is_no_cache_is_refused(tmp_path, content):
    cache = DlmsCache(tmp_path)
    cache.path(SUBJECT).write_bytes(content)
    assert isinstance(cache.load(SUBJECT), CacheRefused)


def test_another_subjects_file_and_one_that_others_may_write_are_refused(tmp_path):
    cache, other = DlmsCache(tmp_path), {**SUBJECT, "firmware": "2"}
    cache.store(SUBJECT, KEPT)
    cache.path(other).write_bytes(cache.path(SUBJECT).read_bytes())
    assert isinstance(cache.load(other), CacheRefused)
    cache.path(SUBJECT).chmod(0o622)
    assert isinstance(cache.load(SUBJECT), CacheRefused)


def test_a_directory_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    assert "Not a directory" in DlmsCache(tmp_path / "file" / "cache").store(SUBJECT, KEPT)


def test_a_meter_is_known_by_its_name_else_its_title_else_its_serial_number():
    name, firmware, serial = octets(b"CTO1"), octets(b"\x01\x02"), octets(b"77")
    assert identity_of(name, firmware, b"title", serial).device == "name CTO1"
    assert identity_of(None, firmware, b"title..8", serial).device == f"title {b'title..8'.hex()}"
    assert identity_of(None, firmware, None, serial) == identity_of(octets(b""), firmware, None, serial)
    assert identity_of(None, firmware, None, serial).firmware == "0102"
    assert identity_of(None, None, None, None).device == ""


class Commands:
    """Commands with a meter and a cache of their own; they tell how many questions they sent."""

    def __init__(self, where: str, cache: Path) -> None:
        self._where, self.cache = where, cache

    def run(self, action: str, *words: str, unit: int = 17) -> tuple[dict[str, object], str]:
        place = ("--tcp", self._where, "--server", str(unit), "--cache", str(self.cache), *LOW)
        done = congto("dlms", action, *words, *place, "--json", "--trace")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr

    def files(self, kind: str) -> list[Path]:
        found = sorted(self.cache.glob("*.json"))
        return [each for each in found if json.loads(each.read_text())["subject"]["kind"] == kind]


@contextmanager
def commands(tmp_path: Path, *words: str) -> Iterator[Commands]:
    with sim(*SIM, *words) as said:
        yield Commands(said["tcp"], tmp_path / "cache")


def questions(trace: str) -> int:
    return len(re.findall(r"apdu: get-request", trace))


def asks_for_list(trace: str) -> bool:
    return bool(re.search(r"apdu: get-request\n(?:.*\n){1,8}?.*class_id: 15\n", trace))


@pytest.mark.integration
def test_the_list_is_read_once_and_then_from_the_cache_until_fresh_is_wanted(tmp_path):
    with commands(tmp_path) as meter:
        first, trace = meter.run("list")
        assert asks_for_list(trace)
        again, trace = meter.run("list")
        assert (again, asks_for_list(trace)) == (first, False)
        fresh, trace = meter.run("list", "--fresh")
        assert (fresh, asks_for_list(trace)) == (first, True)
        values, trace = meter.run("read")
        assert values["readings"]
        assert not asks_for_list(trace)
        _, trace = meter.run("list", unit=18)
        assert asks_for_list(trace), "another meter's list was taken"


@pytest.mark.integration
def test_meters_of_a_model_share_their_list_and_not_their_scalers(tmp_path):
    with commands(tmp_path) as meter:
        first, _ = meter.run("list", "--model", "residential")
        other, trace = meter.run("list", "--model", "residential", unit=18)
        assert (other, asks_for_list(trace)) == (first, False)
        for unit in (17, 18):
            meter.run("read", "--no-lists", unit=unit)
        assert len(meter.files("scalers")) == 2


@pytest.mark.integration
def test_scalers_are_taken_from_the_cache_where_that_saves_questions(tmp_path):
    codes = ("1.0.1.8.0", "1.0.2.8.0", "1.0.32.7.0", "1.0.31.7.0", "--no-lists")
    with commands(tmp_path) as meter:
        first, trace = meter.run("read", *codes)
        assert questions(trace) == 4 + 2 + 4
        again, trace = meter.run("read", *codes)
        assert questions(trace) == 4 + 2
        assert [one["unit"] for one in again["readings"]] == [one["unit"] for one in first["readings"]]
        _, trace = meter.run("read", *codes, "--fresh")
        assert questions(trace) == 4 + 2 + 4
        _, trace = meter.run("read", "1.0.1.8.0")
        assert questions(trace) == 2, "one register and its scaler need not ask who the meter is"


@pytest.mark.integration
def test_a_damaged_or_foreign_cache_is_refused_and_written_anew(tmp_path):
    with commands(tmp_path) as meter:
        first, _ = meter.run("list")
        (path,) = meter.files("object list")
        right = path.read_bytes()
        for wrong in (right[:-20], right.replace(b"0100010800ff", b"0100020800ff")):
            assert wrong != right
            path.write_bytes(wrong)
            found, trace = meter.run("list")
            assert found == first
            assert "it is not used, and written anew" in trace
            assert path.read_bytes() == right
        path.unlink()
        path.mkdir()
        found, trace = meter.run("list")
        assert found == first
        assert "nothing is kept for the next time" in trace


@pytest.mark.integration
def test_another_firmware_has_another_list(tmp_path):
    with commands(tmp_path, "--model", "dlms_residential") as meter:
        few, _ = meter.run("list", "--model", "m")
    with commands(tmp_path, "--model", "dlms_three_phase") as meter:
        many, trace = meter.run("list", "--model", "m")
        assert asks_for_list(trace)
        assert len(many["objects"]) > len(few["objects"])
        assert len(meter.files("object list")) == 2
