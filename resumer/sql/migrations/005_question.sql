-- What was asked and of whom, its members in the order in which they were written, which `action`
-- does not keep. No table is rewritten, and replicas of an older version go on with `action`.
alter table pauses add column question json;
