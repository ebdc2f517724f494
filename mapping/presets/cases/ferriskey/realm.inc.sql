INSERT INTO realms VALUES ('00000000-0000-4000-8000-000000000001', 'acme', '2026-01-01', '2026-01-01', 'Acme');
INSERT INTO realm_settings (id, realm_id, default_signing_algorithm, updated_at)
VALUES ('00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-000000000001', 'RS256', '2026-01-01');
INSERT INTO clients (id, realm_id, name, client_id, secret, protocol, client_type, created_at, updated_at)
VALUES ('00000000-0000-4000-8000-0000000000c1', '00000000-0000-4000-8000-000000000001', 'Shop', 'shop', 'never-sent', 'openid-connect', 'confidential', '2026-01-01', '2026-01-01');
INSERT INTO users (id, realm_id, username, firstname, lastname, email, created_at, updated_at)
VALUES ('00000000-0000-4000-8000-0000000000a1', '00000000-0000-4000-8000-000000000001', 'mia', 'Mia', 'Moss', 'mia@example.com', '2026-01-01', '2026-01-01');
INSERT INTO roles (id, name, permissions, realm_id, created_at, updated_at)
VALUES ('00000000-0000-4000-8000-0000000000d1', 'auditor', 4096, '00000000-0000-4000-8000-000000000001', '2026-01-01', '2026-01-01');
