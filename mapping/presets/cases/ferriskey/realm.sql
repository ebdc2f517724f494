-- mapping: preset:ferriskey
-- include: ../../../../integration/ferriskey/schema.sql
-- include: realm.inc.sql

-- transaction: a realm is created with its settings
INSERT INTO realms VALUES ('00000000-0000-4000-8000-000000000009', 'new', '2026-01-02', '2026-01-02', NULL);
INSERT INTO realm_settings (id, realm_id, updated_at) VALUES ('00000000-0000-4000-8000-000000000008', '00000000-0000-4000-8000-000000000009', '2026-01-02');
-- event tenant=00000000-0000-4000-8000-000000000009: {"event":"realm.created","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-000000000009","data":{"id":"00000000-0000-4000-8000-000000000009","name":"new","display_name":null,"settings":null,"created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-02T00:00:00Z"}}

-- transaction: it is renamed
UPDATE realms SET name = 'newer', updated_at = '2026-01-03' WHERE name = 'new';
-- event tenant=00000000-0000-4000-8000-000000000009: {"event":"realm.updated","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-000000000009","data":{"id":"00000000-0000-4000-8000-000000000009","name":"newer","display_name":null,"settings":null,"created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-03T00:00:00Z"}}

-- transaction: it is saved without a change
UPDATE realms SET updated_at = '2026-01-04' WHERE name = 'newer';

-- transaction: a setting is changed
UPDATE realm_settings SET require_mfa = true, updated_at = '2026-01-05' WHERE realm_id = '00000000-0000-4000-8000-000000000001';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"realm.settings.updated","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-000000000002","data":{"id":"00000000-0000-4000-8000-000000000002","realm_id":"00000000-0000-4000-8000-000000000001","default_signing_algorithm":"RS256","user_registration_enabled":false,"forgot_password_enabled":false,"remember_me_enabled":false,"magic_link_enabled":false,"magic_link_ttl":15,"passkey_enabled":false,"compass_enabled":true,"access_token_lifetime":300,"refresh_token_lifetime":86400,"id_token_lifetime":300,"temporary_token_lifetime":300,"reset_password_template_id":null,"magic_link_template_id":null,"email_verification_template_id":null,"email_verification_enabled":false,"email_verification_ttl_hours":24,"login_aliases":["username"],"require_mfa":true,"updated_at":"2026-01-05T00:00:00Z","lockout_threshold":10,"lockout_duration_seconds":900,"seawatch_pii_mode":"off"}}

-- transaction: a realm is deleted with all that belongs to it
DELETE FROM realms WHERE id = '00000000-0000-4000-8000-000000000001';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"realm.deleted","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-000000000001","data":{"id":"00000000-0000-4000-8000-000000000001","name":"acme","display_name":"Acme","settings":null,"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z"}}
