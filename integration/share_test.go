package integration_test

import (
	"fmt"
	"net/url"
	"syscall"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
	"github.com/iam-relay/iam-relay/integration/receiver"
	"github.com/iam-relay/iam-relay/integration/wire"
)

// Relays that do not lead serve webhooks that are far behind, each its share; when one is killed another goes on from the
// cursor, and all come back to the leader when they have caught up.
func TestShare_OthersServeWhatIsBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().set("delivery.queue", 10).set("delivery.in_flight", 4)
	const hooks = 4
	for i := range hooks {
		cfg.webhook(w.hook, fmt.Sprint("/slow-", i))
	}
	w.hook.Respond(func(*receiver.Delivery) receiver.Response { return receiver.Response{Delay: 300 * time.Millisecond} })
	leader := start(t, cfg)
	other := launch(t, cfg)
	other.waitFor(within(t), standingBy)
	// stayBehind adds events until the condition holds, so that no webhook catches up before, however long the relays take.
	const more, enough = 1500, 1000 // others lease webhooks that are at least 500 events behind
	added := 0
	stayBehind := func(what, condition string, arguments ...any) {
		t.Helper()
		eventually(t, what, func() (ok bool, err error) {
			if value[bool](t, w.db, w.inOutbox(`SELECT last_event >= $1 AND last_event - coalesce((SELECT max(cursor) FROM relay.webhook), last_event) < $2
				FROM relay.position`), added, enough) {
				added += more
				w.exec(`INSERT INTO users (id, realm_id, username, email, created_at, updated_at)
					SELECT id, $1, 'u' || id, 'u' || id, now(), now() FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, $2)) AS new`, w.acme.ID, more)
			}
			err = w.db.QueryRow(t.Context(), w.inOutbox(condition), arguments...).Scan(&ok)
			return ok, err
		})
	}
	stayBehind("the other relay serves its share", `SELECT count(*) FILTER (WHERE lease <> leader) = 2 AND count(*) FILTER (WHERE lease = leader) = 2
		FROM relay.webhook, relay.position WHERE cursor IS NOT NULL`)
	before := value[int64](t, w.db, w.inOutbox(`SELECT min(cursor) FROM relay.webhook, relay.position WHERE lease <> leader`))
	stayBehind("and gets on with it", `SELECT min(cursor) > $1 FROM relay.webhook, relay.position WHERE lease <> leader`, before)
	other.kill()
	w.hook.Respond(func(*receiver.Delivery) receiver.Response { return receiver.Response{} })
	var a account
	a.add(w.usersLike("u%")...)
	for i := range hooks {
		got := a.arrives(t, w.hook, fmt.Sprint("/slow-", i))
		w.sameAsStored(w.db, got)
	}
	w.until("all are live again", `SELECT count(*) = 0 FROM relay.webhook WHERE cursor IS NOT NULL`)
	leader.ready(true)
	w.audit()
}

// usersLike accounts for users that were made by one statement.
func (w *world) usersLike(pattern string) []ferriskey.Expected {
	w.t.Helper()
	rows, err := w.db.Query(w.t.Context(), `SELECT id::text FROM users WHERE username LIKE $1`, pattern)
	if err != nil {
		w.t.Fatal(err)
	}
	var all []ferriskey.Expected
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, expect("user.created", id, w.acme.ID))
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	return all
}

// A relay that does not lead sends retries, too, while the leader is frozen, and leads soon.
func TestShare_TakesOverFromAFrozenLeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/all")
	frozen := start(t, cfg)
	standby := launch(t, cfg)
	standby.waitFor(within(t), standingBy)
	var a account
	w.createUser(&a, 0)
	a.arrives(t, w.hook, "/all")
	w.exec(w.inOutbox(`INSERT INTO relay.retry (event, webhook, attempts, due, class, status) SELECT e.id, 1, 1, now() + interval '2 seconds', 'http_5xx', 500 FROM relay.event e`))
	walsender := value[int](t, w.db, `SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1`, w.name)
	frozen.signal(syscall.SIGSTOP)
	began := time.Now()
	standby.waitFor(within(t), "leading epoch=2")
	standby.waitFor(within(t), "streaming the WAL")
	w.until("it has the slot", `SELECT active AND active_pid <> $2 FROM pg_replication_slots WHERE slot_name = $1`, w.name, walsender)
	t.Logf("taken over after %s", time.Since(began)) // within five seconds, on a machine that is not busy with other tests
	w.until("the retry was sent", `SELECT count(*) = 0 FROM relay.retry`)
	w.createUser(&a, 1)
	a.arrives(t, w.hook, "/all")
	frozen.signal(syscall.SIGCONT)
	frozen.waitFor(within(t), "retrying")
	w.createUser(&a, 2)
	a.arrives(t, w.hook, "/all")
	w.audit()
}

// A leader whose network is gone, while both machines run on, is replaced: nobody closes its connections.
func TestShare_TakesOverFromALeaderThatIsCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at, err := url.Parse(w.url)
	if err != nil {
		t.Fatal(err)
	}
	cable, err := wire.Start(at.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer cable.Close()
	straight := w.config().webhook(w.hook, "/all")
	at.Host = cable.Address()
	cut := w.config().webhook(w.hook, "/all").set("source.url", at.String())
	start(t, cut)
	standby := launch(t, straight)
	standby.waitFor(within(t), standingBy)
	var a account
	w.createUser(&a, 0)
	a.arrives(t, w.hook, "/all")
	walsender := value[int](t, w.db, `SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1`, w.name)
	cable.Freeze(wire.Both)
	began := time.Now()
	w.until("another relay has the slot", `SELECT active AND active_pid <> $2 FROM pg_replication_slots WHERE slot_name = $1`, w.name, walsender)
	t.Logf("taken over after %s", time.Since(began)) // within five seconds, on a machine that is not busy with other tests
	w.createUser(&a, 1)
	a.arrives(t, w.hook, "/all")
	w.audit()
}

// Three relays share one outbox and are killed at random under load: nothing is lost, and what comes twice has the same id
// and the same bytes.
func TestShare_ThreeRelaysWithRandomKills(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().set("delivery.queue", 20).set("delivery.schedule", hastily()).webhook(w.hook, "/all").webhook(w.hook, "/slow")
	w.hook.Respond(func(d *receiver.Delivery) receiver.Response {
		if d.Path == "/slow" {
			return receiver.Response{Delay: 2 * time.Millisecond}
		}
		return badly(d)
	})
	running := []*process{start(t, cfg), launch(t, cfg), launch(t, cfg)}
	load := w.begin(4, 10*time.Millisecond)
	watch := w.watchAcknowledged(w.db)
	for kill := range strength(9, 9, 4) {
		w.arrivesMore(100)
		running[kill%3].kill()
		running[kill%3] = launch(t, cfg)
	}
	load.end()
	w.sameAsStored(w.db, load.arrives(t, w.hook, "/all"))
	w.sameAsStored(w.db, load.arrives(t, w.hook, "/slow"))
	watch()
	w.audit()
	t.Logf("%d events, %d repeated", load.len(), w.hook.Snapshot().Duplicates)
}
