-- The outbox: an event log, and webhooks that read it. Names without a schema are in the relay's own schema (search_path).
-- Times are the outbox server's, unless a comment says otherwise. LSNs are positions in the IAM's WAL.

-- Ingestion: what the relay has read of the IAM's WAL.

-- indexed shortens a text for an index: a text of more than 1,000 bytes is replaced by its hash, because PostgreSQL refuses index
-- rows over 2,704 bytes. The hash is repeated until it is longer than any text that is kept, so the two cannot collide.
CREATE FUNCTION indexed(value text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE WHEN octet_length(convert_to(value, 'UTF8')) <= 1000 THEN value
                ELSE repeat(encode(sha256(convert_to(value, 'UTF8')), 'hex'), 16) END;

-- One row: the ingested position, and which relay may write. Every ingest commit updates it.
CREATE TABLE position (
    singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    epoch       bigint NOT NULL DEFAULT 0,             -- counts leaders; a write with an older epoch fails
    leader      bigint,                                -- member that leads
    state       text   NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'copying', 'streaming')),
    system_id   text   NOT NULL DEFAULT '',            -- IDENTIFY_SYSTEM of the IAM's server
    timeline    int    NOT NULL DEFAULT 0,
    database    text   NOT NULL DEFAULT '',
    slot        text   NOT NULL DEFAULT '',
    lsn         pg_lsn NOT NULL DEFAULT '0/0',         -- everything committed before it is ingested
    last_event  bigint NOT NULL DEFAULT 0,             -- newest event id
    updated     timestamptz NOT NULL DEFAULT now(),
    -- How far the IAM's clock was ever ahead of this server's when an event was stored; 0 while it was within an hour. A search by
    -- commit time starts that many days earlier.
    clock_ahead interval NOT NULL DEFAULT '0',
    -- Proof of the server's history: the newest ingested transaction of a mapped table (xid 0 for none), and the LSN up to which
    -- the mirror comes from a snapshot. A server restored to an earlier state cannot show that transaction.
    mark_commit pg_lsn NOT NULL DEFAULT '0/0',
    mark_xid    bigint NOT NULL DEFAULT 0,
    mark_time   timestamptz NOT NULL DEFAULT 'epoch',
    mark_floor  pg_lsn NOT NULL DEFAULT '0/0'
) WITH (fillfactor = 10);
INSERT INTO position DEFAULT VALUES;

-- advance_position ends every ingest commit. It fails, and undoes the transaction, if another relay has taken over.
-- Arguments that are null leave the mark as it is.
CREATE FUNCTION advance_position(my_epoch bigint, to_lsn pg_lsn, to_event bigint, commit pg_lsn DEFAULT NULL, xid bigint DEFAULT NULL,
    at timestamptz DEFAULT NULL, floor pg_lsn DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE position SET lsn = to_lsn, last_event = to_event, updated = now(), mark_commit = coalesce(commit, mark_commit),
        mark_xid = coalesce(xid, mark_xid), mark_time = coalesce(at, mark_time), mark_floor = coalesce(floor, mark_floor)
    WHERE epoch = my_epoch;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'epoch % has ended', my_epoch USING ERRCODE = 'IR001';
    END IF;
END $$;

-- The relay's copy of the mapped columns: old rows for updates and deletes, parents, and what a snapshot is compared with.
CREATE TABLE mirror (
    table_name text COLLATE "C" NOT NULL,
    key        text COLLATE "C" NOT NULL, -- indexed(primary key)
    parent     text COLLATE "C",          -- indexed(key of the parent row), for rows that are part of their parent's payload
    fields     json NOT NULL,             -- {"column": "text" or null}; secret columns are encrypted
    PRIMARY KEY (table_name, key)
) WITH (fillfactor = 85);
CREATE INDEX mirror_parent ON mirror (table_name, parent) WHERE parent IS NOT NULL;

-- Which tables and columns the mirror holds. A column is named "schema.column" with a suffix for how it is stored.
CREATE TABLE mirror_table (
    table_name  text PRIMARY KEY,
    columns     text[] NOT NULL,
    absent      text[] NOT NULL DEFAULT '{}',   -- mapped columns that the database did not have or the role could not read
    fingerprint text NOT NULL DEFAULT '',       -- of the table's catalog entries; a new one means that rows may have changed outside the WAL
    suspect     boolean NOT NULL DEFAULT false  -- compare the rows before relying on them
);

-- Keys of a table's rows in the IAM's snapshot, while it is compared with the mirror. Empty otherwise; not needed after a crash.
CREATE UNLOGGED TABLE snapshot_key (key text COLLATE "C" NOT NULL);

-- Child rows as they were before the large transaction, or the reconciliation, that is being mapped; parent and fields are null for
-- a row that did not exist. Empty otherwise; not needed after a crash.
CREATE UNLOGGED TABLE mirror_before (
    table_name text COLLATE "C" NOT NULL,
    key        text COLLATE "C" NOT NULL,
    parent     text COLLATE "C",
    fields     json
);
CREATE INDEX mirror_before_key ON mirror_before USING hash (key);
CREATE INDEX mirror_before_parent ON mirror_before USING hash (parent);

-- Every reconciliation of the IAM's tables with the mirror, requested by an operator or caused by lost history.
CREATE TABLE reconciliation (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    manual        boolean NOT NULL,               -- an operator requested it
    dry_run       boolean NOT NULL DEFAULT false, -- report the differences, change nothing
    skip_wal      boolean NOT NULL DEFAULT false, -- do not ingest the retained WAL first
    reason        text    NOT NULL,
    state         text    NOT NULL CHECK (state IN ('requested', 'running', 'done', 'failed', 'canceled')),
    error         text    NOT NULL DEFAULT '',
    lsn           pg_lsn,                         -- of the snapshot: later changes come from the WAL
    requested     timestamptz NOT NULL DEFAULT clock_timestamp(),
    started       timestamptz,
    ended         timestamptz,
    table_name    text    NOT NULL DEFAULT '',    -- table being compared
    rows_compared bigint  NOT NULL DEFAULT 0,
    rows_expected bigint  NOT NULL DEFAULT 0,     -- estimate
    result        json
);
CREATE INDEX reconciliation_open ON reconciliation (id) WHERE state IN ('requested', 'running');

-- Events.

-- The event log, one partition per day.
CREATE TABLE event (
    id         bigint NOT NULL,               -- 1, 2, 3 … in commit order
    day        date   NOT NULL,               -- on which it was stored (UTC)
    webhook_id text   NOT NULL,               -- value of the webhook-id header; receivers deduplicate by it
    name       text   NOT NULL,
    tenant     text,                          -- null if it could not be resolved; such an event is sent to no one
    resource   text   NOT NULL,
    occurred   timestamptz NOT NULL,          -- commit time in the IAM, by the IAM's clock
    lsn        pg_lsn NOT NULL,               -- of the commit
    ordinal    int    NOT NULL,               -- within the transaction
    body       bytea,                         -- sent and signed byte for byte; null if larger than outbox.max_body
    webhooks   bigint[] NOT NULL,             -- subscribed as of the transaction
    reconciled boolean NOT NULL DEFAULT false, -- found by a reconciliation, not read from the WAL
    PRIMARY KEY (id, day)
) PARTITION BY RANGE (day);

-- Events that a later change may still cancel (unless_followed). They enter the event log when they are due.
CREATE TABLE delayed_event (
    lsn        pg_lsn NOT NULL,
    ordinal    int    NOT NULL,
    webhook_id text   NOT NULL,
    name       text   NOT NULL,
    tenant     text,
    resource   text   NOT NULL,
    occurred   timestamptz NOT NULL,
    body       bytea,
    webhooks   bigint[] NOT NULL,
    reconciled boolean NOT NULL DEFAULT false,
    cancel_key text   NOT NULL,      -- a change with the same key cancels the event
    due        timestamptz NOT NULL, -- by the IAM's clock
    PRIMARY KEY (lsn, ordinal)
);
-- A transaction may delay or cancel millions of events.
CREATE INDEX delayed_event_cancel_key ON delayed_event (cancel_key);
CREATE INDEX delayed_event_due ON delayed_event (due, lsn, ordinal);

-- What happened to webhooks and deliveries (endpoint.disabled, delivery.exhausted, …), until the leader turns it into events.
CREATE TABLE operational_event (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    webhook bigint NOT NULL,
    name    text NOT NULL,
    event   bigint, -- whose delivery it is about
    data    json NOT NULL
);

-- Partitions past their retention that still hold undelivered events.
CREATE TABLE expiring (
    partition text PRIMARY KEY,
    checks    int  NOT NULL -- retention checks since then; it is dropped after a few, whatever the clock says
) WITH (fillfactor = 50);

-- Delivery.

-- One row: every event up to it was delivered, is a retry, or belongs to a webhook with its own cursor. A table apart from position, so
-- that ingestion and delivery never wait for each other's row lock.
CREATE TABLE watermark (
    singleton     boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    epoch         bigint NOT NULL DEFAULT 0, -- as in position
    delivered     bigint NOT NULL DEFAULT 0,
    clock_checked timestamptz                -- newest time that a leader saw; an earlier one later means that the clock was set back
) WITH (fillfactor = 10);
INSERT INTO watermark DEFAULT VALUES;

-- advance_watermark is part of every commit of a leader's delivery. It fails like advance_position.
CREATE FUNCTION advance_watermark(my_epoch bigint, event bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE watermark SET delivered = event WHERE epoch = my_epoch;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'epoch % has ended', my_epoch USING ERRCODE = 'IR001';
    END IF;
END $$;

-- Running relays. A relay's leases are valid while its row exists; the others delete the row when its heartbeat stops.
CREATE TABLE member (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    joined  timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen    timestamptz NOT NULL DEFAULT clock_timestamp(), -- last heartbeat
    version text NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The leader numbers the webhooks of the IAM and of the configuration file, this sequence those of "iam-relay webhooks": neither waits
-- for the other.
CREATE SEQUENCE webhook_relay_id AS bigint START 4294967296 MINVALUE 4294967296;
CREATE SEQUENCE webhook_version AS bigint;

-- Subscriptions of every origin, and the state of their endpoints. With outbox.key_file, url, header values, secrets and credentials are
-- encrypted.
CREATE TABLE webhook (
    id              bigint PRIMARY KEY,
    origin          text NOT NULL CHECK (origin IN ('iam', 'config', 'relay')),
    key             text NOT NULL,                       -- within the origin: the IAM's row key, or the configured name
    tenant          text NOT NULL,                       -- key or name; * for all
    tenant_keys     text[] NOT NULL DEFAULT '{}',        -- keys of the tenants with that name
    name            text NOT NULL,
    description     text NOT NULL,
    url             text NOT NULL,
    headers         json NOT NULL,
    secrets         text[] NOT NULL,
    secrets_created timestamptz[] NOT NULL DEFAULT '{}', -- one for each secret; null or shorter: unknown
    secrets_expire  timestamptz[] NOT NULL DEFAULT '{}', -- one for each secret; null or shorter: never
    events          text[] NOT NULL,                     -- patterns
    options         text NOT NULL DEFAULT '{}',          -- JSON: ordering, retry schedule, limits, …
    credentials     text NOT NULL DEFAULT '',            -- JSON: what options needs to be kept secret
    exclusive       boolean NOT NULL DEFAULT false,      -- only the relay that serves it sends its retries, to keep its order or rate
    enabled         boolean NOT NULL,
    disabled_reason text NOT NULL DEFAULT '',            -- empty if its definition disables it
    handshake       text NOT NULL DEFAULT '',            -- hash of the URL that accepted the validation handshake, and its rate
    removed_after   bigint,                              -- set once removed: events up to it are still delivered
    created         timestamptz NOT NULL DEFAULT now(),
    changed         timestamptz NOT NULL DEFAULT now(),  -- definition, or enabled by command
    -- Changes that other relays must see raise the version. They find them by transaction, because a lower sequence number may
    -- become visible after a higher one.
    version         bigint NOT NULL DEFAULT 0,
    changed_by      xid8 NOT NULL DEFAULT pg_current_xact_id(),
    cursor          bigint,                              -- last event done, while it reads the event log itself (catching up)
    lease           bigint,                              -- member that serves it while it has a cursor
    -- The circuit breaker.
    paused_until    timestamptz,
    pauses          int NOT NULL DEFAULT 0,              -- in a row, without a success between them
    failing_since   timestamptz,                         -- null: the last attempt succeeded
    failing_spans   int NOT NULL DEFAULT 0,              -- spans of time with a failure since then
    failed_at       timestamptz,                         -- last failure that began a span
    resume_count    int NOT NULL DEFAULT 0               -- resets by command; what was measured before the last one is void
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX webhook_origin_key ON webhook (origin, indexed(key)) WHERE removed_after IS NULL;
CREATE INDEX webhook_changed_by ON webhook (changed_by);
CREATE FUNCTION set_changed_by() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_by = pg_current_xact_id();
    RETURN NEW;
END $$;
CREATE TRIGGER set_changed_by BEFORE UPDATE ON webhook FOR EACH ROW WHEN (NEW.version <> OLD.version) EXECUTE FUNCTION set_changed_by();

-- Failed deliveries: retrying, or dead (due at infinity) after a permanent failure or the whole schedule.
CREATE TABLE retry (
    event     bigint NOT NULL,
    webhook   bigint NOT NULL,
    attempts  int    NOT NULL,
    due       timestamptz NOT NULL,
    lease     bigint,                            -- member that is sending it
    class     text   NOT NULL,                   -- outcome of the last attempt
    status    int    NOT NULL,                   -- its HTTP status; 0 without an answer
    order_key text,                              -- equal keys are sent one after the other, in the order of the events; null for no order
    created   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event, webhook)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX retry_due ON retry (due);
-- From one webhook with retries to the next, and within a webhook by time.
CREATE INDEX retry_webhook_due ON retry (webhook, due) WHERE due < 'infinity';
CREATE INDEX retry_order_key ON retry (webhook, order_key, event) WHERE order_key IS NOT NULL;
CREATE INDEX retry_webhook_event ON retry (webhook, event);

-- Every attempt to deliver an event, one partition per day. Phases are in microseconds, and null if there was none, as on a
-- reused connection.
CREATE TABLE attempt (
    day        date   NOT NULL,
    event      bigint NOT NULL,
    webhook    bigint NOT NULL,
    number     int    NOT NULL,      -- from 1
    at         timestamptz NOT NULL,
    micros     bigint NOT NULL,      -- duration
    class      text   NOT NULL,      -- outcome
    status     int    NOT NULL,      -- HTTP status; 0 without an answer
    response   text,                 -- the first bytes of an answer that is not a success
    dns        int,
    connect    int,
    tls        int,
    first_byte int,
    error      text
) PARTITION BY RANGE (day);
CREATE INDEX attempt_event ON attempt USING brin (event);

-- Replays: the leader queues a range of the event log for a webhook again, as rows of retry.
CREATE TABLE replay (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook  bigint NOT NULL,
    state    text   NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'canceled')),
    cursor   bigint NOT NULL,                -- last event examined
    through  bigint NOT NULL,                -- last event to examine
    events   text[] NOT NULL DEFAULT '{}',   -- patterns; empty: the webhook's
    tenant   text   NOT NULL DEFAULT '',     -- empty: any
    resource text   NOT NULL DEFAULT '',     -- empty: any
    since    timestamptz,                    -- commit times; event ids are only roughly in their order
    until    timestamptz,
    missed   boolean NOT NULL DEFAULT false, -- only events never delivered to the webhook
    rate     int    NOT NULL,                -- events per second
    queued   bigint NOT NULL DEFAULT 0,
    created  timestamptz NOT NULL DEFAULT now(),
    updated  timestamptz NOT NULL DEFAULT now() -- the rate is used up to here; once ended, when
);
