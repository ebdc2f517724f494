-- Delivery by any number of relays, with an order where one is wanted, and by hand.

-- Webhooks may also be made with iam-relay webhooks ('relay'). The leader numbers those of the IAM and of the configuration,
-- this sequence the others: neither has to ask the other.
ALTER TABLE webhook DROP CONSTRAINT webhook_origin_check;
ALTER TABLE webhook ADD CONSTRAINT webhook_origin_check CHECK (origin IN ('iam', 'config', 'relay'));
CREATE SEQUENCE webhook_relay_id AS bigint START 4294967296 MINVALUE 4294967296;

ALTER TABLE webhook
    -- How it is delivered to (ordering, schedule, limits, …), and what that needs to be kept secret. Both JSON.
    ADD COLUMN options     text NOT NULL DEFAULT '{}',
    ADD COLUMN credentials text NOT NULL DEFAULT '',
    -- Its parked deliveries are sent only by the relay that serves the webhook: order and rate are kept by one.
    ADD COLUMN exclusive   boolean NOT NULL DEFAULT false,
    -- The URL, hashed, that has agreed to be called, where the webhook asks for a handshake first.
    ADD COLUMN agreed      text NOT NULL DEFAULT '',
    -- Of a tenant that is named by its name: the keys of the tenants that have the name. Empty while none is known.
    ADD COLUMN tenant_keys text[] NOT NULL DEFAULT '{}',
    -- Grows with each change that the relays look for, which find it by the transaction that made it: unlike the numbers of a
    -- sequence, transactions that are not visible yet are never older than the snapshot's oldest one.
    ADD COLUMN version     bigint NOT NULL DEFAULT 0,
    ADD COLUMN changed_in  xid8 NOT NULL DEFAULT pg_current_xact_id(),
    -- How often its failures were forgiven on request: what a relay has measured before that is void.
    ADD COLUMN resumed     int NOT NULL DEFAULT 0,
    -- The relay that serves the webhook while it has a cursor.
    ADD COLUMN lease       bigint,
    -- Health: it rests until then, has rested so often without a success, and fails since then, in so many spans of time.
    ADD COLUMN rest_until    timestamptz,
    ADD COLUMN rests         int NOT NULL DEFAULT 0,
    ADD COLUMN failing_since timestamptz,
    ADD COLUMN failing_spans int NOT NULL DEFAULT 0,
    ADD COLUMN failed_at     timestamptz;
CREATE SEQUENCE webhook_version AS bigint;
CREATE INDEX webhook_changed ON webhook (changed_in);
CREATE FUNCTION webhook_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_in = pg_current_xact_id();
    RETURN NEW;
END $$;
CREATE TRIGGER webhook_changes BEFORE UPDATE ON webhook FOR EACH ROW WHEN (NEW.version <> OLD.version) EXECUTE FUNCTION webhook_changes();

-- The relays that live: each says so every few seconds. What a relay has leased is its own as long as its row is here.
CREATE TABLE member (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    joined  timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen    timestamptz NOT NULL DEFAULT clock_timestamp(),
    version text NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE position ADD COLUMN leader bigint; -- member

-- Deliveries with the same key are made one after the other, in the order of the events. A resource is part of it as indexed()
-- gives it.
ALTER TABLE parked
    DROP COLUMN lease_until,
    ADD COLUMN key text,
    ADD COLUMN since timestamptz NOT NULL DEFAULT now();
CREATE INDEX parked_key ON parked (webhook, key, event) WHERE key IS NOT NULL;
CREATE INDEX parked_webhook ON parked (webhook, event);

-- Where the time of an attempt went, in microseconds; null for a phase that there was not, as on a kept-alive connection.
ALTER TABLE attempt
    ADD COLUMN dns int,
    ADD COLUMN connect int,
    ADD COLUMN tls int,
    ADD COLUMN first_byte int,
    ADD COLUMN error text;

-- Days past their retention that are kept for a while, because they have events which were not delivered: how often they were looked at.
CREATE TABLE expiring (
    partition text PRIMARY KEY,
    calls     int  NOT NULL
) WITH (fillfactor = 50);

-- What happened to webhooks and deliveries, until the leader makes events of it.
CREATE TABLE notice (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    webhook bigint NOT NULL,
    name    text NOT NULL,
    event   bigint, -- the delivery's
    data    json NOT NULL
);

-- Events that are delivered once more: a part of the log is parked piece by piece.
CREATE TABLE replay (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook  bigint NOT NULL,
    state    text   NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'canceled')),
    cursor   bigint NOT NULL, -- looked at up to here
    through  bigint NOT NULL, -- the last one to look at
    events   text[] NOT NULL DEFAULT '{}', -- patterns; empty: what the webhook asks for
    tenant   text   NOT NULL DEFAULT '',
    resource text   NOT NULL DEFAULT '',
    since    timestamptz, -- of the events' own times: the range of ids alone is only nearly in their order
    until    timestamptz,
    missed   boolean NOT NULL DEFAULT false, -- only those that were never delivered to it
    rate     int    NOT NULL, -- per second
    queued   bigint NOT NULL DEFAULT 0,
    created  timestamptz NOT NULL DEFAULT now(),
    updated  timestamptz NOT NULL DEFAULT now()
);
