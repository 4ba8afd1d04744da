"""Where the channels that a file names hang: their gateway and their number, asked for once and not row by row."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from psycopg import Notify

from ingest_server.pipeline.registered import LISTEN
from ingest_server.pipeline.store import Connection

STRANGE = -1

SELECT_PLACES = """
    select meter_id, gateway_id, obis, channel_id
    from meter
    left join channel using (meter_id)
    where meter_id = any(%s)
"""


class Places:
    """The gateways and channels of meters, as they are until the database says that the registry has changed."""

    def __init__(self) -> None:
        self.gateways: list[str] = []
        self._numbers: dict[str, int] = {}  # by gateway: its place among them
        self._of: Sequence[tuple[str, str]] = ()  # the list that the two arrays below are of, as far as they go
        self._gateway = np.empty(0, np.int64)
        self._channel_id = np.empty(0, np.int32)

    async def watch(self, connection: Connection) -> None:
        """Be told by this connection when the registry changes."""
        connection.add_notify_handler(self._registry_changed)
        await connection.execute(LISTEN)

    def _registry_changed(self, _: Notify) -> None:
        self._of = ()

    async def find(
        self, connection: Connection, pairs: Sequence[tuple[str, str]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return of each meter and OBIS code the place of its gateway in ``gateways``, and its channel.

        The gateway is ``STRANGE`` for a meter that is not registered, the channel 0 for one that is not. ``pairs`` may
        be the same list again with more at its end: then only these are asked for.
        """
        if self._of is not pairs:
            self._gateway, self._channel_id = self._gateway[:0], self._channel_id[:0]
            self._of = pairs  # before anything is asked: the registry may change meanwhile
        more = pairs[len(self._gateway) :]
        if more:
            meters, channels = await self._load(connection, sorted({meter for meter, _ in more}))
            gateway = np.array([meters.get(meter, STRANGE) for meter, _ in more], np.int64)
            channel_id = np.array([channels.get(pair, 0) for pair in more], np.int32)
            self._gateway = np.concatenate((self._gateway, gateway))
            self._channel_id = np.concatenate((self._channel_id, channel_id))
        return self._gateway, self._channel_id

    async def _load(
        self, connection: Connection, wanted: list[str]
    ) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
        """Return the gateway's place of each meter that is registered, and their channels."""
        meters: dict[str, int] = {}
        channels: dict[tuple[str, str], int] = {}
        cursor = await connection.execute(SELECT_PLACES, [wanted])
        for meter, gateway, obis, channel_id in await cursor.fetchall():
            number = self._numbers.setdefault(gateway, len(self.gateways))
            if number == len(self.gateways):
                self.gateways.append(gateway)
            meters[meter] = number
            if channel_id is not None:
                channels[meter, obis] = channel_id
        return meters, channels
