-- mapping: preset:ferriskey
-- include: ../../../../integration/ferriskey/schema.sql
-- include: realm.inc.sql

-- transaction: a webhook is created with its subscriptions
INSERT INTO webhooks (id, realm_id, endpoint, name, secret, created_at, updated_at) VALUES ('00000000-0000-4000-8000-0000000000e1', '00000000-0000-4000-8000-000000000001', 'https://crm.example.com/hook', 'crm', 'never-sent', '2026-01-02', '2026-01-02');
INSERT INTO webhook_subscribers VALUES ('00000000-0000-4000-8000-0000000000e2', 'user.created', '00000000-0000-4000-8000-0000000000e1');
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"webhook.created","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000e1","data":{"id":"00000000-0000-4000-8000-0000000000e1","endpoint":"https://crm.example.com/hook","name":"crm","description":null,"subscribers":[{"id":"00000000-0000-4000-8000-0000000000e2","name":"user.created","webhook_id":"00000000-0000-4000-8000-0000000000e1"}],"triggered_at":null,"updated_at":"2026-01-02T00:00:00Z","created_at":"2026-01-02T00:00:00Z"}}

-- transaction: a delivery is noted
UPDATE webhooks SET triggered_at = '2026-01-03', last_delivery_status = 'success';

-- transaction: a webhook is renamed
UPDATE webhooks SET name = 'erp', updated_at = '2026-01-04';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"webhook.updated","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000e1","data":{"id":"00000000-0000-4000-8000-0000000000e1","endpoint":"https://crm.example.com/hook","name":"erp","description":null,"subscribers":[{"id":"00000000-0000-4000-8000-0000000000e2","name":"user.created","webhook_id":"00000000-0000-4000-8000-0000000000e1"}],"triggered_at":"2026-01-03T00:00:00Z","updated_at":"2026-01-04T00:00:00Z","created_at":"2026-01-02T00:00:00Z"}}

-- transaction: a webhook is deleted
DELETE FROM webhooks;
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"webhook.deleted","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000e1","data":{"id":"00000000-0000-4000-8000-0000000000e1","endpoint":"https://crm.example.com/hook","name":"erp","description":null,"subscribers":[{"id":"00000000-0000-4000-8000-0000000000e2","name":"user.created","webhook_id":"00000000-0000-4000-8000-0000000000e1"}],"triggered_at":"2026-01-03T00:00:00Z","updated_at":"2026-01-04T00:00:00Z","created_at":"2026-01-02T00:00:00Z"}}
