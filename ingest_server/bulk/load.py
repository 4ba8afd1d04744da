"""A file's readings into the database: admitted as a message's are, in chunks that are transactions of their own.

With each chunk goes a note of how many of the file's rows are committed, under the hash of its content: the same
command after a kill goes on there. When the file is done the note goes too, so that it may be imported again, for
instance after meters were registered; what is there already is recognised. A reading with another value than is stored
becomes a conflict and overwrites nothing; it names the file by the first digits of its hash. A line that holds no
reading goes to the quarantine with its number.

All is done on columns: while the database stores one chunk, a thread reads the next. A chunk goes by COPY straight into
the hypertable; if the key refuses it, or what came before was there already, it is compared row by row.
"""

from __future__ import annotations  # array[int] is no expression before Python 3.12

import asyncio
import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest_server.bulk.loaded import STRANGE_KEPT_MAX, WRONG_KEPT_MAX, Loaded
from ingest_server.bulk.part import BadLine, Part, in_parts
from ingest_server.bulk.places import STRANGE, Places
from ingest_server.pipeline.admission import MAY_COLLIDE, Admission, Rows, admit, find_refused
from ingest_server.pipeline.bundle import Bundle, Flags, Imported
from ingest_server.pipeline.message import Refusal, Rejected
from ingest_server.pipeline.registered import Registered
from ingest_server.pipeline.store import Connection, open_connection, store
from protocols.telemetry.batch import MESSAGE_OCTETS_MAX, ROWS_MAX, Batch, Header, decode_batch

CHUNK_ROWS = 100_000  # a block of CSV; twice what a transaction of messages takes, for nobody waits for a receipt
GENERATION_DIGITS = 16
REASON_CHARACTERS_MAX = 300

SELECT_DONE = "select rows from bulk_import where file_sha256 = %s"
DELETE_DONE = "delete from bulk_import where file_sha256 = %s"


def file_sha256(path: Path) -> bytes:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


async def load_parts(
    dsn: str, parts: Iterator[Part], file: Imported, *, now_ms: int, progress: Callable[[int], None]
) -> Loaded:
    """Store ``parts``, all that ``file`` holds; ``progress`` is told how many rows are done.

    Raises :class:`UsageError` where the file can't be read: what stands before is then committed or comes again.
    """
    loaded = Loaded()
    async with await open_connection(dsn) as connection:
        found = await (await connection.execute(SELECT_DONE, [file.sha256])).fetchone()
        done = loaded.skipped = found[0] if found else 0
        chunks = in_parts(parts, CHUNK_ROWS, done)
        places, registered = Places(), Registered()
        await places.watch(connection)
        await registered.watch(connection)
        careful = done > 0
        reading = asyncio.create_task(asyncio.to_thread(next, chunks, None))
        while chunk := await reading:
            reading = asyncio.create_task(asyncio.to_thread(next, chunks, None))  # while the database stores this one
            done += len(chunk)
            admitting = Admitting(
                chunk, file._replace(rows=done), now_ms, *await places.find(connection, chunk.channels)
            )
            bundle = await admitting.bundle(connection, places.gateways, registered, loaded)
            if careful:
                bundle = replace(bundle, suspects=frozenset(range(len(bundle.admissions))))
            stored = await store(connection, bundle)
            careful |= bool(stored.duplicate or stored.conflict)  # then the rest is likely to be there as well
            loaded.add(stored.new, stored.duplicate, stored.conflict)
            progress(done)
        await connection.execute(DELETE_DONE, [file.sha256])
    return loaded


class Admitting:
    """What becomes of one chunk; ``gateway`` and ``channel_id`` are those of its channels."""

    def __init__(
        self, part: Part, file: Imported, now_ms: int, gateway: NDArray[np.int64], channel_id: NDArray[np.int32]
    ) -> None:
        self._part = part
        self._file = file
        self._now_ms = now_ms
        self._gateway = gateway[part.channel]
        self._rows = Rows(channel_id[part.channel], part.at_ms, part.value, part.quality)

    async def bundle(
        self, connection: Connection, gateways: Sequence[str], registered: Registered, loaded: Loaded
    ) -> Bundle:
        """Return what to store: an admission a gateway, and one more a gateway of which rows are refused."""
        strange = self._gateway == STRANGE
        unknown, future = find_refused(self._rows.channel_id, self._rows.at_ms, self._now_ms)
        self._note_strange(strange, loaded)
        admissions = self._admitted(~(unknown | future), gateways)
        refused = (unknown | future) & ~strange
        rejected = list(_rejected_lines(self._part.bad, self._file))
        loaded.quarantined += len(self._part.bad)
        wrong = [f"line {each.number}: {each.reason}" for each in self._part.bad[:WRONG_KEPT_MAX]]
        loaded.wrong += wrong[: max(0, WRONG_KEPT_MAX - len(loaded.wrong))]
        if refused.any():
            await registered.hear(connection)
        for number in np.unique(self._gateway[refused]).tolist():
            await registered.load(connection, [gateways[number]])
            (places,) = np.nonzero(refused & (self._gateway == number))
            for first in range(0, len(places), ROWS_MAX):
                batch = self._batch(gateways[number], places[first : first + ROWS_MAX])
                admission = admit(batch, registered.channels(gateways[number]), self._now_ms)
                loaded.quarantined += len(batch) - len(admission.rows)
                for each in admission.rejected:
                    loaded.add_refused(each.reason, len(decode_batch(each.payload)))
                admissions.append(admission)
                rejected += admission.rejected
        flags = self._flags(~(unknown | future))
        return Bundle(admissions, rejected=rejected, imported=self._file, flags=flags)

    def _note_strange(self, strange: NDArray[np.bool_], loaded: Loaded) -> None:
        loaded.left_out += int(np.count_nonzero(strange))
        for number in dict.fromkeys(self._part.channel[strange].tolist()):
            meter = self._part.channels[number][0]
            if len(loaded.strange) < STRANGE_KEPT_MAX and meter not in loaded.strange:
                loaded.strange.append(meter)

    def _admitted(self, mask: NDArray[np.bool_], gateways: Sequence[str]) -> list[Admission]:
        """Return the rows in ``mask`` by gateway, in the file's order."""
        whose, rows = (self._gateway, self._rows) if mask.all() else (self._gateway[mask], self._rows.chosen(mask))
        if not len(rows):
            return []
        if (np.diff(whose) < 0).any():
            order = np.argsort(whose, kind="stable")
            whose, rows = whose[order], rows.chosen(order)
        begins = np.concatenate(([0], np.flatnonzero(np.diff(whose)) + 1))
        collides = bool((rows.quality & int(MAY_COLLIDE)).any())
        return [
            Admission(
                self._header(gateways[number]),
                Rows(rows.channel_id[a:b], rows.at_ms[a:b], rows.value[a:b], rows.quality[a:b]),
                may_collide=collides,
            )
            for number, a, b in zip(
                whose[begins].tolist(), begins.tolist(), [*begins[1:].tolist(), len(rows)], strict=True
            )
        ]

    def _header(self, gateway: str) -> Header:
        return Header(gateway, self._file.sha256.hex()[:GENERATION_DIGITS], self._file.rows)

    def _batch(self, gateway: str, places: NDArray[np.int64]) -> Batch:
        """Return the rows at ``places`` as a gateway would send them."""
        numbers, channel = np.unique(self._part.channel[places], return_inverse=True)
        rows = self._rows.chosen(places)
        header = self._header(gateway)
        return Batch(
            gateway,
            header.generation,
            header.sequence,
            tuple(self._part.channels[number] for number in numbers.tolist()),
            channel=_array(channel),
            at_ms=_array(rows.at_ms),
            value=_array(rows.value),
            quality=_array(rows.quality),
        )

    def _flags(self, admitted: NDArray[np.bool_]) -> Flags | None:
        part = self._part
        if part.flag is None:
            return None
        said = (part.flag > 0) & admitted
        return Flags(self._rows.chosen(said), part.flag[said], part.flag_texts)


def _array(column: NDArray[Any]) -> array[int]:
    return array("q", column.astype(np.int64).tobytes())


def _rejected_lines(bad: Sequence[BadLine], file: Imported) -> Iterator[Rejected]:
    """Yield one message of all bad lines, each with its number, as far as a message has room."""
    if not bad:
        return
    text = "\n".join(f"{each.number}: {each.text}" for each in bad).encode("utf-8", "replace")
    more = f"; and {len(bad) - 1} more lines" if len(bad) > 1 else ""
    cut = f", {len(text)} octets, of which the first are kept" if len(text) > MESSAGE_OCTETS_MAX else ""
    reason = f"{file.name}: line {bad[0].number}: {bad[0].reason[:REASON_CHARACTERS_MAX]}{more}{cut}"
    yield Rejected(f"import/{file.name}", text[:MESSAGE_OCTETS_MAX], reason, kind=Refusal.BROKEN)
