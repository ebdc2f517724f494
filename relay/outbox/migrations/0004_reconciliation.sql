-- Reconciliation: what the log no longer tells is found by comparing the IAM's tables with the mirror.

-- Evidence of the history that was read: the last transaction of the mapped tables, 0 for none, and the position before which the
-- mirror was filled by a snapshot. A server whose disk was put back to an earlier state cannot show it.
ALTER TABLE position
    ADD COLUMN mark_commit pg_lsn NOT NULL DEFAULT '0/0',
    ADD COLUMN mark_xid    bigint NOT NULL DEFAULT 0,
    ADD COLUMN mark_time   timestamptz NOT NULL DEFAULT 'epoch',
    ADD COLUMN mark_floor  pg_lsn NOT NULL DEFAULT '0/0';

-- As advance with three arguments, with what is not null of a mark.
CREATE FUNCTION advance(my_epoch bigint, to_lsn pg_lsn, to_event bigint, commit pg_lsn, xid bigint, at timestamptz, floor pg_lsn)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE position SET lsn = to_lsn, last_event = to_event, updated = now(), mark_commit = coalesce(commit, mark_commit),
        mark_xid = coalesce(xid, mark_xid), mark_time = coalesce(at, mark_time), mark_floor = coalesce(floor, mark_floor)
    WHERE epoch = my_epoch;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another relay has taken over from epoch %', my_epoch USING ERRCODE = 'IR001';
    END IF;
END $$;

-- Which rows of a table a comparison has found in the IAM; the others are gone. Empty but while one runs, and never needed after
-- a crash.
CREATE UNLOGGED TABLE found (key text COLLATE "C" NOT NULL);

-- What collected rows were before the large transaction, or the comparison, that is being mapped; without fields where there was
-- none. Empty but while one is, and never needed after a crash. key and owner are as in the mirror.
CREATE UNLOGGED TABLE former (
    tbl    text COLLATE "C" NOT NULL,
    key    text COLLATE "C" NOT NULL,
    owner  text COLLATE "C",
    fields json
);
CREATE INDEX former_key ON former USING hash (key);
CREATE INDEX former_owner ON former USING hash (owner);

ALTER TABLE mirror_table
    -- What the catalogue said of the table when it was last read or compared, and which relation it was: another fingerprint says that
    -- rows may have changed without the WAL saying so. Empty for a table that was absent.
    ADD COLUMN fingerprint text NOT NULL DEFAULT '',
    -- The mapped columns that the database did not have, or that could not be read: their return is noticed.
    ADD COLUMN absent text[] NOT NULL DEFAULT '{}',
    -- The rows must be compared although the catalogue does not show why.
    ADD COLUMN suspect boolean NOT NULL DEFAULT false;

-- Events that a comparison has found, and not the log.
ALTER TABLE event ADD COLUMN reconciled boolean NOT NULL DEFAULT false;
ALTER TABLE held ADD COLUMN reconciled boolean NOT NULL DEFAULT false;

-- Every reconciliation, asked for by hand or by what happened.
CREATE TABLE reconciliation (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    by_hand  boolean NOT NULL,
    dry_run  boolean NOT NULL DEFAULT false,
    skip_log boolean NOT NULL DEFAULT false, -- do not read the log up to the comparison first
    reason   text    NOT NULL,
    state    text    NOT NULL CHECK (state IN ('asked', 'running', 'done', 'failed', 'canceled')),
    error    text    NOT NULL DEFAULT '',
    lsn      pg_lsn, -- what was committed before this is compared, what comes after it is read from the log
    asked    timestamptz NOT NULL DEFAULT clock_timestamp(),
    began    timestamptz,
    ended    timestamptz,
    tbl      text    NOT NULL DEFAULT '', -- being compared
    rows     bigint  NOT NULL DEFAULT 0,  -- compared so far
    expected bigint  NOT NULL DEFAULT 0,  -- of them about
    result   json
);
CREATE INDEX reconciliation_open ON reconciliation (id) WHERE state IN ('asked', 'running');
