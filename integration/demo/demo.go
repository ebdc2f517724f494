// Command demo shows every documented event on its way from a committed row to a verified webhook. Nothing in it is mocked: it
// starts a PostgreSQL server and a receiver, runs FerrisKey's statements, and runs the relay from a configuration file.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/cluster"
	"github.com/iam-relay/iam-relay/integration/ferriskey"
	"github.com/iam-relay/iam-relay/integration/receiver"
	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/config"
)

const (
	demoDatabase = "ferriskey"
	// demoSecret signs the requests to the configured webhook. It guards nothing: the receiver is part of the demo.
	demoSecret = "whsec_ZGVtbyBzZWNyZXQsIG9mIG5vIHVzZSBlbHNl" //nolint:gosec // not a secret
	// The paths of the receiver: of the webhook in the configuration, and of the realm's webhook in FerrisKey's tables.
	demoPath, realmPath = "/demo", "/realm"
	// demoTimeout bounds the wait for the deliveries; an event may be delayed for 5 s.
	demoTimeout = 30 * time.Second
)

func main() { os.Exit(run()) }

func run() int {
	keep := flag.Bool("keep", false, "keep everything running afterwards, to try it out")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "demo: unexpected argument %q\n", flag.Arg(0))
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal has its usual effect
	d := &demo{out: os.Stdout, err: os.Stderr, keep: *keep}
	err := d.run(ctx)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "demo: interrupted")
	default:
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	return 1
}

// demo is one run of the demo.
type demo struct {
	out, err io.Writer
	keep     bool
	server   *cluster.Cluster
	receiver *receiver.Receiver
	report   *demoReport
}

func (d *demo) run(ctx context.Context) (err error) {
	switch _, err := cluster.FindBinaries(); {
	case errors.Is(err, cluster.ErrNoBinaries):
		if err := cluster.Install(ctx, d.err); err != nil {
			return err
		}
	case err != nil: // a wrong variable, which an installation does not fix
		return err
	}
	fmt.Fprintln(d.out, "Starting a private PostgreSQL with wal_level = logical …")
	if d.server, err = cluster.Start(ctx, cluster.Options{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.server.Close()) }()
	if d.receiver, err = receiver.Start(receiver.Options{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.receiver.Close()) }()
	d.report = newDemoReport(d.out)
	d.receiver.Expect(demoPath, demoSecret)
	d.receiver.Respond(d.report.arrived)
	iam, conn, err := d.prepare(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	stop, err := d.startRelay(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := d.play(ctx, iam, conn); err != nil {
		return err
	}
	if err := d.report.summary(); err != nil && !d.keep {
		return err
	}
	if d.keep {
		d.linger(ctx)
	}
	return nil
}

// prepare creates FerrisKey's database as it is after the first start of FerrisKey.
func (d *demo) prepare(ctx context.Context) (*ferriskey.IAM, *pgx.Conn, error) {
	if err := d.server.CreateDatabase(ctx, demoDatabase); err != nil {
		return nil, nil, err
	}
	conn, err := d.server.Connect(ctx, demoDatabase)
	if err != nil {
		return nil, nil, err
	}
	if err := ferriskey.Create(ctx, conn, "public"); err != nil {
		return nil, nil, err
	}
	iam := ferriskey.New(conn)
	if _, err := iam.Bootstrap(ctx); err != nil {
		return nil, nil, err
	}
	fmt.Fprintf(d.out, "PostgreSQL %s on port %d has FerrisKey's tables and its master realm.\n", d.server.Version, d.server.Port())
	return iam, conn, nil
}

// startRelay runs the relay from a configuration file, and returns once it is streaming.
func (d *demo) startRelay(ctx context.Context) (stop func() error, err error) {
	path := filepath.Join(d.server.Dir(), "config.toml") // removed with the server
	text := fmt.Sprintf(`[source]
url = %q
[delivery]
allow_http = true
allow_networks = ["127.0.0.0/8"]
[admin]
listen = "127.0.0.1:0"
[log]
level = "warn"
[[webhook]]
name = "demo"
url = %q
secret = %q
`, d.server.URL(demoDatabase), d.receiver.URL(demoPath), demoSecret)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write the demo's configuration: %w", err)
	}
	cfg, err := config.Load(path, nil)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(d.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	r, err := relay.New(cfg, "demo", log)
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- r.Run(running) }()
	stop = func() error {
		cancel()
		return <-ended
	}
	select {
	case <-r.Streaming():
		fmt.Fprintf(d.out, "The relay is streaming; metrics are at http://%s/metrics.\n\n", r.AdminAddr())
		return stop, nil
	case err := <-ended:
		cancel()
		return nil, err
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), stop())
	}
}

// play runs the steps of the story and waits until the relay has delivered their events.
func (d *demo) play(ctx context.Context, iam *ferriskey.IAM, conn *pgx.Conn) error {
	hook := ferriskey.Webhook{Endpoint: d.receiver.URL(realmPath), Name: "the realm's own", Events: ferriskey.Documented}
	d.report.header()
	for _, step := range ferriskey.Story(iam, hook) {
		d.report.step(step.Name)
		expected, err := step.Do(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", step.Name, err)
		}
		d.report.expect(expected)
		if err := d.learnSecrets(ctx, conn); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	return d.settled(ctx, conn)
}

// learnSecrets gives the receiver the secrets that FerrisKey has generated for webhooks. FerrisKey shows them nowhere; they are
// only in its table.
func (d *demo) learnSecrets(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `SELECT secret FROM webhooks WHERE endpoint = $1`, d.receiver.URL(realmPath))
	if err != nil {
		return fmt.Errorf("read the webhooks' secrets: %w", err)
	}
	secrets, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("read the webhooks' secrets: %w", err)
	}
	if len(secrets) > 0 { // a deleted webhook's last deliveries still carry its signature
		d.receiver.Expect(realmPath, secrets...)
	}
	return nil
}

// settled waits until the relay has read the WAL up to its end and delivered everything, delayed events included.
func (d *demo) settled(ctx context.Context, conn *pgx.Conn) error {
	var end string
	if err := conn.QueryRow(ctx, `SELECT pg_current_wal_insert_lsn()::text`).Scan(&end); err != nil {
		return fmt.Errorf("read the end of the WAL: %w", err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var done bool
		err := conn.QueryRow(ctx, `SELECT lsn >= $1::text::pg_lsn AND delivered = last_event AND NOT EXISTS (SELECT FROM iam_relay.delayed_event)
			FROM iam_relay.position, iam_relay.watermark`, end).Scan(&done)
		if err != nil {
			return fmt.Errorf("read the position of the relay: %w", err)
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil // the summary lists what is missing
			}
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// linger keeps everything running until it is interrupted.
func (d *demo) linger(ctx context.Context) {
	fmt.Fprintf(d.out, `
Everything keeps running. Change a row, and see the webhook arrive here:

  psql '%s'
  INSERT INTO realms (id, name, created_at, updated_at) VALUES (gen_random_uuid(), 'mine', now(), now());

Press Ctrl-C to end the demo.

`, d.server.URL(demoDatabase))
	d.report.header()
	<-ctx.Done()
}
