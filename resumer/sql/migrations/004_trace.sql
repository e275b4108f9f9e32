-- The trace of the delivery that was accepted, in the form of W3C Trace Context: whoever resumes
-- goes on with it.
alter table pauses add column traceparent text;
