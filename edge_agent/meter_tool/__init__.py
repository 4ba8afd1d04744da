"""`congto meter`: finding meters on a line, reading one by its model, watching it."""
