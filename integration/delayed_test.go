package integration_test

import (
	"strings"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
	"github.com/iam-relay/iam-relay/integration/receiver"
)

// holdTime is how long the preset waits for what cancels user.credentials.deleted.
const holdTime = 5 * time.Second

// A password that is replaced is no deletion; one that is deleted is, some seconds later, also if nothing else happens on
// the IAM's database.
func TestDelayed_DeletedPasswordIsNotAReplacedOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var users account
	ann, bob := w.createUser(&users, 1), w.createUser(&users, 2)
	passwords := map[string]string{}
	for _, user := range []string{ann, bob} {
		var err error
		if passwords[user], err = w.iam.AddCredential(t.Context(), user, "password"); err != nil {
			t.Fatal(err)
		}
	}
	start(t, w.config().webhook(w.hook, "/all"))
	if _, err := w.iam.ReplacePassword(t.Context(), w.acme.ID, ann); err != nil {
		t.Fatal(err)
	}
	if err := w.iam.DeleteCredential(t.Context(), passwords[bob]); err != nil {
		t.Fatal(err)
	}
	var deleted account
	deleted.add(expect("user.credentials.deleted", bob, w.acme.ID))
	got := deleted.arrives(t, w.hook, "/all")
	if held := got[0].Latency(); held < holdTime {
		t.Errorf("the deletion was emitted after %s", held)
	}
	w.until("nothing is held any more", `SELECT count(*) = 0 FROM relay.delayed_event`)
	w.caughtUp()
	if s := w.hook.Snapshot(); len(arrived(&s, "/all")) != 2 { // and the user of caughtUp
		t.Errorf("%d events arrived, not 2", len(arrived(&s, "/all")))
	}
}

// A delayed event survives the relay: killed while it waits, it neither forgets a deletion nor emits a replacement.
func TestDelayed_SurvivesTheRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var users account
	ann, bob := w.createUser(&users, 1), w.createUser(&users, 2)
	otp := map[string]string{}
	for _, user := range []string{ann, bob} {
		var err error
		if otp[user], err = w.iam.AddCredential(t.Context(), user, "otp"); err != nil {
			t.Fatal(err)
		}
	}
	cfg := w.config().webhook(w.hook, "/all")
	p := start(t, cfg)
	for _, user := range []string{ann, bob} {
		if err := w.iam.DeleteCredential(t.Context(), otp[user]); err != nil {
			t.Fatal(err)
		}
	}
	w.until("both deletions are held", `SELECT count(*) = 2 FROM relay.delayed_event`)
	p.kill()
	if _, err := w.iam.AddCredential(t.Context(), ann, "otp"); err != nil { // while nobody looks
		t.Fatal(err)
	}
	start(t, cfg)
	var deleted account
	deleted.add(expect("user.credentials.deleted", bob, w.acme.ID))
	deleted.arrives(t, w.hook, "/all")
	w.until("nothing is held any more", `SELECT count(*) = 0 FROM relay.delayed_event`)
	w.sameAsStored(w.db, arrivedNow(w.hook, "/all"))
}

// A deletion is emitted even where the realm's last webhook is deleted before its time has come, and to the webhooks of its
// own transaction: to none that came later.
func TestDelayed_GoesToTheWebhooksOfItsTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var users account
	user := w.createUser(&users, 1)
	credential, err := w.iam.AddCredential(t.Context(), user, "otp")
	if err != nil {
		t.Fatal(err)
	}
	early, secret := w.subscribe("/early", "user.credentials.deleted")
	cfg := w.config()
	cfg.secrets = append(cfg.secrets, secret)
	start(t, cfg)
	if err := w.iam.DeleteCredential(t.Context(), credential); err != nil {
		t.Fatal(err)
	}
	w.subscribe("/late", "user.credentials.deleted")
	if err := w.iam.DeleteWebhook(t.Context(), early); err != nil {
		t.Fatal(err)
	}
	var deleted account
	deleted.add(expect("user.credentials.deleted", user, w.acme.ID))
	deleted.arrives(t, w.hook, "/early")
	if late := arrivedNow(w.hook, "/late"); len(late) > 0 {
		t.Errorf("%d events went to a webhook that was made later", len(late))
	}
}

func arrivedNow(r *receiver.Receiver, path string) []receiver.Delivery {
	s := r.Snapshot()
	return arrived(&s, path)
}

// A held event goes also where nothing moves on the IAM's server any more, not even its log: the outbox is elsewhere.
func TestDelayed_IsReleasedWithoutNewWAL(t *testing.T) {
	t.Parallel()
	w := inhabit(t, newServer(t).URL("postgres"))
	var users, deleted account
	user := w.createUser(&users, 1)
	otp, err := w.iam.AddCredential(t.Context(), user, "otp")
	if err != nil {
		t.Fatal(err)
	}
	outbox := clustertest.Database(t)
	p := start(t, w.config().webhook(w.hook, "/all").set("outbox.url", outbox))
	if err := w.iam.DeleteCredential(t.Context(), otp); err != nil {
		t.Fatal(err)
	}
	deleted.add(expect("user.credentials.deleted", user, w.acme.ID))
	deleted.arrives(t, w.hook, "/all")
	p.stop()
	w.auditIn(connect(t, outbox))
}

// The connection that asks the server for its clock is idle for hours, and servers and firewalls end such ones. A held event
// goes all the same.
func TestDelayed_SurvivesTheLossOfAnIdleConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var users, deleted account
	user := w.createUser(&users, 1)
	otp, err := w.iam.AddCredential(t.Context(), user, "otp")
	if err != nil {
		t.Fatal(err)
	}
	start(t, w.config().webhook(w.hook, "/all"))
	w.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'iam-relay' AND datname = current_database()
		AND query LIKE '%pg_replication_slots%'`)
	if err := w.iam.DeleteCredential(t.Context(), otp); err != nil {
		t.Fatal(err)
	}
	deleted.add(expect("user.credentials.deleted", user, w.acme.ID))
	deleted.arrives(t, w.hook, "/all")
}

// A transaction may hold more events than fit into memory, and a later one cancel as many: only what is left is emitted, each once.
func TestDelayed_ManyAtOnce(t *testing.T) {
	t.Parallel()
	const many = 3000
	w := newWorld(t)
	w.exec(insertMany, w.acme.ID, "user", many)
	addOTP := `INSERT INTO credentials (id, user_id, credential_type, secret_data, credential_data) SELECT gen_random_uuid(), id, 'otp', 'hash', '{}' FROM users WHERE username LIKE $1`
	w.exec(addOTP, "user%")
	start(t, w.config().webhook(w.hook, "/all").set("source.memory_limit", "64KiB"))
	// In one go: what replaces comes in time on a busy machine, too.
	w.exec(`BEGIN; DELETE FROM credentials WHERE credential_type = 'otp'; COMMIT; ` + strings.ReplaceAll(addOTP, "$1", "'user1%'"))
	var deleted account
	for _, user := range ids(t, w.db, `SELECT id FROM users WHERE username LIKE 'user%' AND username NOT LIKE 'user1%'`) {
		deleted.add(expect("user.credentials.deleted", user, w.acme.ID))
	}
	deleted.arrives(t, w.hook, "/all")
	w.until("nothing is held any more", `SELECT count(*) = 0 FROM relay.delayed_event`)
	w.sameAsStored(w.db, arrivedNow(w.hook, "/all"))
	w.audit()
}
