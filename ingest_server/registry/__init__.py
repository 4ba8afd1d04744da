"""Who is metered by what: gateways, meters, customers, metering points, installations and contracts."""

from ingest_server.registry.store import RegistrySummary, load_registry

__all__ = ["RegistrySummary", "load_registry"]
