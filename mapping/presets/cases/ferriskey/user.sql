-- mapping: preset:ferriskey
-- include: ../../../../integration/ferriskey/schema.sql
-- include: realm.inc.sql

-- transaction: a user is created with a required action
INSERT INTO users (id, realm_id, username, email, created_at, updated_at) VALUES ('00000000-0000-4000-8000-0000000000a2', '00000000-0000-4000-8000-000000000001', 'leo', 'leo@example.com', '2026-01-02', '2026-01-02');
INSERT INTO user_required_actions (id, user_id, action) VALUES ('00000000-0000-4000-8000-0000000000e1', '00000000-0000-4000-8000-0000000000a2', 'verify_email');
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"user.created","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000a2","data":{"id":"00000000-0000-4000-8000-0000000000a2","realm_id":"00000000-0000-4000-8000-000000000001","username":"leo","firstname":null,"lastname":null,"email":"leo@example.com","email_verified":false,"enabled":true,"realm":{"id":"00000000-0000-4000-8000-000000000001","name":"acme","display_name":"Acme","settings":null,"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z"},"required_actions":["verify_email"],"created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-02T00:00:00Z","failed_login_attempts":0,"locked_until":null}}

-- transaction: a user is renamed
UPDATE users SET username = 'leon', updated_at = '2026-01-03' WHERE username = 'leo';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"user.updated","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000a2","data":{"id":"00000000-0000-4000-8000-0000000000a2","realm_id":"00000000-0000-4000-8000-000000000001","username":"leon","firstname":null,"lastname":null,"email":"leo@example.com","email_verified":false,"enabled":true,"required_actions":["verify_email"],"created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-03T00:00:00Z","failed_login_attempts":0,"locked_until":null}}

-- transaction: a login changes only bookkeeping
UPDATE users SET failed_login_attempts = 0, locked_until = NULL, updated_at = '2026-01-04' WHERE username = 'leon';

-- transaction: only the address is verified
UPDATE users SET email_verified = true, updated_at = '2026-01-05' WHERE username = 'leon';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"user.email_verified","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000a2","data":{"id":"00000000-0000-4000-8000-0000000000a2","realm_id":"00000000-0000-4000-8000-000000000001","username":"leon","firstname":null,"lastname":null,"email":"leo@example.com","email_verified":true,"enabled":true,"required_actions":["verify_email"],"created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-05T00:00:00Z","failed_login_attempts":0,"locked_until":null}}

-- transaction: a role is assigned
INSERT INTO user_role (user_id, role_id, created_at, updated_at) VALUES ('00000000-0000-4000-8000-0000000000a1', '00000000-0000-4000-8000-0000000000d1', '2026-01-06', '2026-01-06');
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"user.role.assigned","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000a1","data":{"id":"00000000-0000-4000-8000-0000000000d1","name":"auditor","description":null,"permissions":["view_authorization"],"realm_id":"00000000-0000-4000-8000-000000000001","client_id":null,"client":null,"require_mfa":false,"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z","user_id":"00000000-0000-4000-8000-0000000000a1","role_id":"00000000-0000-4000-8000-0000000000d1"}}

-- transaction: a role is unassigned
DELETE FROM user_role WHERE user_id = '00000000-0000-4000-8000-0000000000a1';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"user.role.unassigned","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000a1","data":{"id":"00000000-0000-4000-8000-0000000000d1","name":"auditor","description":null,"permissions":["view_authorization"],"realm_id":"00000000-0000-4000-8000-000000000001","client_id":null,"client":null,"require_mfa":false,"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z","user_id":"00000000-0000-4000-8000-0000000000a1","role_id":"00000000-0000-4000-8000-0000000000d1"}}

-- transaction: a password reset is requested
INSERT INTO password_reset_tokens (user_id, realm_id, token_id, token_hash, expires_at) VALUES ('00000000-0000-4000-8000-0000000000a1', '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-0000000000f1', 'never-sent', '2030-01-01');
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"auth.reset_password","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000a1","data":null}

-- transaction: a password is set
INSERT INTO credentials (id, credential_type, user_id, secret_data, credential_data) VALUES ('00000000-0000-4000-8000-0000000000b1', 'password', '00000000-0000-4000-8000-0000000000a1', 'never-sent', '{}');

-- transaction: the password is replaced: the deletion
DELETE FROM credentials WHERE user_id = '00000000-0000-4000-8000-0000000000a1';
-- event tenant=00000000-0000-4000-8000-000000000001 delayed=5s: {"event":"user.credentials.deleted","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000a1","data":{"id":"00000000-0000-4000-8000-0000000000b1","user_id":"00000000-0000-4000-8000-0000000000a1","credential_type":"password"}}

-- transaction: the password is replaced: the new one
INSERT INTO credentials (id, credential_type, user_id, secret_data, credential_data) VALUES ('00000000-0000-4000-8000-0000000000b2', 'password', '00000000-0000-4000-8000-0000000000a1', 'never-sent', '{}');
-- canceled: user.credentials.deleted

-- transaction: a passkey is registered
INSERT INTO credentials (id, credential_type, user_id, secret_data, credential_data) VALUES ('00000000-0000-4000-8000-0000000000b3', 'webauthn-public-key-credential', '00000000-0000-4000-8000-0000000000a1', 'never-sent', '{}');

-- transaction: the passkey is deleted
DELETE FROM credentials WHERE credential_type = 'webauthn-public-key-credential';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"user.credentials.deleted","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000a1","data":{"id":"00000000-0000-4000-8000-0000000000b3","user_id":"00000000-0000-4000-8000-0000000000a1","credential_type":"webauthn-public-key-credential"}}

-- transaction: a user is deleted with the credentials
DELETE FROM users WHERE id = '00000000-0000-4000-8000-0000000000a1';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"user.deleted","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000a1","data":{"id":"00000000-0000-4000-8000-0000000000a1","realm_id":"00000000-0000-4000-8000-000000000001","username":"mia","firstname":"Mia","lastname":"Moss","email":"mia@example.com","email_verified":false,"enabled":true,"realm":{"id":"00000000-0000-4000-8000-000000000001","name":"acme","display_name":"Acme","settings":null,"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z"},"required_actions":[],"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z","failed_login_attempts":0,"locked_until":null}}

-- transaction: another user is created
INSERT INTO users (id, realm_id, username, created_at, updated_at) VALUES ('00000000-0000-4000-8000-0000000000a3', '00000000-0000-4000-8000-000000000001', 'ada', '2026-01-02', '2026-01-02');
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"user.created","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000a3","data":{"id":"00000000-0000-4000-8000-0000000000a3","realm_id":"00000000-0000-4000-8000-000000000001","username":"ada","firstname":null,"lastname":null,"email":null,"email_verified":false,"enabled":true,"realm":{"id":"00000000-0000-4000-8000-000000000001","name":"acme","display_name":"Acme","settings":null,"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z"},"required_actions":[],"created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-02T00:00:00Z","failed_login_attempts":0,"locked_until":null}}

-- transaction: two users are deleted at once
DELETE FROM users WHERE realm_id = '00000000-0000-4000-8000-000000000001';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"user.bulk_deleted","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-000000000001","data":["00000000-0000-4000-8000-0000000000a2","00000000-0000-4000-8000-0000000000a3"]}
