package integration_test

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
	"github.com/iam-relay/iam-relay/integration/ferriskey"
	"github.com/iam-relay/iam-relay/integration/receiver"
)

// What an IAM writes all day says nothing to anybody: logins, saves without a change, delivery statuses, sessions,
// attributes, migrations. Nor do the relay's own writes, though they are in the same database.
func TestQuiet_NothingToEmit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var users account
	user := w.createUser(&users, 1)
	hook, secret := w.subscribe("/acme", "webhook.updated", "user.updated", "user.created")
	cfg := w.config().webhook(w.hook, "/all")
	cfg.secrets = append(cfg.secrets, secret)
	start(t, cfg)
	ctx, acme := t.Context(), w.acme.ID
	saved := ferriskey.User{Firstname: "First", Email: email(1), Enabled: true}
	for what, do := range map[string]func() error{
		"login":             func() error { return w.iam.Login(ctx, acme, user) },
		"failed login":      func() error { return w.iam.FailLogin(ctx, acme, user) },
		"unchanged user":    func() error { return w.iam.UpdateUser(ctx, user, saved) },
		"attribute":         func() error { return w.iam.SetAttribute(ctx, acme, user, "locale", "de") },
		"delivery status":   func() error { return w.iam.MarkWebhookDelivery(ctx, hook, "failed", "timeout") },
		"recovery code":     func() error { _, err := w.iam.AddCredential(ctx, user, "recovery-code"); return err },
		"replaced password": func() error { _, err := w.iam.ReplacePassword(ctx, acme, user); return err },
		"migration":         func() error { return w.iam.Migrate(ctx, 20260901000000, "nothing of interest") },
		"theme":             func() error { _, err := w.iam.ActivateTheme(ctx, acme, "Dark"); return err },
		"unchanged setting": func() error {
			return w.iam.UpdateRealmSettings(ctx, acme, map[string]any{"lockout_threshold": 10})
		},
	} {
		if err := do(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	w.exec(`UPDATE users SET username = username`)
	w.exec(`UPDATE roles SET description = description, updated_at = now()`)
	w.exec(`BEGIN; INSERT INTO redirect_uris (id, client_id, value) VALUES ('00000000-0000-7000-8000-000000000001', (SELECT id FROM clients LIMIT 1), 'x');
		DELETE FROM redirect_uris WHERE value = 'x'; COMMIT`)
	w.caughtUp() // a user in another realm, whose event is delivered
	s := w.hook.Snapshot()
	for _, d := range s.Deliveries[min(1, len(s.Deliveries)):] {
		t.Errorf("%s on %s: %s", d.Event, d.Path, d.Body)
	}
	if n := value[int](t, w.db, w.inOutbox(`SELECT count(*) FROM relay.event`)); n != 1 {
		t.Errorf("the event log has %d events, not 1", n)
	}
}

// The publication names the mapped tables, whole, and none of the relay's own: anything else can make the IAM's statements
// fail or its migrations stop.
func TestQuiet_PublicationNamesTables(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	start(t, w.config().webhook(w.hook, "/all"))
	if value[bool](t, w.db, `SELECT puballtables FROM pg_publication WHERE pubname = $1`, w.name) {
		t.Error("the publication is FOR ALL TABLES")
	}
	// PostgreSQL 14 has neither lists, nor filters, nor schemas in a publication.
	if clustertest.Cluster(t).Major >= 15 {
		if n := value[int](t, w.db, `SELECT count(*) FROM pg_publication_rel r JOIN pg_publication p ON p.oid = prpubid
			WHERE pubname = $1 AND (prqual IS NOT NULL OR prattrs IS NOT NULL)`, w.name); n > 0 {
			t.Errorf("%d tables are published with a column list or a row filter", n)
		}
		if n := value[int](t, w.db, `SELECT count(*) FROM pg_publication_namespace n JOIN pg_publication p ON p.oid = pnpubid WHERE pubname = $1`, w.name); n > 0 {
			t.Error("whole schemas are published")
		}
	}
	published := ids(t, w.db, `SELECT schemaname || '.' || tablename FROM pg_publication_tables WHERE pubname = $1`, w.name)
	for _, table := range []string{"public.users", "public.realms", "public.webhooks"} {
		if !slices.Contains(published, table) {
			t.Errorf("%s is not published", table)
		}
	}
	for _, table := range []string{w.name + ".event", "public.security_events", "public.user_sessions", "public.refresh_tokens"} {
		if slices.Contains(published, table) {
			t.Errorf("%s is published", table)
		}
	}
	if n := value[int](t, w.db, `SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE nspname = 'public' AND relkind = 'r' AND relreplident <> 'd'`); n > 0 {
		t.Errorf("the replica identity of %d tables was altered", n)
	}
}

// Columns that the mapping does not name never leave the source: no secret of the IAM is in the outbox, in a payload, or in
// what the relay prints, whatever its log level.
func TestQuiet_SecretsStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const clientSecret, hash, device = "client-secret-8d1f0c2e", "password-hash-53b7a9", "0198c0de-5ec2-7e00-8000-00000000d01c"
	cfg := w.config().webhook(w.hook, "/all", map[string]any{"headers": map[string]any{"Authorization": "Bearer token-of-the-header"}})
	cfg.secrets = append(cfg.secrets, clientSecret, hash, device, "token-of-the-header", "ada@example.com")
	w.hook.Respond(func(d *receiver.Delivery) receiver.Response {
		if d.Attempt == 1 {
			return receiver.Response{Status: 500, Body: []byte("a secret of the receiver: ada@example.com")}
		}
		return receiver.Response{}
	})
	cfg.set("delivery.schedule", []string{"50ms", "50ms"})
	p := start(t, cfg)
	var a account
	client, _, err := w.iam.CreateClient(t.Context(), w.acme.ID, ferriskey.Client{ClientID: "app", Secret: clientSecret})
	if err != nil {
		t.Fatal(err)
	}
	user := ferriskey.NewID()
	w.exec(`INSERT INTO users (id, realm_id, username, email, created_at, updated_at) VALUES ($1, $2, 'ada', 'ada@example.com', now(), now())`, user, w.acme.ID)
	w.exec(`INSERT INTO credentials (id, user_id, credential_type, secret_data, credential_data) VALUES (gen_random_uuid(), $1, 'otp', $2, '{}')`, user, hash)
	w.exec(`DELETE FROM credentials WHERE user_id = $1`, user)
	w.exec(`INSERT INTO device_auth_sessions (device_code, user_code, client_id, realm_id, expires_at) VALUES ($1, 'ABCD-EFGH', $2, $3, now())`, device, client, w.acme.ID)
	a.add(expect("client.created", client, w.acme.ID), expect("user.created", user, w.acme.ID), expect("user.credentials.deleted", user, w.acme.ID),
		expect("auth.device_flow.initiated", client, w.acme.ID))
	for _, d := range a.arrives(t, w.hook, "/all") {
		mustNotContain(t, string(d.Body), clientSecret, hash, device)
	}
	p.stop()
	w.eachOutboxText(func(table, text string) {
		t.Helper()
		mustNotContain(t, text, clientSecret, hash, device)
	})
}

// eachOutboxText hands over every table of the outbox as text.
func (w *world) eachOutboxText(look func(table, text string)) {
	w.t.Helper()
	tables := ids(w.t, w.db, `SELECT tablename FROM pg_tables WHERE schemaname = $1`, w.name)
	if len(tables) < 8 {
		w.t.Fatalf("the outbox has only the tables %v", tables)
	}
	for _, table := range tables {
		look(table, value[string](w.t, w.db, `SELECT coalesce(string_agg(t::text, E'\n'), '') FROM `+pgx.Identifier{w.name, table}.Sanitize()+` AS t`))
	}
}
