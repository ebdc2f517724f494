-- mapping: preset:ferriskey
-- include: ../../../../integration/ferriskey/schema.sql
-- include: realm.inc.sql

-- transaction: a device asks for authorization
INSERT INTO device_auth_sessions (device_code, user_code, client_id, realm_id, expires_at) VALUES ('00000000-0000-4000-8000-0000000000e1', 'ABCD-EFGH', '00000000-0000-4000-8000-0000000000c1', '00000000-0000-4000-8000-000000000001', '2030-01-01');
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"auth.device_flow.initiated","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000c1","data":{"session_id":"a10f8ab7-2dd3-9038-c280-2386f3958cd3","realm_id":"00000000-0000-4000-8000-000000000001","client_id":"00000000-0000-4000-8000-0000000000c1","status":"pending","device_code":"a10f8ab72dd39038c2802386f3958cd379c7e38f1fc6f078e19c6fe222a91350","user_id":null}}

-- transaction: it polls
UPDATE device_auth_sessions SET last_polled_at = '2026-01-03';

-- transaction: the user denies it
UPDATE device_auth_sessions SET status = 'denied', user_id = '00000000-0000-4000-8000-0000000000a1';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"auth.device_flow.denied","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000c1","data":{"session_id":"a10f8ab7-2dd3-9038-c280-2386f3958cd3","realm_id":"00000000-0000-4000-8000-000000000001","client_id":"00000000-0000-4000-8000-0000000000c1","status":"denied","device_code":"a10f8ab72dd39038c2802386f3958cd379c7e38f1fc6f078e19c6fe222a91350","user_id":"00000000-0000-4000-8000-0000000000a1"}}

-- transaction: another device asks
INSERT INTO device_auth_sessions (device_code, user_code, client_id, realm_id, expires_at) VALUES ('00000000-0000-4000-8000-0000000000e2', 'IJKL-MNOP', '00000000-0000-4000-8000-0000000000c1', '00000000-0000-4000-8000-000000000001', '2030-01-01');
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"auth.device_flow.initiated","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000c1","data":{"session_id":"b4cc2941-8cb9-0db3-412f-2db2fe187975","realm_id":"00000000-0000-4000-8000-000000000001","client_id":"00000000-0000-4000-8000-0000000000c1","status":"pending","device_code":"b4cc29418cb90db3412f2db2fe187975a186ccdd09643452870fa49c36766478","user_id":null}}

-- transaction: its code expires
UPDATE device_auth_sessions SET status = 'expired' WHERE user_code = 'IJKL-MNOP';
-- event tenant=00000000-0000-4000-8000-000000000001: {"event":"auth.device_flow.expired","timestamp":"COMMIT","resource_id":"00000000-0000-4000-8000-0000000000c1","data":{"session_id":"b4cc2941-8cb9-0db3-412f-2db2fe187975","realm_id":"00000000-0000-4000-8000-000000000001","client_id":"00000000-0000-4000-8000-0000000000c1","status":"expired","device_code":"b4cc29418cb90db3412f2db2fe187975a186ccdd09643452870fa49c36766478","user_id":null}}
