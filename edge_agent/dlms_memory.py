"""What the agent keeps of one DLMS meter over its own restarts: short names and scalers, believed of that meter only.

A gateway that starts again has hundreds of questions to ask that it had asked before: a Landis+Gyr ZMD lists its short
names in kilobytes, a meter without lists is asked for each scaler. They are kept in a :class:`DlmsCache` and used only
after the meter said, by logical device name and firmware, that it is the one they were kept of; an exchanged meter or a
new firmware is asked anew. Capture objects are not kept: they may be set at any time, and would name columns wrongly.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from edge_agent.dlms_cache import CacheRefused, DlmsCache, Identity, Kept
from edge_agent.log import EventLog
from protocols.dlms.objects import ScalerUnit
from protocols.dlms.xdlms.references import Attribute

log = EventLog()


class MeterMemory:
    """One meter's part of the cache. ``names`` is its list of short names in A-XDR, empty by logical names."""

    def __init__(self, directory: Path, meter: str, model: str, client_sap: int) -> None:
        self._cache = DlmsCache(directory)
        self._meter = meter
        self._subject = {"kind": "meter", "of": meter, "model": model, "client": str(client_sap)}
        self._kept: Kept | None = None
        self._is_loaded = False
        self._can_store = True

    async def load(self) -> Kept | None:
        """Return what is kept, to be believed when the meter is the one it names; None when there is nothing."""
        if not self._is_loaded:
            self._is_loaded = True
            found = await asyncio.to_thread(self._cache.load, self._subject)
            if isinstance(found, CacheRefused):
                log.warning("meter.cache_refused", meter=self._meter, reason=str(found))
            else:
                self._kept = found
        return self._kept

    def distrust(self) -> None:
        """Believe nothing of what was kept: another meter answers."""
        self._is_loaded, self._kept = True, None

    async def keep(
        self, who: Identity, *, names: bytes | None = None, scalers: Mapping[Attribute, ScalerUnit] | None = None
    ) -> None:
        """Keep what the meter ``who`` told; what was kept of another one goes."""
        if not who.device or not self._can_store:
            return
        before = await self.load()
        if before is None or before.identity != str(who):
            before = Kept(identity=str(who))
        after = Kept(
            before.objects if names is None else names,
            before.identity,
            before.scalers if scalers is None else dict(scalers),
        )
        if after == self._kept:
            return
        self._kept = after
        if why := await asyncio.to_thread(self._cache.store, self._subject, after):
            self._can_store = False
            log.warning("meter.cache_not_kept", meter=self._meter, reason=why)
