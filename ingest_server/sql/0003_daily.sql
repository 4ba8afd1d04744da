-- Each register at each civil midnight, and the energy from midnight to midnight.
--
-- Civil days are Vietnam's: UTC+7 without daylight saving, so midnight is 17:00 UTC. The snapshot follows the table
-- reading in the same transaction, whoever inserts, changes or deletes there and in whatever order: it is a copy of the
-- rows that stand exactly on a midnight, and nothing is ever added up that would have to be taken back. A row trigger
-- whose condition is false costs a tenth of a COPY; a statement trigger, which must keep all new rows, two fifths.

create table daily_register (
    channel_id integer  not null references channel,
    taken_on   date     not null,              -- the civil day that begins with this midnight
    value      bigint   not null,
    quality    smallint not null,
    primary key (channel_id, taken_on)
);
create index daily_register_taken_on_idx on daily_register (taken_on, channel_id) include (value, quality);

create function civil_midnight(measured_at timestamptz) returns boolean
language sql immutable parallel safe
return measured_at = date_bin('1 day', measured_at, '2000-01-01 17:00+00');

create function civil_day(measured_at timestamptz) returns date
language sql immutable parallel safe
return (measured_at at time zone 'UTC' + interval '7 hours')::date;

create function keep_daily_register() returns trigger
language plpgsql as $$
begin
    if tg_op <> 'INSERT' and civil_midnight(old.measured_at) then
        delete from daily_register where channel_id = old.channel_id and taken_on = civil_day(old.measured_at);
    end if;
    if tg_op <> 'DELETE' and civil_midnight(new.measured_at) then
        insert into daily_register (channel_id, taken_on, value, quality)
        select channel_id, civil_day(new.measured_at), new.value, new.quality
        from channel
        where channel_id = new.channel_id and split_part(obis, '.', 4) = '8'  -- value group D: time integral since ever
        on conflict (channel_id, taken_on) do update set value = excluded.value, quality = excluded.quality;
    end if;
    return null;
end
$$;

create trigger daily_register_insert after insert on reading for each row
when (new.measured_at = date_bin('1 day', new.measured_at, '2000-01-01 17:00+00'))
execute function keep_daily_register();

create trigger daily_register_change after update or delete on reading for each row
execute function keep_daily_register();

insert into daily_register (channel_id, taken_on, value, quality)
select channel_id, civil_day(measured_at), value, quality
from reading
join channel using (channel_id)
where measured_at = date_bin('1 day', measured_at, '2000-01-01 17:00+00') and split_part(obis, '.', 4) = '8';

-- Known when both midnights are. A register that went back (rolled over, exchanged, reset) is an event and no
-- consumption: its energy is null, and billing decides. Unit: that of the channel, Wh for active energy.
create view daily_energy as
select a.channel_id, a.taken_on as used_on, case when b.value >= a.value then b.value - a.value end as energy,
    (a.quality | b.quality)::smallint as quality
from daily_register a
join daily_register b on b.channel_id = a.channel_id and b.taken_on = a.taken_on + 1;
