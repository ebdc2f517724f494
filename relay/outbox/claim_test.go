package outbox

import (
	"fmt"
	"testing"
)

// A tenant with few due retries gets them claimed at the first poll, however many others are due, and a webhook with thousands does not
// starve another of its tenant.
func TestClaimDue_SharesFairly(t *testing.T) {
	t.Parallel()
	ctx, store, conn := openStore(t)
	member, err := store.Join(ctx, "test")
	if err != nil {
		t.Fatal(err)
	}
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(ctx, sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`SET search_path = iam_relay`)
	webhook := func(from, to int, tenant string) {
		exec(`INSERT INTO webhook (id, origin, key, tenant, name, description, url, headers, secrets, events, enabled)
			SELECT n, 'config', 'w' || n, $3, '', '', 'https://a.example.com', '{}', '{}', '{*}', true FROM generate_series($1::int, $2::int) AS n`, from, to, tenant)
	}
	retries := func(from, to, each int, ago string) {
		exec(`INSERT INTO retry (event, webhook, attempts, due, class, status)
			SELECT e, w, 1, now() - $4::interval, 'http_5xx', 500 FROM generate_series($1::int, $2::int) AS w, generate_series(1, $3::int) AS e`, from, to, each, ago)
	}
	webhook(1, 1, "a") // one with thousands
	retries(1, 1, 5000, "2 hours")
	webhook(2, 1000, "a") // thousands of its tenant with a few each
	retries(2, 1000, 5, "1 hour")
	webhook(1001, 1001, "b")
	retries(1001, 1001, 1, "0 seconds")
	webhook(1002, 1002, "dead")
	exec(`INSERT INTO retry (event, webhook, attempts, due, class, status) VALUES (1, 1002, 1, 'infinity', 'http_5xx', 500), (2, 1002, 1, now() + interval '1 hour', 'http_5xx', 500)`)

	claim := Claim{Leads: true, Limit: 64, PerWebhook: 8, Bytes: 1 << 20, Except: []int64{}}
	due, err := member.ClaimDue(ctx, claim)
	if err != nil {
		t.Fatal(err)
	}
	of := map[int64]int{}
	for i := range due {
		of[due[i].Webhook]++
	}
	if len(due) != 64 || of[1001] != 1 || of[1002] != 0 || len(of) != 64 {
		t.Errorf("%d claimed of %d webhooks; of the one with a single delivery: %d", len(due), len(of), of[1001])
	}
	// Where few webhooks are due, one gets several at a time, but never more than its share.
	exec(`DELETE FROM retry WHERE webhook > 1 AND webhook < 1001`)
	exec(`UPDATE retry SET lease = NULL`)
	if due, err = member.ClaimDue(ctx, claim); err != nil || len(due) != 9 {
		t.Errorf("%d claimed, not 8 and 1: %v", len(due), err)
	}
	claim.Except = []int64{1}
	exec(`UPDATE retry SET lease = NULL`)
	if due, err = member.ClaimDue(ctx, claim); err != nil || len(due) != 1 || due[0].Webhook != 1001 {
		t.Errorf("%d claimed of others than the one with thousands: %v", len(due), err)
	}
}

// The total size of bodies is bounded, except that a single larger one is claimed.
func TestClaimDue_BoundsBytes(t *testing.T) {
	t.Parallel()
	ctx, store, conn := openStore(t)
	member, err := store.Join(ctx, "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		`SET search_path = iam_relay`,
		`CREATE TABLE event_all PARTITION OF event DEFAULT`,
		`INSERT INTO webhook (id, origin, key, tenant, name, description, url, headers, secrets, events, enabled)
			VALUES (1, 'config', 'a', '*', '', '', 'https://a.example.com', '{}', '{}', '{*}', true)`,
		`INSERT INTO event (id, day, webhook_id, name, resource, occurred, lsn, ordinal, body, webhooks)
			SELECT n, current_date, 'evt_' || n, 'a', 'r', now(), '0/1', n, convert_to(repeat('x', 1000), 'UTF8'), '{1}' FROM generate_series(1, 8) AS n`,
		`INSERT INTO retry (event, webhook, attempts, due, class, status) SELECT n, 1, 1, now(), 'http_5xx', 500 FROM generate_series(1, 8) AS n`,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for bytes, want := range map[int]int{1: 1, 2500: 3, 100000: 8} {
		due, err := member.ClaimDue(ctx, Claim{Leads: true, Limit: 64, PerWebhook: 8, Bytes: bytes, Except: []int64{}})
		if err != nil || len(due) != want {
			t.Errorf("%d bytes: %d claimed, not %d: %v", bytes, len(due), want, err)
		}
		if _, err := conn.Exec(ctx, `UPDATE retry SET lease = NULL`); err != nil {
			t.Fatal(err)
		}
	}
	withoutBody := []int64{2, 3}
	for bytes, want := range map[int]int{1: 1, 1500: 4, 100000: 8} {
		events, through, err := store.ReadEvents(ctx, Read{Webhook: 1, After: 0, Through: 8, Limit: 250, Bytes: bytes, WithoutBody: withoutBody})
		if err != nil || len(events) != want || through != int64(want) {
			t.Errorf("%d bytes: %d events were read, through %d: %v", bytes, len(events), through, err)
		}
		for i := range events {
			if got := fmt.Sprint(len(events[i].Body)); (got == "0") != (events[i].ID == 2 || events[i].ID == 3) {
				t.Errorf("event %d has a body of %s bytes", events[i].ID, got)
			}
		}
	}
	// Bodies that are not sent are not read either, and count next to nothing.
	if _, err := conn.Exec(ctx, `UPDATE event SET body = NULL WHERE id = 4`); err != nil {
		t.Fatal(err)
	}
	events, _, err := store.ReadEvents(ctx, Read{Webhook: 1, After: 2, Through: 5, Limit: 250, Bytes: 1000, WithoutBody: withoutBody, MaxBody: 500})
	if err != nil || len(events) != 3 {
		t.Fatalf("%d events were read: %v", len(events), err)
	}
	for i, length := range []int64{1000, 0, 1000} {
		if e := &events[i]; e.Body != nil || e.Length != length {
			t.Errorf("event %d has a body of %d bytes and the length %d", e.ID, len(e.Body), e.Length)
		}
	}
}

// Large values are compressed with LZ4 if the server supports it.
func TestStore_CompressesWithLZ4(t *testing.T) {
	t.Parallel()
	ctx, store, _ := openStore(t)
	var setting, want string
	if err := store.pool.QueryRow(ctx, `SELECT setting, CASE WHEN 'lz4' = ANY (enumvals) THEN 'lz4' ELSE 'pglz' END FROM pg_settings
		WHERE name = 'default_toast_compression'`).Scan(&setting, &want); err != nil {
		t.Fatal(err)
	}
	if setting != want {
		t.Errorf("default_toast_compression is %s, want %s", setting, want)
	}
}
