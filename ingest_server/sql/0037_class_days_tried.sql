-- When a validation run had made the days of classes (vee_class_day), be there any or none: what cannot be made is not
-- tried again by each of its chunks. It is set once; the rest of a run stays as it was entered.
alter table vee_run add class_days_at timestamptz;
drop trigger vee_run_stays on vee_run;
update vee_run r set class_days_at = started_at
where exists (select from vee_class_day d where d.vee_run_id = r.vee_run_id);
create trigger vee_run_stays
before update of vee_run_id, period_from, period_to, rule_set, actor, started_at or delete or truncate on vee_run
for each statement execute function refuse_to_forget();
create trigger vee_run_class_days_stay before update on vee_run
for each row when (old.class_days_at is not null) execute function refuse_to_forget();
