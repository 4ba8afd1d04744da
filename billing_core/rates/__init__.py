"""Tariffs of utilities elsewhere, as general kinds: the same arithmetic on arrays, in integers, without Vietnam's acts.

:mod:`.accumulate` sums intervals of load and generation by month and period; :mod:`.tariff` is a tariff as a value
(tiers by period, demand with ratchets, fixed and minimum charges, one of five ways to settle solar energy), and
:mod:`.bill` charges whole years of many customers.
"""
