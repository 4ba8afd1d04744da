"""Other people's programs that compute what congto computes, each in an environment of its own."""
