"""What ingest knows of the database: the channels of the gateways it hears, and how far each spool has come.

Loaded when a gateway is first heard, again when something in a message is unknown, and forgotten when the registry
changes (the database tells) or the connection was lost (the database may be another one, or an older state of it).
"""

from collections.abc import Collection, Iterable

from psycopg import Notify

from ingest_server.pipeline.admission import Channels
from ingest_server.pipeline.store import Connection
from ingest_server.registry.store import CHANGED_CHANNEL

GATEWAYS_MAX = 10_000  # beyond it everything is forgotten and loaded again as needed; a process hears fewer
SPOOLS_MAX = 100_000

LISTEN = f"listen {CHANGED_CHANNEL}"
HEAR = "select"  # notifications come with the answer to a statement; this is the smallest
SELECT_CHANNELS = """
    select gateway_id, meter_id, obis, channel_id
    from gateway
    left join meter using (gateway_id)
    left join channel using (meter_id)
    where gateway_id = any(%s)
"""
SELECT_HIGHEST = """
    select gateway_id, generation, coalesce(upper(received) - 1, 0)
    from gateway_sequence
    join unnest(%s::text[], %s::text[]) as wanted (gateway_id, generation) using (gateway_id, generation)
"""


class Registered:
    """The channels of each gateway, and the highest sequence seen of each (gateway, generation)."""

    def __init__(self) -> None:
        self._channels: dict[str, Channels] = {}
        self._highest: dict[tuple[str, str], int] = {}
        self._changed = False

    async def watch(self, connection: Connection) -> None:
        """Begin anew with this connection, and be told by it when the registry changes."""
        self._channels.clear()
        self._highest.clear()
        connection.add_notify_handler(self._registry_changed)
        await connection.execute(LISTEN)

    async def hear(self, connection: Connection) -> None:
        """Take notice of what has changed until now.

        Only here: what is loaded after it stays, whatever else a connection is told meanwhile.
        """
        await connection.execute(HEAR)
        if self._changed:
            self._changed = False
            self._channels.clear()

    def _registry_changed(self, _: Notify) -> None:
        self._changed = True

    def channels(self, gateway: str) -> Channels | None:
        """Return the channels of a gateway that was loaded; ``None`` if it is not registered."""
        return self._channels.get(gateway)

    async def load(self, connection: Connection, gateways: Collection[str], *, again: bool = False) -> None:
        """Have the channels of ``gateways``; with ``again`` also of those that are known already."""
        wanted = sorted(gateway for gateway in gateways if again or gateway not in self._channels)
        if not wanted:
            return
        loaded: dict[str, Channels] = {}
        cursor = await connection.execute(SELECT_CHANNELS, [wanted])
        async for gateway, meter, obis, channel_id in cursor:
            channels = loaded.setdefault(gateway, Channels())
            if channel_id is not None:
                channels[meter, obis] = channel_id
        if len(self._channels) > GATEWAYS_MAX:
            self._channels.clear()
        self._channels.update(loaded)

    async def load_highest(self, connection: Connection, spools: Iterable[tuple[str, str]]) -> None:
        """Have the highest sequence received of each of ``spools``, pairs of gateway and generation."""
        wanted = sorted({spool for spool in spools if spool not in self._highest})
        if not wanted:
            return
        if len(self._highest) > SPOOLS_MAX:
            self._highest.clear()
        self._highest.update(dict.fromkeys(wanted, 0))
        cursor = await connection.execute(SELECT_HIGHEST, [list(column) for column in zip(*wanted, strict=True)])
        async for gateway, generation, highest in cursor:
            self._highest[gateway, generation] = highest

    def highest(self, spool: tuple[str, str]) -> int:
        """Return the highest sequence received of a spool that was loaded."""
        return self._highest.get(spool, 0)

    def advance(self, spool: tuple[str, str], sequence: int) -> None:
        """Note that ``sequence`` is, or is about to be, stored."""
        self._highest[spool] = max(sequence, self._highest.get(spool, 0))
