"""IEC 62056-21: reading by characters, from the sign-on at 300 baud to a readout, programming mode or HDLC."""
