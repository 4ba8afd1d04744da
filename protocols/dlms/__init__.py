"""DLMS/COSEM, both roles, without I/O (IEC 62056-46, 62056-47, 62056-5-3, 62056-6-1, 62056-6-2)."""
