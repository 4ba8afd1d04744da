"""The meter's side of the same protocols, with loads, sun and faults."""
