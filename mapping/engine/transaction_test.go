package engine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/language"
	"github.com/iam-relay/iam-relay/mapping/mappingtest"
)

// A transaction that is too large for memory makes the same events.
func TestBeginLarge_SameEvents(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			small := &world{t: t, schema: mappingtest.DefaultSchema(t)}
			large := &world{t: t, schema: mappingtest.DefaultSchema(t)}
			for _, s := range sections(string(source)) {
				switch s.name {
				case "transaction", "reconciled":
					if diff := cmp.Diff(small.transaction(s.lines, true), large.transaction(s.lines, false)); diff != "" {
						t.Errorf("%v (-small +large):\n%s", s.lines, diff)
					}
				default:
					small.prepare(s)
					large.prepare(s)
				}
			}
		})
	}
}

// An event does not collect rows that the same transaction deletes.
func TestBeginLarge_CollectsNoDeletedRows(t *testing.T) {
	t.Parallel()
	w := &world{t: t, schema: mappingtest.DefaultSchema(t)}
	w.mirrorRow("realms id=@a1 name=acme")
	w.mirrorRow("clients id=@c1 realm_id=@a1 name=app client_type=public maintenance_enabled=f")
	w.mirrorRow("redirect_uris id=@d1 client_id=@c1 value=deleted")
	w.mirrorRow("redirect_uris id=@d2 client_id=@c1 value=kept")
	got := strings.Join(w.transaction([]string{"update clients id=@c1 maintenance_enabled=t", "delete redirect_uris id=@d1"}, false), "")
	if strings.Contains(got, `"value":"deleted"`) || !strings.Contains(got, `"value":"kept"`) {
		t.Errorf("got\n%s", got)
	}
}

// Every event of the preset occurs in a golden file.
func TestPreset_EveryEventHasAGoldenCase(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(source)
	}
	rules, err := language.Load(language.Options{Preset: "ferriskey"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range rules.EventNames() {
		if !strings.Contains(all.String(), `{"event":"`+name+`",`) {
			t.Errorf("no golden file contains %s", name)
		}
	}
}

// The preset works with a FerrisKey that does not have the newer tables and columns.
func TestPreset_OldSchema(t *testing.T) {
	t.Parallel()
	w := &world{t: t, schema: mappingtest.DefaultSchema(t)}
	for _, table := range []string{"client_web_origins", "device_auth_sessions", "email_templates", "post_logout_redirect_uris", "user_required_actions", "password_reset_tokens"} {
		delete(w.schema, table)
	}
	old := map[string][]string{
		"roles": {"require_mfa"}, "users": {"failed_login_attempts", "locked_until"},
		"clients":        {"maintenance_enabled", "maintenance_reason", "maintenance_session_strategy", "require_pkce"},
		"realm_settings": {"lockout_threshold", "reset_password_template_id", "login_aliases"},
	}
	for table, columns := range old {
		w.schema[table] = slices.DeleteFunc(w.schema[table], func(c mappingtest.Column) bool { return slices.Contains(columns, c.Name) })
	}
	w.mirrorRow("realms id=@a1 name=acme")
	w.mirrorRow("clients id=@c1 realm_id=@a1 name=app client_type=public")
	got := strings.Join(w.transaction([]string{
		"insert users id=@e1 realm_id=@a1 username=alice",
		"insert roles id=@d1 realm_id=@a1 name=operator",
		"update clients id=@c1 name=app2",
	}, true), "")
	for _, want := range []string{
		`"required_actions":[],`, `"failed_login_attempts":0,"locked_until":null`, `"require_mfa":false`,
		`"require_pkce":false,"client_type":"public"`, `"maintenance_enabled":false,"maintenance_reason":null,"maintenance_session_strategy":"expire"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

// mapOne maps one resolved change.
func (w *world) mapOne(c cdc.Change) ([]Event, error) {
	rows := &fetched{w: w, mirror: w.mirror, anything: true}
	tx := w.mapper.Begin(Commit{LSN: 1, Time: time.Unix(0, 0)}, rows)
	changes := []cdc.Change{c}
	tx.Observe(changes)
	var events []Event
	err := tx.Map(changes, func(e Event) error { events = append(events, e); return nil })
	return events, err
}

// If the mirror does not have the old row, any column may have changed, so the event is emitted.
func TestMap_UpdateOfRowNotInMirror(t *testing.T) {
	t.Parallel()
	w := &world{t: t, schema: mappingtest.DefaultSchema(t)}
	r := w.relation("users")
	c := cdc.Change{Op: cdc.Update, Relation: r, Key: cdc.Key(long("@e1")), New: w.row(r, "id=@e1 realm_id=@a1 username=alice", nil)}
	if !Resolve(&c, nil) {
		t.Fatal("the update is reported as unchanged")
	}
	events, err := w.mapOne(c)
	if err != nil || len(events) != 1 || events[0].Name != "user.updated" {
		t.Errorf("got %v, %v; want one user.updated", events, err)
	}
}

// A value that the mirror did not have before, because the column is newly mapped, is not a change of the row.
func TestMap_NewlyMappedColumn(t *testing.T) {
	t.Parallel()
	w := &world{t: t, schema: mappingtest.DefaultSchema(t)}
	w.mirrorRow("users id=@e1 realm_id=@a1 username=alice")
	r := w.relation("users")
	key := cdc.Key(long("@e1"))
	c := cdc.Change{Op: cdc.Update, Relation: r, Key: key, New: slices.Clone(w.mirror.Get(r.Table, key))}
	w.mirror.Get(r.Table, key)[r.Index("email")] = cdc.Value{}
	if !Resolve(&c, w.mirror.Get(r.Table, key)) {
		t.Fatal("the change is reported as unchanged, so the mirror would not store the column")
	}
	if events, err := w.mapOne(c); err != nil || len(events) != 0 {
		t.Errorf("got %v, %v; want no event", events, err)
	}
}

// A value that is neither in the WAL nor in the mirror must not be sent as null.
func TestMap_UnknownValueIsAnError(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "own.toml")
	if err := os.WriteFile(file, []byte("extends = \"ferriskey\"\n[tables.clients]\nomit_null = [\"maintenance_reason\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, options: language.Options{File: file}, schema: mappingtest.DefaultSchema(t)}
	for table, column := range map[string]string{"roles": "description", "clients": "maintenance_reason"} {
		r := w.relation(table)
		c := cdc.Change{Op: cdc.Insert, Relation: r, Key: cdc.Key(long("@d1")), New: w.row(r, "id=@d1 realm_id=@a1 "+column+"=~", nil)}
		if _, err := w.mapOne(c); err == nil || !strings.Contains(err.Error(), "value of "+table+"."+column+" is neither in the WAL nor in the mirror") {
			t.Errorf("%s: %v", table, err)
		}
	}
}

// If column types change while streaming, values are written by their new types, and a condition that no longer type-checks is
// an error.
func TestMap_TypesChangeWhileStreaming(t *testing.T) {
	t.Parallel()
	w := &world{t: t, schema: mappingtest.DefaultSchema(t)}
	r := w.relation("users")
	retyped := &cdc.Relation{Table: r.Table, Types: slices.Clone(r.Types)}
	retyped.Types[r.Index("failed_login_attempts")] = 25
	c := cdc.Change{Op: cdc.Insert, Relation: retyped, Key: cdc.Key(long("@e1")), New: w.row(r, "id=@e1 realm_id=@a1 failed_login_attempts=7", nil)}
	events, err := w.mapOne(c)
	if err != nil || len(events) != 1 || !strings.Contains(string(events[0].Body), `"failed_login_attempts":"7"`) {
		t.Errorf("got %v, %v; want the text", events, err)
	}
	broken := &cdc.Relation{Table: r.Table, Types: slices.Clone(r.Types)}
	broken.Types[r.Index("email_verified")] = 23
	c.Relation = broken
	for range 2 {
		if _, err = w.mapOne(c); err == nil || !strings.Contains(err.Error(), "on table users") {
			t.Errorf("got %v, want a type error of a condition on users", err)
		}
	}
	c.Relation = r
	if _, err = w.mapOne(c); err != nil {
		t.Errorf("with the first types again: %v", err)
	}
}
