package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/receiver"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// hook is a [[webhook]] of a configuration.
func hook(name, url string) string {
	return fmt.Sprintf("\n[[webhook]]\nname = %q\nurl = %q\nsecret = %q\n", name, url, secret)
}

// insertMany commits n transactions of one user each, or one transaction of n.
func (w *world) insertMany(conn *pgx.Conn, from, n int, together bool) error {
	if together {
		_, err := conn.Exec(w.ctx, `INSERT INTO users (id, realm_id, username, firstname, lastname, email, created_at, updated_at)
			SELECT gen_random_uuid(), '`+realm+`', 'user' || i, 'First', 'Last', 'user' || i || '@example.com', now(), now()
			FROM generate_series($1::int, $2::int) AS i`, from, from+n-1)
		return err
	}
	for at := 0; at < n; at += 1000 {
		batch := &pgx.Batch{}
		for i := range min(1000, n-at) {
			// Each its own transaction: without BEGIN a batch would be one.
			batch.Queue("BEGIN")
			batch.Queue(insertUser, from+at+i)
			batch.Queue("COMMIT")
		}
		if err := conn.SendBatch(w.ctx, batch).Close(); err != nil {
			return err
		}
	}
	return nil
}

// withBacklog starts a relay that finds n transactions waiting in its slot.
func (w *world) withBacklog(conn *pgx.Conn, url, config string, n int) (*process, error) {
	relay, err := start(w.ctx, w.dir, w.binary, url, w.slot(), config)
	if err != nil {
		return nil, err
	}
	if err := relay.kill(); err != nil {
		return nil, err
	}
	if err := w.insertMany(conn, 0, n, false); err != nil {
		return nil, err
	}
	return start(w.ctx, w.dir, w.binary, url, w.slot(), config)
}

// slow measures an endpoint that takes 50 ms for each request, at the default limits.
func (w *world) slow(n int) error {
	conn, url, err := w.database()
	if err != nil {
		return err
	}
	defer conn.Close(w.ctx)
	lean, err := receiver.StartLean(receiver.LeanAnswer{Delay: 50 * time.Millisecond})
	if err != nil {
		return err
	}
	defer lean.Close() //nolint:errcheck // a listener of the benchmark's own
	relay, err := w.withBacklog(conn, url, hook("slow", lean.URL()), n)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := w.wait(lean, int64(n), 5*time.Minute); err != nil {
		return err
	}
	w.row("an endpoint that takes 50 ms", "into the receiver", fmt.Sprintf("%.0f events/s", float64(n)/time.Since(began).Seconds()), "at least 1,000/s")
	return relay.stop()
}

// mixed measures a healthy endpoint alone, and beside four sick ones.
func (w *world) mixed(n int) error {
	sick := map[string]receiver.LeanAnswer{"hangs": {Hang: true}, "fails": {Status: 500}, "crawls": {Delay: 2 * time.Second}}
	var rates [2]float64
	for i := range rates {
		err := func() error {
			conn, url, err := w.database()
			if err != nil {
				return err
			}
			defer conn.Close(w.ctx)
			healthy, err := receiver.StartLean(receiver.LeanAnswer{})
			if err != nil {
				return err
			}
			defer healthy.Close() //nolint:errcheck // a listener of the benchmark's own
			config := []string{hook("healthy", healthy.URL())}
			if i == 1 {
				for name, answer := range sick {
					lean, err := receiver.StartLean(answer)
					if err != nil {
						return err
					}
					defer lean.Close() //nolint:errcheck // a listener of the benchmark's own
					config = append(config, hook(name, lean.URL()))
				}
				config = append(config, hook("refuses", "http://127.0.0.1:9/"))
			}
			relay, err := w.withBacklog(conn, url, strings.Join(config, ""), n)
			if err != nil {
				return err
			}
			began := time.Now()
			if err := w.wait(healthy, int64(n), 5*time.Minute); err != nil {
				return err
			}
			rates[i] = float64(n) / time.Since(began).Seconds()
			return relay.kill() // what hangs is not waited for
		}()
		if err != nil {
			return err
		}
	}
	w.row("a healthy endpoint", "alone", fmt.Sprintf("%.0f events/s", rates[0]), "")
	w.row("", "beside four sick ones", fmt.Sprintf("%.0f events/s", rates[1]), "")
	w.row("", "share", fmt.Sprintf("%.0f %%", 100*rates[1]/rates[0]), "at least 90 %")
	return nil
}

// relays measures how sending grows with the relays, where endpoints and not the processor are the bottleneck: twelve of
// them, which take 100 ms each, and relays that make 32 requests at a time.
func (w *world) relays(n int) error {
	for relays := 1; relays <= 3; relays++ {
		conn, url, err := w.database()
		if err != nil {
			return err
		}
		lean, err := receiver.StartLean(receiver.LeanAnswer{Delay: 100 * time.Millisecond})
		if err != nil {
			return err
		}
		var config []string
		for i := range 12 {
			config = append(config, hook(fmt.Sprintf("slow %d", i), lean.URL()))
		}
		var running []*process
		for range relays {
			p, err := startWith(w.ctx, w.dir, w.binary, url, w.slot(), strings.Join(config, ""), "senders = 32\nqueue = 100\n", len(running) == 0)
			if err != nil {
				return err
			}
			running = append(running, p)
		}
		if err := w.insertMany(conn, 0, n, true); err != nil {
			return err
		}
		if err := w.spread(conn, relays); err != nil {
			return err
		}
		before := lean.Count()
		const window = 8 * time.Second
		<-time.After(window)
		rate := float64(lean.Count()-before) / window.Seconds()
		what := ""
		if relays == 1 {
			what = "12 webhooks that take 100 ms, 32 requests at a time for each relay"
		}
		w.row(what, fmt.Sprintf("%d relays", relays), fmt.Sprintf("%.0f events/s", rate), fmt.Sprintf("at most %d/s", relays*320))
		for _, p := range running {
			if err := p.kill(); err != nil {
				return err
			}
		}
		lean.Close() //nolint:errcheck,gosec // a listener of the benchmark's own
		conn.Close(w.ctx)
	}
	return nil
}

// spread waits until each of the relays serves its share of the twelve webhooks.
func (w *world) spread(conn *pgx.Conn, relays int) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 600 {
		<-tick.C
		var even bool
		if err := conn.QueryRow(w.ctx, `SELECT count(*) = $1 AND min(n) = 12 / $1 FROM (SELECT count(*) AS n FROM iam_relay.webhook
			WHERE lease IS NOT NULL GROUP BY lease) AS of`, relays).Scan(&even); err != nil || even {
			return err
		}
	}
	return errors.New("the webhooks were not spread over the relays within a minute")
}

// tenants measures a thousand webhooks in a thousand realms, from the IAM's own tables.
func (w *world) tenants(realms, n int) error {
	conn, url, err := w.database()
	if err != nil {
		return err
	}
	defer conn.Close(w.ctx)
	lean, err := receiver.StartLean(receiver.LeanAnswer{})
	if err != nil {
		return err
	}
	defer lean.Close() //nolint:errcheck // a listener of the benchmark's own
	for _, sql := range []string{
		`INSERT INTO realms (id, name, created_at, updated_at) SELECT md5('realm' || i)::uuid, 'realm' || i, now(), now() FROM generate_series(1, $1::int) AS i`,
		`INSERT INTO webhooks (id, realm_id, endpoint, name, secret, created_at, updated_at)
			SELECT md5('hook' || i)::uuid, md5('realm' || i)::uuid, '` + lean.URL() + `', 'hook', md5('secret' || i), now(), now() FROM generate_series(1, $1::int) AS i`,
		`INSERT INTO webhook_subscribers (id, name, webhook_id) SELECT gen_random_uuid(), 'user.created', md5('hook' || i)::uuid FROM generate_series(1, $1::int) AS i`,
	} {
		if _, err := conn.Exec(w.ctx, sql, realms); err != nil {
			return err
		}
	}
	relay, err := start(w.ctx, w.dir, w.binary, url, w.slot(), "")
	if err != nil {
		return err
	}
	began := time.Now()
	for at := 0; at < n; at += 1000 {
		batch := &pgx.Batch{}
		for i := range min(1000, n-at) {
			batch.Queue("BEGIN")
			batch.Queue(`INSERT INTO users (id, realm_id, username, email, created_at, updated_at)
				VALUES (gen_random_uuid(), md5('realm' || $1::int)::uuid, 'user' || $2::int, 'user' || $2::int || '@example.com', now(), now())`, (at+i)%realms+1, at+i)
			batch.Queue("COMMIT")
		}
		if err := conn.SendBatch(w.ctx, batch).Close(); err != nil {
			return err
		}
	}
	if err := w.wait(lean, int64(n), 5*time.Minute); err != nil {
		return err
	}
	w.row(fmt.Sprintf("%d webhooks in as many realms", realms), "into the receiver", fmt.Sprintf("%.0f events/s", float64(n)/time.Since(began).Seconds()), "")
	return relay.stop()
}

// ingestAlone is how many bytes of log an event costs that nobody gets.
func (w *world) ingestAlone(n int) (float64, error) {
	conn, url, err := w.database()
	if err != nil {
		return 0, err
	}
	defer conn.Close(w.ctx)
	relay, err := start(w.ctx, w.dir, w.binary, url, w.slot(), "")
	if err != nil {
		return 0, err
	}
	if err := relay.stop(); err != nil {
		return 0, err
	}
	if err := w.insertMany(conn, 0, n, false); err != nil {
		return 0, err
	}
	before, _, err := w.storage(conn)
	if err != nil {
		return 0, err
	}
	if relay, err = start(w.ctx, w.dir, w.binary, url, w.slot(), ""); err != nil {
		return 0, err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for events := 0; events < n; <-tick.C {
		if err := conn.QueryRow(w.ctx, `SELECT last_event FROM iam_relay.position`).Scan(&events); err != nil {
			return 0, err
		}
	}
	if err := relay.stop(); err != nil {
		return 0, err
	}
	after, _, err := w.storage(conn)
	return float64(after-before) / float64(n), err
}

// storage is what the relay has written: bytes of log, and dead rows of its tables.
func (w *world) storage(conn *pgx.Conn) (wal, dead int64, err error) {
	if _, err := conn.Exec(w.ctx, `SELECT pg_stat_clear_snapshot()`); err != nil {
		return 0, 0, err
	}
	err = conn.QueryRow(w.ctx, `SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint,
		coalesce((SELECT sum(n_dead_tup) FROM pg_stat_user_tables WHERE schemaname = 'iam_relay'), 0)::bigint`).Scan(&wal, &dead)
	return wal, dead, err
}
