-- The outbox is a log; every webhook is a reader of it. All names are in the relay's own schema (search_path).

-- A text as indexes hold it: itself, or its hash if it is too long for a row of an index. The hash is repeated until it is longer
-- than any text that is held as it is, so that no text equals the hash of another.
CREATE FUNCTION indexed(value text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE WHEN octet_length(convert_to(value, 'UTF8')) <= 1000 THEN value
                ELSE repeat(encode(sha256(convert_to(value, 'UTF8')), 'hex'), 16) END;

-- One row: what has been read of the IAM's log, and the epoch of the relay that may write. Written with every ingest commit.
CREATE TABLE position (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    epoch      bigint NOT NULL DEFAULT 0,
    state      text   NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'copying', 'streaming')),
    system_id  text   NOT NULL DEFAULT '',
    timeline   int    NOT NULL DEFAULT 0,
    database   text   NOT NULL DEFAULT '',
    slot       text   NOT NULL DEFAULT '',
    lsn        pg_lsn NOT NULL DEFAULT '0/0',
    last_event bigint NOT NULL DEFAULT 0,
    updated    timestamptz NOT NULL DEFAULT now(),
    -- By how much more than an hour the commit time of an event was ever ahead of the time at which it was stored, as where the IAM's
    -- clock is. A search by commit time looks for it among the days that are as much earlier.
    ahead      interval NOT NULL DEFAULT '0'
) WITH (fillfactor = 10);
INSERT INTO position DEFAULT VALUES;

-- One row: up to which event everything was delivered, parked, or belongs to a webhook that has a cursor of its own.
-- Apart from position, so that ingest and delivery never wait for each other's row lock.
CREATE TABLE progress (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    epoch     bigint NOT NULL DEFAULT 0,
    delivered bigint NOT NULL DEFAULT 0,
    -- This server's time when a leader last looked: if it is earlier at the next start, the clock was set back meanwhile.
    clock     timestamptz
) WITH (fillfactor = 10);
INSERT INTO progress DEFAULT VALUES;

-- Which tables the mirror holds, with which columns.
CREATE TABLE mirror_table (
    tbl     text PRIMARY KEY,
    columns text[] NOT NULL
);

-- The relay's copy of the mapped columns: {"column": "text or null"}. key and owner are stored as indexed() gives them.
CREATE TABLE mirror (
    tbl    text COLLATE "C" NOT NULL,
    key    text COLLATE "C" NOT NULL,
    owner  text COLLATE "C",
    fields json NOT NULL,
    PRIMARY KEY (tbl, key)
) WITH (fillfactor = 85);
CREATE INDEX mirror_owner ON mirror (tbl, owner) WHERE owner IS NOT NULL;

-- The log of events. The body is bytes, sent and signed as they are; null where it would be larger than outbox.max_body.
CREATE TABLE event (
    id         bigint NOT NULL,
    day        date   NOT NULL,
    webhook_id text   NOT NULL,
    name       text   NOT NULL,
    tenant     text,
    resource   text   NOT NULL,
    occurred   timestamptz NOT NULL,
    lsn        pg_lsn NOT NULL,
    ordinal    int    NOT NULL,
    body       bytea,
    webhooks   bigint[] NOT NULL,
    PRIMARY KEY (id, day)
) PARTITION BY RANGE (day);

-- Events that a later change may still cancel.
CREATE TABLE held (
    lsn        pg_lsn NOT NULL,
    ordinal    int    NOT NULL,
    webhook_id text   NOT NULL,
    name       text   NOT NULL,
    tenant     text,
    resource   text   NOT NULL,
    occurred   timestamptz NOT NULL,
    body       bytea,
    webhooks   bigint[] NOT NULL,
    match      text   NOT NULL,
    until      timestamptz NOT NULL,
    PRIMARY KEY (lsn, ordinal)
);

-- Subscriptions of all origins. cursor is set while the webhook reads the log by itself: it has seen the events up to it.
CREATE TABLE webhook (
    id            bigint PRIMARY KEY,
    origin        text NOT NULL CHECK (origin IN ('iam', 'config')),
    key           text NOT NULL,
    tenant        text NOT NULL,
    name          text NOT NULL,
    description   text NOT NULL,
    url           text NOT NULL,
    headers       json NOT NULL,
    secrets       text[] NOT NULL,
    events        text[] NOT NULL,
    enabled       boolean NOT NULL,
    cursor        bigint,
    disabled_for  text NOT NULL DEFAULT '',
    removed_after bigint,
    created       timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX webhook_origin_key ON webhook (origin, indexed(key)) WHERE removed_after IS NULL;

-- One delivery that failed while its endpoint works. A dead one, its schedule exhausted or its failure permanent, is due at infinity.
CREATE TABLE parked (
    event       bigint NOT NULL,
    webhook     bigint NOT NULL,
    attempts    int    NOT NULL,
    due         timestamptz NOT NULL,
    lease       bigint,
    lease_until timestamptz,
    class       text   NOT NULL,
    status      int    NOT NULL,
    PRIMARY KEY (event, webhook)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX parked_due ON parked (due);
-- From one webhook with deliveries to come to the next, and within one by time.
CREATE INDEX parked_turn ON parked (webhook, due) WHERE due < 'infinity';

-- The history of attempts.
CREATE TABLE attempt (
    day      date   NOT NULL,
    event    bigint NOT NULL,
    webhook  bigint NOT NULL,
    number   int    NOT NULL,
    at       timestamptz NOT NULL,
    micros   bigint NOT NULL,
    class    text   NOT NULL,
    status   int    NOT NULL,
    response text
) PARTITION BY RANGE (day);
CREATE INDEX attempt_event ON attempt USING brin (event);

-- Every ingest commit goes through advance, every delivery commit through delivered_through: a relay that was replaced
-- meanwhile gets an error and its whole transaction is undone.
CREATE FUNCTION advance(my_epoch bigint, to_lsn pg_lsn, to_event bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE position SET lsn = to_lsn, last_event = to_event, updated = now() WHERE epoch = my_epoch;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another relay has taken over from epoch %', my_epoch USING ERRCODE = 'IR001';
    END IF;
END $$;

CREATE FUNCTION delivered_through(my_epoch bigint, event bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE progress SET delivered = event WHERE epoch = my_epoch;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another relay has taken over from epoch %', my_epoch USING ERRCODE = 'IR001';
    END IF;
END $$;
