"""The meter's side of IEC 62056-21: a readout, programming mode, the switch to HDLC."""
