-- FerrisKey's tables as of its version 0.7, as far as an IAM relay meets them: those whose rows become events, those that
-- cascade into them, and some that are written beside them and must cause nothing. Columns, types, defaults, unique and
-- foreign keys are FerrisKey's; the tables have no triggers, and all keep the default replica identity.

CREATE TABLE realms (
    id           uuid PRIMARY KEY,
    name         varchar(255) NOT NULL UNIQUE,
    created_at   timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at   timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    display_name varchar(255)
);

CREATE TABLE email_templates (
    id         uuid PRIMARY KEY,
    realm_id   uuid NOT NULL REFERENCES realms ON DELETE CASCADE,
    name       varchar(255) NOT NULL,
    email_type varchar(50) NOT NULL,
    structure  jsonb NOT NULL,
    mjml       text NOT NULL,
    created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE portal_themes (
    id            uuid PRIMARY KEY,
    realm_id      uuid NOT NULL REFERENCES realms ON DELETE CASCADE,
    design_tokens jsonb NOT NULL DEFAULT '{}',
    created_at    timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at    timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    name          varchar(255) NOT NULL DEFAULT 'Default'
);

CREATE TABLE realm_settings (
    id                             uuid PRIMARY KEY,
    realm_id                       uuid NOT NULL REFERENCES realms ON DELETE CASCADE,
    default_signing_algorithm      varchar(255),
    updated_at                     timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    user_registration_enabled      boolean NOT NULL DEFAULT false,
    forgot_password_enabled        boolean NOT NULL DEFAULT false,
    remember_me_enabled            boolean NOT NULL DEFAULT false,
    magic_link_enabled             boolean NOT NULL DEFAULT false,
    magic_link_ttl_minutes         integer NOT NULL DEFAULT 15,
    compass_enabled                boolean NOT NULL DEFAULT true,
    access_token_lifetime_secs     integer NOT NULL DEFAULT 300,
    refresh_token_lifetime_secs    integer NOT NULL DEFAULT 86400,
    id_token_lifetime_secs         integer NOT NULL DEFAULT 300,
    temporary_token_lifetime_secs  integer NOT NULL DEFAULT 300,
    passkey_enabled                boolean NOT NULL DEFAULT false,
    reset_password_template_id     uuid REFERENCES email_templates ON DELETE SET NULL,
    magic_link_template_id         uuid REFERENCES email_templates ON DELETE SET NULL,
    email_verification_template_id uuid REFERENCES email_templates ON DELETE SET NULL,
    email_verification_enabled     boolean NOT NULL DEFAULT false,
    email_verification_ttl_hours   integer NOT NULL DEFAULT 24 CHECK (email_verification_ttl_hours BETWEEN 1 AND 720),
    portal_theme_id                uuid REFERENCES portal_themes ON DELETE SET NULL,
    lockout_threshold              integer NOT NULL DEFAULT 10,
    lockout_duration_seconds       integer NOT NULL DEFAULT 900,
    login_aliases                  text[] NOT NULL DEFAULT '{username}',
    seawatch_pii_mode              varchar(20) NOT NULL DEFAULT 'off',
    seawatch_pseudo_key            varchar(255),
    require_mfa                    boolean NOT NULL DEFAULT false
);

CREATE TABLE clients (
    id                             uuid PRIMARY KEY,
    realm_id                       uuid NOT NULL REFERENCES realms ON DELETE CASCADE,
    name                           varchar(255) NOT NULL,
    client_id                      varchar(255) NOT NULL,
    secret                         varchar(255),
    enabled                        boolean NOT NULL DEFAULT true,
    protocol                       varchar(255) NOT NULL,
    public_client                  boolean NOT NULL DEFAULT false,
    service_account_enabled        boolean NOT NULL DEFAULT false,
    client_type                    varchar(255) NOT NULL,
    created_at                     timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at                     timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    direct_access_grants_enabled   boolean DEFAULT false,
    access_token_lifetime_secs     integer,
    refresh_token_lifetime_secs    integer,
    id_token_lifetime_secs         integer,
    temporary_token_lifetime_secs  integer,
    maintenance_enabled            boolean DEFAULT false,
    maintenance_reason             text,
    maintenance_session_strategy   varchar(50),
    oauth_device_code_grant_enabled boolean DEFAULT false,
    require_pkce                   boolean NOT NULL DEFAULT false,
    CONSTRAINT unique_client_id_per_realm_id UNIQUE (client_id, realm_id)
);

CREATE TABLE users (
    id                    uuid PRIMARY KEY,
    realm_id              uuid NOT NULL REFERENCES realms ON DELETE CASCADE,
    client_id             uuid CONSTRAINT unique_client_id UNIQUE REFERENCES clients ON DELETE CASCADE,
    username              varchar(255) NOT NULL,
    firstname             varchar(255),
    lastname              varchar(255),
    email                 varchar(255),
    email_verified        boolean NOT NULL DEFAULT false,
    enabled               boolean NOT NULL DEFAULT true,
    created_at            timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at            timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    failed_login_attempts integer NOT NULL DEFAULT 0,
    locked_until          timestamptz,
    CONSTRAINT unique_username_realm_id UNIQUE (username, realm_id),
    CONSTRAINT unique_email_per_realm UNIQUE (email, realm_id)
);

CREATE TABLE roles (
    id          uuid PRIMARY KEY,
    name        varchar(255) NOT NULL,
    description text,
    permissions bigint NOT NULL DEFAULT 0,
    realm_id    uuid NOT NULL REFERENCES realms ON DELETE CASCADE,
    client_id   uuid REFERENCES clients ON DELETE CASCADE,
    created_at  timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at  timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    require_mfa boolean NOT NULL DEFAULT false,
    CONSTRAINT unique_name_realm_id UNIQUE (name, realm_id)
);

CREATE TABLE user_role (
    id         bigserial PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    role_id    uuid NOT NULL REFERENCES roles ON DELETE CASCADE,
    created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT unique_user_id_role_id UNIQUE (user_id, role_id)
);

CREATE TABLE credentials (
    id                     uuid PRIMARY KEY,
    salt                   varchar(255),
    credential_type        varchar(255) NOT NULL,
    user_id                uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    user_label             varchar(255),
    secret_data            text NOT NULL,
    credential_data        jsonb NOT NULL,
    created_at             timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at             timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    temporary              boolean DEFAULT false,
    webauthn_credential_id bytea
);
CREATE UNIQUE INDEX unique_credential_type_per_user_id_idx ON credentials (user_id, credential_type)
    WHERE credential_type <> 'recovery-code' AND credential_type <> 'webauthn-public-key-credential';

CREATE TABLE redirect_uris (
    id         uuid PRIMARY KEY,
    client_id  uuid NOT NULL REFERENCES clients ON DELETE CASCADE,
    value      text NOT NULL,
    enabled    boolean NOT NULL DEFAULT true,
    created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE post_logout_redirect_uris (
    id         uuid PRIMARY KEY,
    client_id  uuid NOT NULL REFERENCES clients ON DELETE CASCADE,
    value      text NOT NULL,
    enabled    boolean NOT NULL DEFAULT true,
    created_at timestamp NOT NULL,
    updated_at timestamp NOT NULL
);

CREATE TABLE client_web_origins (
    id         uuid PRIMARY KEY,
    client_id  uuid NOT NULL REFERENCES clients ON DELETE CASCADE,
    value      text NOT NULL,
    created_at timestamp NOT NULL,
    updated_at timestamp NOT NULL,
    CONSTRAINT uq_client_web_origins_client_id_value UNIQUE (client_id, value)
);

CREATE TABLE webhooks (
    id                   uuid PRIMARY KEY,
    realm_id             uuid NOT NULL REFERENCES realms ON DELETE CASCADE,
    endpoint             varchar(255) NOT NULL,
    triggered_at         timestamp,
    updated_at           timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    created_at           timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    name                 varchar(255),
    description          varchar(255),
    headers              jsonb NOT NULL DEFAULT '{}',
    secret               text NOT NULL,
    last_delivery_status varchar(16),
    last_delivery_error  varchar(255)
);

CREATE TABLE webhook_subscribers (
    id         uuid PRIMARY KEY,
    name       varchar(255) NOT NULL,
    webhook_id uuid NOT NULL REFERENCES webhooks ON DELETE CASCADE
);

CREATE TABLE device_auth_sessions (
    device_code      uuid PRIMARY KEY,
    user_code        varchar(9) NOT NULL UNIQUE,
    client_id        uuid NOT NULL REFERENCES clients ON DELETE CASCADE,
    realm_id         uuid NOT NULL REFERENCES realms ON DELETE CASCADE,
    user_id          uuid REFERENCES users ON DELETE CASCADE,
    scope            text,
    status           varchar(32) NOT NULL DEFAULT 'pending',
    interval_seconds integer NOT NULL DEFAULT 5,
    expires_at       timestamptz NOT NULL,
    last_polled_at   timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE security_events (
    id          uuid PRIMARY KEY,
    realm_id    uuid NOT NULL REFERENCES realms ON DELETE CASCADE,
    actor_id    uuid,
    actor_type  varchar(50),
    event_type  varchar(50) NOT NULL,
    status      varchar(20) NOT NULL,
    target_type varchar(50),
    target_id   uuid,
    resource    text,
    "timestamp" timestamp NOT NULL,
    trace_id    varchar(255),
    ip_address  varchar(45),
    user_agent  text,
    details     jsonb,
    created_at  timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    event_hash  text,
    prev_hash   text
);

CREATE TABLE user_required_actions (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    action     text NOT NULL,
    created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT unique_user_action UNIQUE (user_id, action)
);

CREATE TABLE user_attributes (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    realm_id   uuid NOT NULL REFERENCES realms ON DELETE CASCADE,
    key        varchar(255) NOT NULL,
    value      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT unique_user_attribute_key UNIQUE (user_id, key)
);

CREATE TABLE password_reset_tokens (
    id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id           uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    realm_id          uuid NOT NULL REFERENCES realms ON DELETE CASCADE,
    token_id          uuid NOT NULL UNIQUE,
    token_hash        text NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    expires_at        timestamptz NOT NULL,
    auth_session_code uuid
);

CREATE TABLE email_verification_tokens (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    realm_id   uuid NOT NULL REFERENCES realms ON DELETE CASCADE,
    token_hash varchar(255) NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at    timestamptz
);

CREATE TABLE refresh_tokens (
    id          uuid PRIMARY KEY,
    jti         uuid NOT NULL UNIQUE,
    user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    revoked     boolean NOT NULL DEFAULT false,
    expires_at  timestamp,
    created_at  timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    family_id   uuid NOT NULL DEFAULT gen_random_uuid(),
    status      text NOT NULL DEFAULT 'active',
    replaced_by uuid,
    rotated_at  timestamptz,
    session_id  uuid
);

CREATE TABLE access_tokens (
    id         uuid PRIMARY KEY,
    token_hash text NOT NULL UNIQUE,
    jti        uuid UNIQUE,
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    realm_id   uuid NOT NULL REFERENCES realms ON DELETE CASCADE,
    revoked    boolean NOT NULL DEFAULT false,
    expires_at timestamp,
    claims     jsonb NOT NULL,
    created_at timestamp NOT NULL DEFAULT now()
);

CREATE TABLE user_sessions (
    id           uuid PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    realm_id     uuid NOT NULL REFERENCES realms ON DELETE CASCADE,
    user_agent   varchar(255),
    ip_address   varchar(255),
    created_at   timestamp NOT NULL DEFAULT now(),
    expires_at   timestamp NOT NULL,
    last_seen_at timestamp
);

CREATE TABLE auth_sessions (
    id            uuid PRIMARY KEY,
    realm_id      uuid NOT NULL REFERENCES realms ON DELETE CASCADE,
    client_id     uuid NOT NULL REFERENCES clients ON DELETE CASCADE,
    redirect_uri  varchar(255) NOT NULL,
    response_type varchar(255) NOT NULL,
    scope         varchar(255) NOT NULL,
    state         text,
    nonce         text,
    user_id       uuid REFERENCES users ON DELETE SET NULL,
    code          varchar(255) UNIQUE,
    authenticated boolean NOT NULL DEFAULT false,
    created_at    timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    expires_at    timestamp NOT NULL
);

CREATE TABLE client_scopes (
    id                 uuid PRIMARY KEY,
    realm_id           uuid NOT NULL REFERENCES realms ON DELETE CASCADE,
    name               varchar(255) NOT NULL,
    description        text,
    protocol           varchar(255) NOT NULL DEFAULT 'openid-connect',
    created_at         timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at         timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    default_scope_type varchar(255) NOT NULL DEFAULT 'NONE',
    CONSTRAINT unique_client_scope_name_per_realm UNIQUE (realm_id, name)
);

CREATE TABLE client_scope_mappings (
    client_id          uuid NOT NULL REFERENCES clients ON DELETE CASCADE,
    client_scope_id    uuid NOT NULL REFERENCES client_scopes ON DELETE CASCADE,
    default_scope_type varchar(255) NOT NULL DEFAULT 'NONE',
    PRIMARY KEY (client_id, client_scope_id)
);

CREATE TABLE client_scope_protocol_mappers (
    id              uuid PRIMARY KEY,
    client_scope_id uuid NOT NULL REFERENCES client_scopes ON DELETE CASCADE,
    name            varchar(255) NOT NULL,
    mapper_type     varchar(255) NOT NULL,
    config          jsonb NOT NULL DEFAULT '{}',
    created_at      timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE client_maintenance_whitelist (
    id         uuid PRIMARY KEY,
    client_id  uuid NOT NULL REFERENCES clients ON DELETE CASCADE,
    user_id    uuid REFERENCES users ON DELETE CASCADE,
    role_id    uuid REFERENCES roles ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((user_id IS NULL) <> (role_id IS NULL))
);

CREATE TABLE realm_maintenance_whitelist (
    id         uuid PRIMARY KEY,
    realm_id   uuid NOT NULL REFERENCES realms ON DELETE CASCADE,
    user_id    uuid REFERENCES users ON DELETE CASCADE,
    role_id    uuid REFERENCES roles ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((user_id IS NULL) <> (role_id IS NULL))
);

CREATE TABLE _sqlx_migrations (
    version        bigint PRIMARY KEY,
    description    text NOT NULL,
    installed_on   timestamptz NOT NULL DEFAULT now(),
    success        boolean NOT NULL,
    checksum       bytea NOT NULL,
    execution_time bigint NOT NULL
);
