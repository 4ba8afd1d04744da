"""Modbus meters: the register map, a slave on a serial line, a server on TCP."""
