-- What a validation run does not compute again for a meter's month that is judged already; and a meter that was moved
-- is judged at each of its points.

alter table vee_judgement
    add column gaps_left integer not null default 0,  -- intervals that nothing could be proposed for
    drop constraint vee_judgement_channel_id_period_from_version_key,
    add unique (channel_id, metering_point_id, period_from, version);
