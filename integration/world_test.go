package integration_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/iam-relay/iam-relay/integration/cluster"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
	"github.com/iam-relay/iam-relay/integration/ferriskey"
	"github.com/iam-relay/iam-relay/integration/receiver"
)

// patience is how long a test waits for something that should happen at once. A busy machine must not make a test fail.
const patience = 5 * time.Minute

// within bounds a wait.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually checks a condition until it holds, at first every few milliseconds.
func eventually(t testing.TB, what string, condition func() (bool, error)) {
	t.Helper()
	ctx := within(t)
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		ok, err := condition()
		if ok && err == nil {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			t.Fatalf("%s: not after %s (last error: %v)", what, patience, err)
		}
	}
}

// world is an IAM's database, with a realm, and what is needed to relay from it.
type world struct {
	t    testing.TB
	url  string
	name string // of slot, publication and outbox schema
	db   *pgxpool.Pool
	iam  *ferriskey.IAM
	acme ferriskey.Realm
	hook *receiver.Receiver
}

var worlds atomic.Int64

// newWorld makes a database on the shared server.
func newWorld(t *testing.T) *world {
	t.Helper()
	return inhabit(t, clustertest.Database(t))
}

// newServer starts a server that the test may stop, and kill.
func newServer(t testing.TB) *cluster.Cluster {
	t.Helper()
	return clustertest.Server(t, cluster.Options{})
}

// inhabit makes FerrisKey's tables and a realm in a database.
func inhabit(t testing.TB, url string) *world {
	t.Helper()
	w := &world{t: t, url: url, name: fmt.Sprintf("relay_%d", worlds.Add(1)), hook: startReceiver(t)}
	w.db = connect(t, url)
	conn, err := w.db.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if err := ferriskey.Create(t.Context(), conn.Conn(), "public"); err != nil {
		t.Fatal(err)
	}
	w.iam = ferriskey.New(w.db)
	if _, err := w.iam.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.acme, err = w.iam.CreateRealm(t.Context(), "acme", "Acme"); err != nil {
		t.Fatal(err)
	}
	return w
}

func connect(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// startReceiver starts a receiver; when the test ends, nothing that arrived may have been other than it must be.
func startReceiver(t testing.TB) *receiver.Receiver {
	t.Helper()
	r, err := receiver.Start(receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s := r.Snapshot(); s.Faulty > 0 {
			t.Errorf("%d of %d requests are not what they must be, the first one: %s", s.Faulty, s.Requests, s.FirstProblem)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// config is a configuration for this world, without a webhook.
func (w *world) config() *config {
	c := &config{values: map[string]any{}, secrets: []string{standardSecret, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}
	return c.set("source.url", w.url).set("source.slot", w.name).set("source.publication", w.name).
		set("outbox.schema", w.name).set("admin.listen", "127.0.0.1:0").set("log.level", "debug").
		set("delivery.allow_http", true).set("delivery.allow_networks", []string{"127.0.0.0/8"})
}

// exec runs a statement in a transaction of its own.
func (w *world) exec(sql string, arguments ...any) {
	w.t.Helper()
	if _, err := w.db.Exec(w.t.Context(), sql, arguments...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// value asks for one value.
func value[T any](t testing.TB, db *pgxpool.Pool, sql string, arguments ...any) (v T) {
	t.Helper()
	if err := db.QueryRow(t.Context(), sql, arguments...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// until waits for a query to say true. In it, "relay." stands for the outbox's schema.
func (w *world) until(what, sql string, arguments ...any) {
	w.t.Helper()
	eventually(w.t, what, func() (ok bool, err error) {
		err = w.db.QueryRow(w.t.Context(), w.inOutbox(sql), arguments...).Scan(&ok)
		return ok, err
	})
}

// createUser makes a user in the realm acme, and accounts for the event.
func (w *world) createUser(a *account, n int) string {
	w.t.Helper()
	user, err := w.iam.CreateUser(w.t.Context(), w.acme.ID, ferriskey.User{Username: fmt.Sprintf("user-%d", n), Firstname: "First", Email: email(n), Enabled: true})
	if err != nil {
		w.t.Fatal(err)
	}
	a.add(expect("user.created", user, w.acme.ID))
	return user
}

// subscribe makes a webhook of the realm acme that leads to a path of the receiver.
func (w *world) subscribe(path string, events ...string) (hook, secret string) {
	w.t.Helper()
	return w.subscribeIn(w.acme, path, events...)
}

func (w *world) subscribeIn(realm ferriskey.Realm, path string, events ...string) (hook, secret string) {
	w.t.Helper()
	hook, secret, err := w.iam.CreateWebhook(w.t.Context(), realm.ID, ferriskey.Webhook{Endpoint: w.hook.URL(path), Name: path, Events: events})
	if err != nil {
		w.t.Fatal(err)
	}
	w.hook.Expect(path, secret)
	return hook, secret
}

// change leads a webhook to another path, with the secret that it has.
func (w *world) change(hook, path, secret string, events ...string) string {
	w.t.Helper()
	w.hook.Expect(path, secret)
	if err := w.iam.UpdateWebhook(w.t.Context(), hook, ferriskey.Webhook{Endpoint: w.hook.URL(path), Name: path, Events: events}); err != nil {
		w.t.Fatal(err)
	}
	return secret
}
