"""The services of xDLMS: their APDUs as values (IEC 62056-5-3)."""
