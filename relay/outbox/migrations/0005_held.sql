-- Held events are looked for by what cancels them, and taken in the order in which they are due: a transaction may make millions.
CREATE INDEX held_match ON held (match);
CREATE INDEX held_until ON held (until, lsn, ordinal);
