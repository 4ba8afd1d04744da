"""Where the channels that a file names hang: their gateway and their number, asked for once and not row by row."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from psycopg import Notify

from ingest_server.pipeline.registered import LISTEN
from ingest_server.pipeline.store import Connection

METERS_MAX = 1_000_000  # beyond it all are forgotten and asked for again as needed
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
        self._meters: dict[str, int] = {}
        self._channels: dict[tuple[str, str], int] = {}

    async def watch(self, connection: Connection) -> None:
        """Be told by this connection when the registry changes."""
        connection.add_notify_handler(self._registry_changed)
        await connection.execute(LISTEN)

    def _registry_changed(self, _: Notify) -> None:
        self._forget()

    async def find(
        self, connection: Connection, pairs: Sequence[tuple[str, str]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return of each meter and OBIS code the place of its gateway in ``gateways``, and its channel.

        The gateway is ``STRANGE`` for a meter that is not registered, the channel 0 for one that is not.
        """
        wanted = sorted({meter for meter, _ in pairs if meter not in self._meters})
        if wanted:
            if len(self._meters) > METERS_MAX:
                self._forget()
                wanted = sorted({meter for meter, _ in pairs})
            await self._load(connection, wanted)
        gateway = [self._meters.get(meter, STRANGE) for meter, _ in pairs]
        channel = [self._channels.get(pair, 0) for pair in pairs]
        return np.array(gateway, np.int64), np.array(channel, np.int32)

    def _forget(self) -> None:
        self._meters.clear()
        self._channels.clear()

    async def _load(self, connection: Connection, meters: list[str]) -> None:
        cursor = await connection.execute(SELECT_PLACES, [meters])
        for meter, gateway, obis, channel_id in await cursor.fetchall():
            number = self._numbers.setdefault(gateway, len(self.gateways))
            if number == len(self.gateways):
                self.gateways.append(gateway)
            self._meters[meter] = number
            if channel_id is not None:
                self._channels[meter, obis] = channel_id
