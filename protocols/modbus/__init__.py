"""Modbus, the master's side: register planning, values, the RTU line. Nothing here writes to a meter."""
