-- Which decisions a judgement knows of, who rejected what they had made themselves, and what a case is worth: so that
-- billing sees which findings are open, and the queue of cases is read page by page.

alter table vee_judgement
    add column acts_before bigint,                     -- newest decision on the register's changes that was judged with;
                                                       -- null in older rows: decisions before the run began
    add column score_wh    bigint not null default 0;  -- stake of the case in a month: it ranks the queue
alter table reading_change_act
    add column own boolean not null default false;     -- decided by whoever made the change
alter table transformer_balance
    add column score_wh bigint not null default 0;     -- stake of the case in a month

-- What older rows are worth, as ingest_server/vee/scores.py has it now.
alter table vee_judgement disable trigger vee_judgement_stays;
update vee_judgement j set score_wh = round((1 - told.doubt) * j.monthly_wh)
from (
    select judgement_id, exp(sum(ln(1 - certainty / 100.0))) as doubt
    from (
        select distinct on (judgement_id, rule) judgement_id,
               case when severity > 3 then 90
                    when coalesce(evidence ->> 'wiring', '0') not in ('0', '0.0', 'false', '') then 85
                    else coalesce(percent, 10) end as certainty
        from vee_finding
        left join (values ('V13', 60), ('V51', 50), ('V43', 30), ('V55', 30), ('V53', 20), ('V54', 20))
            as own (rule, percent) using (rule)
        where severity >= 3
        order by judgement_id, rule, found_on
    ) each group by judgement_id
) told
where told.judgement_id = j.judgement_id;
alter table vee_judgement enable trigger vee_judgement_stays;
alter table transformer_balance disable trigger transformer_balance_stays;
update transformer_balance set score_wh = greatest(
    case when (evidence ->> 'minded')::boolean
         then round(abs((evidence ->> 'loss')::numeric - (evidence ->> 'usual')::numeric) * supplied_wh * 0.3) else 0 end,
    (select coalesce(round(sum(abs((each ->> 'unaccounted_wh')::numeric)) * 0.9), 0)
     from jsonb_array_elements(coalesce(evidence -> 'meters', '[]')) as each))
where severity > 0;
alter table transformer_balance enable trigger transformer_balance_stays;

create index vee_judgement_case_idx
    on vee_judgement (period_from, (-score_wh), metering_point_id collate "C", channel_id) where severity >= 3;
create index vee_judgement_grave_idx on vee_judgement (metering_point_id, period_from) where severity >= 3;
drop index vee_judgement_failed_idx;
create index transformer_balance_case_idx
    on transformer_balance (period_from, (-score_wh), transformer_id collate "C") where severity >= 3;
-- Registers with a change that waits, in the queue's order; and whether a meter is a transformer's.
create index reading_change_register_idx on reading_change (metering_point_id collate "C", channel_id);
create index reading_change_undoes_idx on reading_change (undoes) where undoes is not null;
create index transformer_meter_idx on transformer (meter_id);
