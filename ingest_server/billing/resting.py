"""Which readings a bill, or a difference, was computed from: the ends of its registers and of load profiles' intervals.

A bill keeps of each register the instants, values and qualities at both ends. Of a load profile it keeps the energy of
intervals and, of those, which were read as such and which are steps of the total register: then what the register
showed at the end of each is its value where the part begins and all steps up to there.
"""

# In order of ``metered``: channel; instant, value, quality at both ends; multiplier × 100 + digits; energy. A register
# starts again at zero after 10^digits kWh. An interval that lies outside its part, or that the part's end cuts, rests
# on no reading of its own; the total's last reading is among the ends already.
READINGS = """
    select metered[n] as channel_id, told.us, told.value, told.quality
    from generate_series(1, cardinality(metered), 9) as n
    cross join lateral (values (metered[n + 1], metered[n + 2], metered[n + 3]),
                               (metered[n + 4], metered[n + 5], metered[n + 6])) as told (us, value, quality)
    union all
    select kept.channel, stepped.us,
           case when not part.steps then stepped.energy_wh
                when part.digits = 0 then part.value + stepped.so_far_wh
                else mod(part.value + stepped.so_far_wh, (power(10::numeric, part.digits) * 1000)::bigint) end,
           null
    from jsonb_to_recordset(more -> 'profiles')
        as kept (meter_id text, begins timestamptz, channel integer, "from" timestamptz, minutes integer,
                 energy_wh bigint[])
    cross join lateral (
        select metered[n + 1] as start_us, metered[n + 4] as end_us, metered[n + 2] as value,
               mod(metered[n + 7], 100) as digits, metered[n] = kept.channel as steps
        from generate_series(1, cardinality(metered), 9) as n
        join channel c on c.channel_id = metered[n]
        where c.meter_id = kept.meter_id and metered[n + 1] = (extract(epoch from kept.begins) * 1000000)::bigint
        order by metered[n] <> kept.channel limit 1
    ) part
    cross join lateral (
        select (extract(epoch from kept."from") * 1000000)::bigint + at * kept.minutes * 60000000 as us, energy_wh,
               sum(energy_wh) over (order by at)::bigint as so_far_wh
        from unnest(kept.energy_wh) with ordinality as own (energy_wh, at)
    ) stepped
    where stepped.energy_wh >= 0 and stepped.us > part.start_us
      and (stepped.us < part.end_us or (stepped.us = part.end_us and not part.steps))
"""
"""Readings of the row at hand, of which ``metered`` and ``more`` are columns: channel, instant [microseconds since 1970
UTC], value, and quality, which load profiles don't keep."""
