"""Control before issue: which bills a person must look at, why, and who may let them go."""
