package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
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
	// demoSecret signs what the configured webhook gets. It guards nothing: the receiver is part of the demo.
	demoSecret = "whsec_ZGVtbyBzZWNyZXQsIG9mIG5vIHVzZSBlbHNl" //nolint:gosec // not a secret
	// The paths of the receiver: the webhook of the configuration, and the one that the realm has in FerrisKey's own tables.
	demoPath, realmPath = "/demo", "/realm"
	// demoTimeout bounds the wait for what must arrive; an event may be held for 5 s.
	demoTimeout = 30 * time.Second
)

func demoCommand(flags *flag.FlagSet) func(context.Context, *environment, []string) error {
	keep := flags.Bool("keep", false, "leave everything running afterwards, to try it by hand")
	return func(ctx context.Context, env *environment, args []string) error {
		if err := noArguments(args); err != nil {
			return err
		}
		d := &demo{environment: env, keep: *keep}
		return d.run(ctx)
	}
}

// demo is the relay at work on a PostgreSQL and a receiver of its own. Nothing in it is mocked: the relay is configured by a
// file and reads the log of a real server, on which FerrisKey's statements are run.
type demo struct {
	*environment
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
	case err != nil: // a wrong variable; to install does not mend it
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
	if err := d.tell(ctx, iam, conn); err != nil {
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

// prepare makes FerrisKey's database as a first start of FerrisKey leaves it.
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

// startRelay runs the relay from a configuration file, and returns when it reads the log.
func (d *demo) startRelay(ctx context.Context) (stop func() error, err error) {
	path := filepath.Join(d.server.Dir(), "config.toml") // it goes with the server, whatever ends the demo
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
	r, err := relay.New(cfg, d.version, log)
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
		fmt.Fprintf(d.out, "The relay reads the log; metrics are at http://%s/metrics.\n\n", r.AdminAddr())
		return stop, nil
	case err := <-ended:
		cancel()
		return nil, err
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), stop())
	}
}

// tell does what the story's steps say and waits for what must come of them.
func (d *demo) tell(ctx context.Context, iam *ferriskey.IAM, conn *pgx.Conn) error {
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

// learnSecrets tells the receiver the secrets that FerrisKey has given to webhooks. FerrisKey shows them to nobody; they are
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

// settled waits until the relay has nothing left to do: the log is read up to its end, nothing is held, all is delivered.
func (d *demo) settled(ctx context.Context, conn *pgx.Conn) error {
	var end string
	if err := conn.QueryRow(ctx, `SELECT pg_current_wal_insert_lsn()::text`).Scan(&end); err != nil {
		return fmt.Errorf("ask for the end of the log: %w", err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var done bool
		err := conn.QueryRow(ctx, `SELECT lsn >= $1::text::pg_lsn AND delivered = last_event AND NOT EXISTS (SELECT FROM iam_relay.delayed_event)
			FROM iam_relay.position, iam_relay.watermark`, end).Scan(&done)
		if err != nil {
			return fmt.Errorf("ask how far the relay is: %w", err)
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil // the summary says what is missing
			}
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// linger leaves the stage to whoever has started the demo.
func (d *demo) linger(ctx context.Context) {
	fmt.Fprintf(d.out, `
Everything keeps running. Change something, and see the webhook arrive here:

  psql '%s'
  INSERT INTO realms (id, name, created_at, updated_at) VALUES (gen_random_uuid(), 'mine', now(), now());

Ctrl-C ends it.

`, d.server.URL(demoDatabase))
	d.report.header()
	<-ctx.Done()
}
