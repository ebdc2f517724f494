package ferriskey_test

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

func TestMain(m *testing.M) { os.Exit(clustertest.Run(m)) }

// open returns an IAM that has been started for the first time, in a schema that is not the default one.
func open(t *testing.T) (*ferriskey.IAM, *pgx.Conn) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), clustertest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	if err := ferriskey.Create(t.Context(), conn, "Ferris's \"IAM\""); err != nil {
		t.Fatal(err)
	}
	iam := ferriskey.New(conn)
	if _, err := iam.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	return iam, conn
}

func query[T any](t *testing.T, conn *pgx.Conn, sql string, arguments ...any) (value T) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql, arguments...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// watch makes a slot; the function that it returns counts the transactions, and the row changes, that the WAL has got
// since it was last asked.
func watch(t *testing.T, conn *pgx.Conn) func() (transactions, changes int) {
	t.Helper()
	slot := "watch_" + strings.ReplaceAll(ferriskey.NewID(), "-", "")
	if _, err := conn.Exec(t.Context(), "CREATE PUBLICATION everything FOR ALL TABLES"); err != nil {
		t.Fatal(err)
	}
	query[string](t, conn, "SELECT slot_name::text FROM pg_create_logical_replication_slot($1, 'pgoutput')", slot)
	return func() (transactions, changes int) {
		t.Helper()
		err := conn.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE kind = 'B'), count(*) FILTER (WHERE kind IN ('I', 'U', 'D'))
			FROM (SELECT chr(get_byte(data, 0)) AS kind FROM pg_logical_slot_get_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', 'everything')) AS messages`, slot).
			Scan(&transactions, &changes)
		if err != nil {
			t.Fatal(err)
		}
		return transactions, changes
	}
}

func TestStory_CausesEveryEventAndLeavesATraceOfEveryStep(t *testing.T) {
	t.Parallel()
	iam, conn := open(t)
	logged := watch(t, conn)
	id := regexp.MustCompile(`^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64})$`)
	seen := map[string]bool{}
	for _, step := range ferriskey.Story(iam, ferriskey.Webhook{Endpoint: "https://hooks.example.com/first", Events: []string{"realm.deleted"}}) {
		expected, err := step.Do(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", step.Name, err)
		}
		for _, e := range expected {
			seen[e.Event] = true
			if !id.MatchString(e.Resource) || !id.MatchString(e.Realm) {
				t.Errorf("%s: %s has resource %q and realm %q", step.Name, e.Event, e.Resource, e.Realm)
			}
		}
		transactions, changes := logged()
		if transactions == 0 || changes == 0 {
			t.Errorf("%s: nothing of it is in the WAL", step.Name)
		}
		if len(expected) > changes {
			t.Errorf("%s: %d events are expected of %d row changes", step.Name, len(expected), changes)
		}
	}
	var missing []string
	for _, event := range slices.Concat(ferriskey.Documented, ferriskey.Newer) {
		if !seen[event] {
			missing = append(missing, event)
		}
		delete(seen, event)
	}
	if len(missing) > 0 || len(seen) > 0 {
		t.Errorf("the story lacks %v, and has %v, which are no documented events", missing, seen)
	}
	if len(ferriskey.Documented) != 27 {
		t.Errorf("%d events are documented, not 27", len(ferriskey.Documented))
	}
}

func TestCreateRealm_IsAboutThirtyFiveTransactions(t *testing.T) {
	t.Parallel()
	iam, conn := open(t)
	logged := watch(t, conn)
	realm, err := iam.CreateRealm(t.Context(), "acme", "Acme")
	if err != nil {
		t.Fatal(err)
	}
	if transactions, changes := logged(); transactions != 35 || changes != 35 {
		t.Errorf("%d transactions with %d row changes, want 35 of one each", transactions, changes)
	}
	if got := query[string](t, conn, `SELECT string_agg(client_id, ' ' ORDER BY client_id) FROM clients WHERE realm_id = $1`, realm.ID); got != "admin-cli ferriskey-account security-admin-console" {
		t.Errorf("the realm has the clients %s", got)
	}
}

func TestDeleteRealm_TakesEverythingAndForgetsItsManagementClient(t *testing.T) {
	t.Parallel()
	iam, conn := open(t)
	realm, err := iam.CreateRealm(t.Context(), "acme", "Acme")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := iam.CreateWebhook(t.Context(), realm.ID, ferriskey.Webhook{Endpoint: "https://hooks.example.com", Events: ferriskey.Documented}); err != nil {
		t.Fatal(err)
	}
	logged := watch(t, conn)
	if err := iam.DeleteRealm(t.Context(), realm); err != nil {
		t.Fatal(err)
	}
	if transactions, changes := logged(); transactions != 1 || changes < 30 {
		t.Errorf("%d transactions with %d row changes, want one with all that is in the realm", transactions, changes)
	}
	if got := query[int](t, conn, `SELECT count(*) FROM webhook_subscribers`); got != 0 {
		t.Errorf("%d subscribers of its webhook are left", got)
	}
	if got := query[string](t, conn, `SELECT client_id FROM clients WHERE id = $1`, realm.ManagementClient); got != "acme-realm" {
		t.Errorf("the management client is %s", got)
	}
}

func TestBulkDeleteUsers_SparesServiceAccountsAndOtherRealms(t *testing.T) {
	t.Parallel()
	iam, conn := open(t)
	realm, err := iam.CreateRealm(t.Context(), "acme", "Acme")
	if err != nil {
		t.Fatal(err)
	}
	_, account, err := iam.CreateClient(t.Context(), realm.ID, ferriskey.Client{ClientID: "app", ServiceAccount: true})
	if err != nil {
		t.Fatal(err)
	}
	user, err := iam.CreateUser(t.Context(), realm.ID, ferriskey.User{Username: "alice", Enabled: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := iam.BulkDeleteUsers(t.Context(), realm.ID, user, account, iam.Admin); err != nil {
		t.Fatal(err)
	}
	got := query[[]string](t, conn, `SELECT array_agg(username::text ORDER BY username) FROM users`)
	if diff := cmp.Diff([]string{"admin", "service-account-app"}, got); diff != "" {
		t.Errorf("users left: (-want +got)\n%s", diff)
	}
}

func TestIAM_SaysWhatFailed(t *testing.T) {
	t.Parallel()
	iam, _ := open(t)
	if err := iam.UpdateUser(t.Context(), ferriskey.NewID(), ferriskey.User{}); err == nil || err.Error() != "update user: no such row" {
		t.Errorf("updating a user who is not there: %v", err)
	}
	if err := iam.AssignRole(t.Context(), iam.Master.ID, iam.Admin, iam.Master.ManagementRole); err == nil || !strings.Contains(err.Error(), "unique_user_id_role_id") {
		t.Errorf("giving a role twice: %v", err)
	}
}

func TestNewID_IsUUIDVersion7(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	last := ""
	for range 1000 {
		id := ferriskey.NewID()
		if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) || seen[id] {
			t.Fatalf("%s is no new UUID of version 7", id)
		}
		if id[:13] < last {
			t.Fatalf("%s is before %s", id, last)
		}
		seen[id], last = true, id[:13]
	}
}
