-- mapping: preset:ferriskey
-- include: ../../../../integration/ferriskey/schema.sql
-- include: realm.inc.sql

-- transaction: a role is created
INSERT INTO roles (id, name, permissions, realm_id, created_at, updated_at) VALUES ('00000000-0000-4000-8000-0000000000d2', 'manager', 96, '00000000-0000-4000-8000-000000000001', '2026-01-02', '2026-01-02');
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"role.created","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000d2","data":{"id":"00000000-0000-4000-8000-0000000000d2","name":"manager","description":null,"permissions":["manage_realm","manage_users"],"realm_id":"00000000-0000-4000-8000-000000000001","client_id":null,"client":null,"require_mfa":false,"created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-02T00:00:00Z"}}

-- transaction: a role is described
UPDATE roles SET description = 'manages', updated_at = '2026-01-03' WHERE name = 'manager';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"role.updated","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000d2","data":{"id":"00000000-0000-4000-8000-0000000000d2","name":"manager","description":"manages","permissions":["manage_realm","manage_users"],"realm_id":"00000000-0000-4000-8000-000000000001","client_id":null,"client":null,"require_mfa":false,"created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-03T00:00:00Z"}}

-- transaction: its permissions change
UPDATE roles SET permissions = 64, updated_at = '2026-01-04' WHERE name = 'manager';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"role.permission.updated","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000d2","data":{"id":"00000000-0000-4000-8000-0000000000d2","name":"manager","description":"manages","permissions":["manage_users"],"realm_id":"00000000-0000-4000-8000-000000000001","client_id":null,"client":null,"require_mfa":false,"created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-04T00:00:00Z"}}

-- transaction: a role is deleted with its assignments
DELETE FROM roles WHERE id = '00000000-0000-4000-8000-0000000000d1';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"role.deleted","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000d1","data":{"id":"00000000-0000-4000-8000-0000000000d1","name":"auditor","description":null,"permissions":["view_authorization"],"realm_id":"00000000-0000-4000-8000-000000000001","client_id":null,"client":null,"require_mfa":false,"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z"}}
