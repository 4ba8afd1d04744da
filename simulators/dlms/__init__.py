"""DLMS meters: their objects and load profile, over HDLC on a serial line and through the TCP wrapper."""
