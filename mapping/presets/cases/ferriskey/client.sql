-- mapping: preset:ferriskey
-- include: ../../../../integration/ferriskey/schema.sql
-- include: realm.inc.sql

-- transaction: a client is created with its service account
INSERT INTO clients (id, realm_id, name, client_id, secret, protocol, client_type, service_account_enabled, created_at, updated_at)
VALUES ('00000000-0000-4000-8000-0000000000c2', '00000000-0000-4000-8000-000000000001', 'Bot', 'bot', 'never-sent', 'openid-connect', 'confidential', true, '2026-01-02', '2026-01-02');
INSERT INTO users (id, realm_id, client_id, username, created_at, updated_at)
VALUES ('00000000-0000-4000-8000-0000000000a2', '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-0000000000c2', 'service-account-bot', '2026-01-02', '2026-01-02');
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"client.created","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000c2","data":{"id":"00000000-0000-4000-8000-0000000000c2","enabled":true,"client_id":"bot","realm_id":"00000000-0000-4000-8000-000000000001","protocol":"openid-connect","public_client":false,"service_account_enabled":true,"direct_access_grants_enabled":false,"oauth_device_code_grant_enabled":false,"require_pkce":false,"client_type":"confidential","name":"Bot","redirect_uris":null,"access_token_lifetime":null,"refresh_token_lifetime":null,"id_token_lifetime":null,"temporary_token_lifetime":null,"maintenance_enabled":false,"maintenance_reason":null,"maintenance_session_strategy":"expire","created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-02T00:00:00Z"}}

-- transaction: a client is renamed
UPDATE clients SET name = 'Robot', updated_at = '2026-01-03' WHERE client_id = 'bot';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"client.updated","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000c2","data":{"id":"00000000-0000-4000-8000-0000000000c2","enabled":true,"client_id":"bot","realm_id":"00000000-0000-4000-8000-000000000001","protocol":"openid-connect","public_client":false,"service_account_enabled":true,"direct_access_grants_enabled":false,"oauth_device_code_grant_enabled":false,"require_pkce":false,"client_type":"confidential","name":"Robot","redirect_uris":null,"access_token_lifetime":null,"refresh_token_lifetime":null,"id_token_lifetime":null,"temporary_token_lifetime":null,"maintenance_enabled":false,"maintenance_reason":null,"maintenance_session_strategy":"expire","created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-03T00:00:00Z"}}

-- transaction: its secret is rotated
UPDATE clients SET secret = 'never-sent-either', updated_at = '2026-01-04' WHERE client_id = 'bot';

-- transaction: a redirect URI is added
INSERT INTO redirect_uris VALUES ('00000000-0000-4000-8000-0000000000e1', '00000000-0000-4000-8000-0000000000c1', 'https://shop.example.com/cb', true, '2026-01-02', '2026-01-02');
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"redirect_uri.created","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000e1","data":{"id":"00000000-0000-4000-8000-0000000000e1","client_id":"00000000-0000-4000-8000-0000000000c1","value":"https://shop.example.com/cb","enabled":true,"created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-02T00:00:00Z","kind":"login"}}

-- transaction: a redirect URI is disabled
UPDATE redirect_uris SET enabled = false, updated_at = '2026-01-03';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"redirect_uri.updated","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000e1","data":{"id":"00000000-0000-4000-8000-0000000000e1","client_id":"00000000-0000-4000-8000-0000000000c1","value":"https://shop.example.com/cb","enabled":false,"created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-03T00:00:00Z","kind":"login"}}

-- transaction: maintenance begins
UPDATE clients SET maintenance_enabled = true, maintenance_reason = 'upgrade', maintenance_session_strategy = 'expire', updated_at = '2026-01-05' WHERE id = '00000000-0000-4000-8000-0000000000c1';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"client.maintenance.enabled","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000c1","data":{"id":"00000000-0000-4000-8000-0000000000c1","enabled":true,"client_id":"shop","realm_id":"00000000-0000-4000-8000-000000000001","protocol":"openid-connect","public_client":false,"service_account_enabled":false,"direct_access_grants_enabled":false,"oauth_device_code_grant_enabled":false,"require_pkce":false,"client_type":"confidential","name":"Shop","redirect_uris":[{"id":"00000000-0000-4000-8000-0000000000e1","client_id":"00000000-0000-4000-8000-0000000000c1","value":"https://shop.example.com/cb","enabled":false,"created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-03T00:00:00Z","kind":"login"}],"access_token_lifetime":null,"refresh_token_lifetime":null,"id_token_lifetime":null,"temporary_token_lifetime":null,"maintenance_enabled":true,"maintenance_reason":"upgrade","maintenance_session_strategy":"expire","created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-05T00:00:00Z"}}

-- transaction: maintenance ends
UPDATE clients SET maintenance_enabled = false, maintenance_reason = NULL, maintenance_session_strategy = NULL, updated_at = '2026-01-06' WHERE id = '00000000-0000-4000-8000-0000000000c1';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"client.maintenance.disabled","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000c1","data":{"id":"00000000-0000-4000-8000-0000000000c1","enabled":true,"client_id":"shop","realm_id":"00000000-0000-4000-8000-000000000001","protocol":"openid-connect","public_client":false,"service_account_enabled":false,"direct_access_grants_enabled":false,"oauth_device_code_grant_enabled":false,"require_pkce":false,"client_type":"confidential","name":"Shop","redirect_uris":[{"id":"00000000-0000-4000-8000-0000000000e1","client_id":"00000000-0000-4000-8000-0000000000c1","value":"https://shop.example.com/cb","enabled":false,"created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-03T00:00:00Z","kind":"login"}],"access_token_lifetime":null,"refresh_token_lifetime":null,"id_token_lifetime":null,"temporary_token_lifetime":null,"maintenance_enabled":false,"maintenance_reason":null,"maintenance_session_strategy":"expire","created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-06T00:00:00Z"}}

-- transaction: a redirect URI is deleted
DELETE FROM redirect_uris;
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"redirect_uri.deleted","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000e1","data":"00000000-0000-4000-8000-0000000000e1"}

-- transaction: a post-logout redirect URI is added
INSERT INTO post_logout_redirect_uris VALUES ('00000000-0000-4000-8000-0000000000e2', '00000000-0000-4000-8000-0000000000c1', 'https://shop.example.com/bye', true, '2026-01-02', '2026-01-02');
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"redirect_uri.created","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000e2","data":{"id":"00000000-0000-4000-8000-0000000000e2","client_id":"00000000-0000-4000-8000-0000000000c1","value":"https://shop.example.com/bye","enabled":true,"created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-02T00:00:00Z","kind":"post_logout"}}

-- transaction: a web origin is added
INSERT INTO client_web_origins VALUES ('00000000-0000-4000-8000-0000000000e3', '00000000-0000-4000-8000-0000000000c1', 'https://shop.example.com', '2026-01-02', '2026-01-02');
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"web_origin.created","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000e3","data":{"id":"00000000-0000-4000-8000-0000000000e3","client_id":"00000000-0000-4000-8000-0000000000c1","value":"https://shop.example.com","created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-02T00:00:00Z"}}

-- transaction: a web origin is deleted
DELETE FROM client_web_origins;
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"web_origin.deleted","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000e3","data":"00000000-0000-4000-8000-0000000000e3"}

-- transaction: a client role is created
INSERT INTO roles (id, name, realm_id, client_id, created_at, updated_at) VALUES ('00000000-0000-4000-8000-0000000000d2', 'buyer', '00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-0000000000c1', '2026-01-02', '2026-01-02');
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"client.role.created","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000d2","data":{"id":"00000000-0000-4000-8000-0000000000d2","name":"buyer","description":null,"permissions":[],"realm_id":"00000000-0000-4000-8000-000000000001","client_id":"00000000-0000-4000-8000-0000000000c1","client":{"id":"00000000-0000-4000-8000-0000000000c1","enabled":true,"client_id":"shop","realm_id":"00000000-0000-4000-8000-000000000001","protocol":"openid-connect","public_client":false,"service_account_enabled":false,"direct_access_grants_enabled":false,"oauth_device_code_grant_enabled":false,"require_pkce":false,"client_type":"confidential","name":"Shop","redirect_uris":null,"access_token_lifetime":null,"refresh_token_lifetime":null,"id_token_lifetime":null,"temporary_token_lifetime":null,"maintenance_enabled":false,"maintenance_reason":null,"maintenance_session_strategy":"expire","created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-06T00:00:00Z"},"require_mfa":false,"created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-02T00:00:00Z"}}

-- transaction: a client role is described
UPDATE roles SET description = 'may buy', updated_at = '2026-01-03' WHERE name = 'buyer';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"client.role.updated","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000d2","data":{"id":"00000000-0000-4000-8000-0000000000d2","name":"buyer","description":"may buy","permissions":[],"realm_id":"00000000-0000-4000-8000-000000000001","client_id":"00000000-0000-4000-8000-0000000000c1","client":{"id":"00000000-0000-4000-8000-0000000000c1","enabled":true,"client_id":"shop","realm_id":"00000000-0000-4000-8000-000000000001","protocol":"openid-connect","public_client":false,"service_account_enabled":false,"direct_access_grants_enabled":false,"oauth_device_code_grant_enabled":false,"require_pkce":false,"client_type":"confidential","name":"Shop","redirect_uris":null,"access_token_lifetime":null,"refresh_token_lifetime":null,"id_token_lifetime":null,"temporary_token_lifetime":null,"maintenance_enabled":false,"maintenance_reason":null,"maintenance_session_strategy":"expire","created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-06T00:00:00Z"},"require_mfa":false,"created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-03T00:00:00Z"}}

-- transaction: a client is deleted with all that belongs to it
DELETE FROM clients WHERE id = '00000000-0000-4000-8000-0000000000c1';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"client.deleted","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000c1","data":"00000000-0000-4000-8000-0000000000c1"}
