-- Secrets that end by themselves, and the times of what is made by hand.
ALTER TABLE webhook
    -- Beside secrets, one for each: when it was made, and when it no longer signs. Null, or a shorter list, is unknown and never.
    ADD COLUMN secrets_created timestamptz[] NOT NULL DEFAULT '{}',
    ADD COLUMN secrets_expire  timestamptz[] NOT NULL DEFAULT '{}',
    -- The last change of the definition, or of the state by hand.
    ADD COLUMN changed timestamptz NOT NULL DEFAULT now();
