"""The program on the concentrator: polls meters, spools what they say, publishes it until it is receipted."""
