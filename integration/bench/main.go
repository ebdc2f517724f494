// Command bench measures the relay as its users run it: the real binary, a private PostgreSQL, a receiver on this machine. It
// prints a table; it judges nothing.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/cluster"
	"github.com/iam-relay/iam-relay/integration/ferriskey"
	"github.com/iam-relay/iam-relay/integration/receiver"
)

func main() {
	transactions := flag.Int("transactions", 20000, "one-row transactions waiting in the slot")
	rows := flag.Int("rows", 1000000, "rows of the one large transaction")
	paced := flag.Duration("paced", 20*time.Second, "how long the paced load lasts")
	only := flag.String("only", "", "run only these, of backlog, paced, slow, mixed, relays, tenants, fairness, large")
	flag.Parse()
	if err := bench(*transactions, *rows, *paced, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

const realm = "0198c0de-0000-7000-8000-0000000000a1"

type world struct {
	ctx    context.Context
	dir    string
	binary string
	server *cluster.Cluster
	table  *tabwriter.Writer
	n      int
}

func bench(transactions, rows int, paced time.Duration, only string) error {
	w := &world{ctx: context.Background(), table: tabwriter.NewWriter(os.Stdout, 2, 8, 2, ' ', 0)}
	var err error
	if w.dir, err = os.MkdirTemp("", "iam-relay-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(w.dir)
	w.binary = filepath.Join(w.dir, "iam-relay")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", w.binary, "github.com/iam-relay/iam-relay")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	info, err := os.Stat(w.binary)
	if err != nil {
		return err
	}
	if w.server, err = cluster.Start(w.ctx, cluster.Options{}); err != nil {
		return err
	}
	defer w.server.Close() //nolint:errcheck // a temporary cluster
	w.row("binary", "size", fmt.Sprintf("%.1f MB", float64(info.Size())/1e6), "under 20 MB")
	for _, b := range []struct {
		name string
		run  func() error
	}{
		{"backlog", func() error { return w.backlog(transactions) }},
		{"paced", func() error { return w.paced(paced) }},
		{"slow", func() error { return w.slow(transactions / 2) }},
		{"mixed", func() error { return w.mixed(transactions) }},
		{"relays", func() error { return w.relays(transactions / 4) }},
		{"tenants", func() error { return w.tenants(1000, transactions/2) }},
		{"fairness", func() error { return w.fairness(paced) }},
		{"large", func() error { return w.large(rows) }},
	} {
		if only != "" && !strings.Contains(only, b.name) {
			continue
		}
		if err := b.run(); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	return w.table.Flush()
}

func (w *world) row(what, figure, value, goal string) {
	fmt.Fprintf(w.table, "%s\t%s\t%s\t%s\n", what, figure, value, goal)
	fmt.Fprintf(os.Stderr, "%s: %s %s\n", what, figure, value)
}

// database makes a fresh FerrisKey database with one realm.
func (w *world) database() (*pgx.Conn, string, error) {
	w.n++
	name := fmt.Sprintf("bench%d", w.n)
	if err := w.server.CreateDatabase(w.ctx, name); err != nil {
		return nil, "", err
	}
	conn, err := w.server.Connect(w.ctx, name)
	if err != nil {
		return nil, "", err
	}
	if err := ferriskey.Create(w.ctx, conn, "public"); err != nil {
		return nil, "", err
	}
	_, err = conn.Exec(w.ctx, `INSERT INTO realms (id, name, created_at, updated_at) VALUES ($1, 'acme', now(), now())`, realm)
	return conn, w.server.SocketURL(name), err
}

// slot is of the database made last: slots have one name space for the whole server.
func (w *world) slot() string { return fmt.Sprintf("bench%d", w.n) }

const insertUser = `INSERT INTO users (id, realm_id, username, firstname, lastname, email, created_at, updated_at)
	VALUES (gen_random_uuid(), '` + realm + `', 'user' || $1::int, 'First', 'Last', 'user' || $1::int || '@example.com', now(), now())`

// backlog lets transactions wait in the slot and measures how fast they reach the receiver.
func (w *world) backlog(n int) error {
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
	config := hook("bench", lean.URL())
	relay, err := start(w.ctx, w.dir, w.binary, url, w.slot(), config)
	if err != nil {
		return err
	}
	if err := relay.stop(); err != nil {
		return err
	}
	if err := w.insertMany(conn, 0, n, false); err != nil {
		return err
	}
	wal, dead, err := w.storage(conn)
	if err != nil {
		return err
	}
	if relay, err = start(w.ctx, w.dir, w.binary, url, w.slot(), config); err != nil {
		return err
	}
	if err := w.wait(lean, 1, time.Minute); err != nil {
		return err
	}
	began, before := time.Now(), lean.Count()
	cpuBefore, serverBefore := cpuOf(relay), children(w.server.PID())
	if err := w.wait(lean, int64(n), 5*time.Minute); err != nil {
		return err
	}
	took := time.Since(began)
	_, peak, _, err := relay.usage()
	if err != nil {
		return err
	}
	rate := float64(int64(n)-before) / took.Seconds()
	cpu, server := cpuOf(relay)-cpuBefore, children(w.server.PID())-serverBefore
	if err := relay.stop(); err != nil {
		return err
	}
	walAfter, deadAfter, err := w.storage(conn)
	if err != nil {
		return err
	}
	w.row(fmt.Sprintf("backlog of %d transactions", n), "into the receiver", fmt.Sprintf("%.0f events/s", rate), "at least 8,000/s")
	w.row("", "relay's processor time", fmt.Sprintf("%.0f µs/event", float64(cpu.Microseconds())/float64(n)), "")
	w.row("", "PostgreSQL's processor time", fmt.Sprintf("%.0f µs/event", float64(server.Microseconds())/float64(n)), "")
	w.row("", "resident memory at its peak", fmt.Sprintf("%.1f MB", float64(peak)/1e6), "")
	ingest, err := w.ingestAlone(n)
	if err != nil {
		return err
	}
	perEvent := float64(walAfter-wal) / float64(n)
	w.row("", "WAL written for event, mirror and delivery", fmt.Sprintf("%.0f B/event", perEvent), "")
	w.row("", "of it for the delivery alone", fmt.Sprintf("%.0f B/event", perEvent-ingest), "a queue of rows: 623 to 4,354 B")
	w.row("", "dead rows", fmt.Sprintf("%.3f/event", float64(deadAfter-dead)/float64(n)), "a queue of rows: 2 to 3")
	return w.compareWithPlainLoops(conn, lean, n, rate)
}

// compareWithPlainLoops measures what loops that only send the same bodies reach.
func (w *world) compareWithPlainLoops(conn *pgx.Conn, lean *receiver.Lean, n int, rate float64) error {
	var body []byte
	if err := conn.QueryRow(w.ctx, `SELECT body FROM iam_relay.event LIMIT 1`).Scan(&body); err != nil {
		return err
	}
	plain, err := w.plainLoop(lean, body, n, 1)
	if err != nil {
		return err
	}
	parallel, err := w.plainLoop(lean, body, n, 16)
	if err != nil {
		return err
	}
	w.row("", "a plain Go loop, same bodies", fmt.Sprintf("%.0f requests/s", plain), "")
	w.row("", "share of the plain loop", fmt.Sprintf("%.0f %%", 100*rate/plain), "at least 25 %")
	w.row("", "sixteen such loops at a time", fmt.Sprintf("%.0f requests/s", parallel), "")
	w.row("", "share of the sixteen", fmt.Sprintf("%.0f %%", 100*rate/parallel), "")
	return nil
}

// wait waits until the receiver has got so many requests in all.
func (w *world) wait(lean *receiver.Lean, requests int64, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(w.ctx, limit)
	defer cancel()
	return lean.Wait(ctx, requests)
}

func cpuOf(p *process) time.Duration {
	_, _, cpu, err := p.usage()
	if err != nil {
		return 0
	}
	return cpu
}

// plainLoop posts the same body as fast as net/http can, without reading a log, an outbox or signatures.
func (w *world) plainLoop(lean *receiver.Lean, body []byte, n, loops int) (float64, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	began, before := time.Now(), lean.Count()
	var next atomic.Int64
	var group sync.WaitGroup
	for range loops {
		group.Go(func() {
			for next.Add(1) <= int64(n) {
				response, err := client.Post(lean.URL(), "application/json", bytes.NewReader(body))
				if err != nil {
					return
				}
				_ = response.Body.Close()
			}
		})
	}
	group.Wait()
	if err := w.wait(lean, before+int64(n), time.Minute); err != nil {
		return 0, err
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// paced commits 200 transactions a second and measures the time from each commit to its arrival; then an idle relay.
func (w *world) paced(length time.Duration) error {
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
	relay, err := start(w.ctx, w.dir, w.binary, url, w.slot(), hook("bench", target.URL("/")))
	if err != nil {
		return err
	}
	committed := map[string]time.Time{}
	n := int(length.Seconds() * 200)
	tick := time.NewTicker(5 * time.Millisecond)
	for i := range n {
		<-tick.C
		var id string
		if err := conn.QueryRow(w.ctx, insertUser+" RETURNING id::text", i).Scan(&id); err != nil {
			return err
		}
		committed[id] = time.Now()
	}
	tick.Stop()
	patience, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	arrived, err := target.Wait(patience, func(s *receiver.Snapshot) bool { return s.Distinct == n })
	if err != nil {
		return err
	}
	rss, _, before, err := relay.usage()
	if err != nil {
		return err
	}
	const idle = 15 * time.Second
	<-time.After(idle)
	after := cpuOf(relay)
	var latencies []time.Duration
	for _, d := range arrived.Deliveries {
		latencies = append(latencies, max(d.At.Sub(committed[d.Resource]), 0))
	}
	slices.Sort(latencies)
	w.row("200 commits/s", "commit to arrival, p50", quantile(latencies, 0.50), "under 5 ms")
	w.row("", "commit to arrival, p99", quantile(latencies, 0.99), "under 25 ms")
	w.row("", "resident memory", fmt.Sprintf("%.1f MB", float64(rss)/1e6), "under 40 MB")
	w.row("idle", "processor", fmt.Sprintf("%.2f %% of a core", 100*(after-before).Seconds()/idle.Seconds()), "under 1 %")
	return relay.stop()
}

// large commits one transaction of n rows.
func (w *world) large(n int) error {
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
	relay, err := start(w.ctx, w.dir, w.binary, url, w.slot(), hook("bench", lean.URL()))
	if err != nil {
		return err
	}
	began := time.Now()
	if err := w.insertMany(conn, 1, n, true); err != nil {
		return err
	}
	committed := time.Now()
	if err := w.wait(lean, int64(n), 20*time.Minute); err != nil {
		return err
	}
	_, peak, _, err := relay.usage()
	if err != nil {
		return err
	}
	w.row(fmt.Sprintf("one transaction of %d rows", n), "the IAM's own statement", committed.Sub(began).Round(time.Millisecond).String(), "")
	w.row("", "all delivered after", time.Since(committed).Round(time.Millisecond).String(), "")
	w.row("", "resident memory at its peak", fmt.Sprintf("%.1f MB", float64(peak)/1e6), "under 100 MB")
	return relay.stop()
}
