package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/receiver"
)

// neighbour is what goes on in another realm while the latency of a healthy one is measured.
type neighbour struct {
	name     string
	webhooks int                 // of the other realm, from before the relay starts
	answer   receiver.LeanAnswer // of those webhooks
	everyone bool                // the healthy webhook hears the other realm as well
	trigger  string              // a transaction of the other realm; $1 is the URL of its webhooks
}

const otherRealm = "0198c0de-0000-7000-8000-0000000000b2"

const largeRoles = `INSERT INTO roles (id, realm_id, name, description)
	SELECT gen_random_uuid(), '` + otherRealm + `', 'role' || i, repeat(md5(i::text), %d) FROM generate_series(1, %d) AS i WHERE $1::text <> ''`

const manyWebhooks = `WITH hooks AS (
		INSERT INTO webhooks (id, realm_id, endpoint, name, secret, created_at, updated_at)
		SELECT gen_random_uuid(), '` + otherRealm + `', $1::text || i, 'hook', md5('secret' || i), now(), now() FROM generate_series(1, %d) AS i RETURNING id
	) INSERT INTO webhook_subscribers (id, name, webhook_id) SELECT gen_random_uuid(), 'role.created', id FROM hooks`

// fairness measures a healthy realm's latency alone, and beside neighbours that take all they can get.
func (w *world) fairness(length time.Duration) error {
	for _, n := range []neighbour{
		{name: "a healthy realm alone", trigger: `SELECT $1::text`},
		{name: "beside 1,000 webhooks that hang", webhooks: 1000, answer: receiver.LeanAnswer{Hang: true}, trigger: fmt.Sprintf(largeRoles, 1, 20)},
		{name: "beside 40 oversized events", everyone: true, trigger: fmt.Sprintf(largeRoles, 10000, 40)},
		{name: "beside 5,000 new webhooks", trigger: fmt.Sprintf(manyWebhooks, 5000)},
		{name: "beside 100 webhooks behind 160 events of 200 kB", webhooks: 100, answer: receiver.LeanAnswer{Delay: 50 * time.Millisecond}, trigger: fmt.Sprintf(largeRoles, 6250, 160)},
	} {
		if err := w.beside(&n, length); err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
	}
	return nil
}

func (w *world) beside(n *neighbour, length time.Duration) error {
	conn, url, err := w.database()
	if err != nil {
		return err
	}
	defer conn.Close(w.ctx)
	target, err := receiver.Start(receiver.Options{})
	if err != nil {
		return err
	}
	defer target.Close() //nolint:errcheck // a listener of the benchmark's own
	lean, err := receiver.StartLean(n.answer)
	if err != nil {
		return err
	}
	defer lean.Close() //nolint:errcheck // a listener of the benchmark's own
	if _, err := conn.Exec(w.ctx, `INSERT INTO realms (id, name, created_at, updated_at) VALUES ($1, 'other', now(), now())`, otherRealm); err != nil {
		return err
	}
	if n.webhooks > 0 {
		if _, err := conn.Exec(w.ctx, fmt.Sprintf(manyWebhooks, n.webhooks), lean.URL()); err != nil {
			return err
		}
	}
	config := hook("bench", target.URL("/"))
	if !n.everyone {
		config += "tenant = \"acme\"\n"
	}
	relay, err := start(w.ctx, w.dir, w.binary, url, w.slot(), config)
	if err != nil {
		return err
	}
	latencies, err := w.latencies(conn, target, length, func() error {
		_, err := conn.Exec(w.ctx, n.trigger, lean.URL())
		return err
	})
	if err != nil {
		return err
	}
	_, peak, _, err := relay.usage()
	if err != nil {
		return err
	}
	w.row(n.name, "commit to arrival, p50", quantile(latencies, 0.50), "")
	w.row("", "commit to arrival, p99", quantile(latencies, 0.99), "10 times that alone, under 2 s")
	w.row("", "resident memory at its peak", fmt.Sprintf("%.1f MB", float64(peak)/1e6), "under 150 MB")
	return relay.kill() // what hangs is not waited for
}

// latencies commits 50 transactions a second in the healthy realm, begins what its neighbour does after the first, and returns
// the times from commit to arrival in their order.
func (w *world) latencies(conn *pgx.Conn, target *receiver.Receiver, length time.Duration, trigger func() error) ([]time.Duration, error) {
	committed := map[string]time.Time{}
	arrivals := func(s *receiver.Snapshot) (latencies []time.Duration) {
		for i := range s.Deliveries {
			if at, ok := committed[s.Deliveries[i].Resource]; ok {
				latencies = append(latencies, max(s.Deliveries[i].At.Sub(at), 0))
			}
		}
		return latencies
	}
	wait := func() ([]time.Duration, error) {
		ctx, cancel := context.WithTimeout(w.ctx, 5*time.Minute)
		defer cancel()
		s, err := target.Wait(ctx, func(s *receiver.Snapshot) bool {
			return s.Distinct >= len(committed) && len(arrivals(s)) >= len(committed)
		})
		return arrivals(&s), err
	}
	commit := func(i int) error {
		var id string
		if err := conn.QueryRow(w.ctx, insertUser+" RETURNING id::text", i).Scan(&id); err != nil {
			return err
		}
		committed[id] = time.Now()
		return nil
	}
	if err := commit(0); err != nil {
		return nil, err
	}
	if _, err := wait(); err != nil {
		return nil, err
	}
	if err := trigger(); err != nil {
		return nil, err
	}
	clear(committed)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := range int(length / (20 * time.Millisecond)) {
		<-tick.C
		if err := commit(1 + i); err != nil {
			return nil, err
		}
	}
	latencies, err := wait()
	slices.Sort(latencies)
	return latencies, err
}

func quantile(sorted []time.Duration, q float64) string {
	return fmt.Sprintf("%.2f ms", float64(sorted[int(q*float64(len(sorted)-1))].Microseconds())/1000)
}
