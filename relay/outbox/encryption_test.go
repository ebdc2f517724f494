package outbox

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/iam-relay/iam-relay/cdc"
)

var hooks = &cdc.Table{Schema: "public", Name: "hooks", KeyColumns: 1, Columns: []cdc.Column{{Name: "id"}, {Name: "url", Secret: true}, {Name: "name"}}}

func keyOf(b byte) []byte { return bytes.Repeat([]byte{b}, KeyBytes) }

func keysOf(t interface{ Fatal(args ...any) }, texts ...[]byte) *keys {
	k, err := newKeys(texts)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Any text of a secret column survives storage, with keys and without, also one that looks encrypted.
func TestEncrypt_RoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var k *keys
		if rapid.Bool().Draw(t, "encrypted") {
			k = keysOf(t, keyOf(1))
		}
		text := rapid.SampledFrom([]string{"", encryptedV1, encryptedPlain, encryptedPrefix, "x"}).Draw(t, "prefix") + rapid.String().Draw(t, "text")
		at := location{"o", "k", "f"}
		stored := k.encrypt(text, at)
		got, err := k.decrypt(stored, at)
		if err != nil || got != text {
			t.Fatalf("%q came back as %q (%v)", text, got, err)
		}
		if k != nil && text != "" && !strings.HasPrefix(stored, encryptedV1+k.list[0].id+":") {
			t.Fatalf("stored as %q", stored)
		}
		// After a rotation the old key still decrypts.
		if got, err := keysOf(t, keyOf(2), keyOf(1)).decrypt(stored, at); err != nil || got != text {
			t.Fatalf("with more keys %q came back as %q (%v)", text, got, err)
		}
		row := cdc.Row{cdc.TextValue("7"), cdc.TextValue(text), cdc.NullValue}
		back, err := parseRow(hooks, "7", storedFields(hooks, "7", row, k), k)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(row, back); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestDecrypt_RefusesWhatWasMovedOrChanged(t *testing.T) {
	t.Parallel()
	k, at := keysOf(t, keyOf(1)), location{"iam", "7", "secret"}
	stored := k.encrypt("sesame", at)
	if stored == k.encrypt("sesame", at) {
		t.Error("a text encrypts to the same ciphertext twice, so equal secrets are visible")
	}
	id := k.list[0].id
	for name, test := range map[string]struct {
		keys   *keys
		stored string
		at     location
		want   string
	}{
		"no key":                   {nil, stored, at, "is encrypted with key " + id + ", and outbox.key_file is not set: set it to the file with this key"},
		"another key":              {keysOf(t, keyOf(2)), stored, at, "is encrypted with key " + id + ", which the file of outbox.key_file does not have: add that key again, below the first line"},
		"of another webhook":       {k, stored, location{"iam", "8", "secret"}, "is encrypted with key " + id + " and fails its integrity check: it was changed or moved; restore it from a backup, or set it again"},
		"of another field":         {k, stored, location{"iam", "7", "url"}, "is encrypted with key " + id + " and fails its integrity check: it was changed or moved; restore it from a backup, or set it again"},
		"of another origin":        {k, stored, location{"relay", "7", "secret"}, "is encrypted with key " + id + " and fails its integrity check: it was changed or moved; restore it from a backup, or set it again"},
		"changed":                  {k, stored[:len(stored)-8] + "AAAAAAA=", at, "is encrypted with key " + id + " and fails its integrity check: it was changed or moved; restore it from a backup, or set it again"},
		"truncated":                {k, encryptedV1 + id + ":AAAA", at, "is encrypted and truncated: restore it from a backup, or set it again"},
		"of a later version":       {k, "encrypted:v2:x", at, "is encrypted in a format that this version does not know: run the version that wrote it"},
		"no base64":                {k, encryptedV1 + id + ":?", at, "is encrypted in a format that this version does not know: run the version that wrote it"},
		"nothing after the prefix": {k, encryptedPrefix, at, "is encrypted in a format that this version does not know: run the version that wrote it"},
	} {
		if _, err := test.keys.decrypt(test.stored, test.at); err == nil || err.Error() != test.want {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
	if _, err := newKeys([][]byte{[]byte("short")}); err == nil {
		t.Error("a short key was accepted")
	}
}

func connection(ctx context.Context, t *testing.T, s *Store) *pgx.Conn {
	t.Helper()
	conn, err := pgx.ConnectConfig(ctx, s.config.ConnConfig.Copy())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(ctx)) })
	return conn
}

func epoch(ctx context.Context, t *testing.T, s *Store) (n int64) {
	t.Helper()
	if err := s.pool.QueryRow(ctx, `SELECT epoch FROM position`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// dump is all that the schema's tables hold, as text.
func dump(ctx context.Context, t *testing.T, s *Store) string {
	t.Helper()
	var all strings.Builder
	rows, err := s.pool.Query(ctx, `SELECT c.relname FROM pg_class c WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'r'`, s.schema)
	if err != nil {
		t.Fatal(err)
	}
	var table string
	var tables []string
	for rows.Next() {
		if err := rows.Scan(&table); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, table)
	}
	for _, table := range tables {
		var text string
		if err := s.pool.QueryRow(ctx, fmt.Sprintf(`SELECT coalesce(string_agg(x::text, chr(10)), '') FROM %s x`, table)).Scan(&text); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s\n%s\n", table, text)
	}
	return all.String()
}

func TestReencrypt_AddsAndRotatesKeys(t *testing.T) {
	t.Parallel()
	ctx, plain, _ := migrated(t)
	secretly := func(w Webhook) Webhook {
		w.URL, w.Headers, w.Credentials, w.Events = "https://a.example/sesame", map[string]string{"X": "sesame", "Empty": ""}, `{"bearer":"sesame"}`, []string{"*"}
		w.Secrets, w.Options, w.Enabled = []string{"sesame one", "encrypted:v1:sesame two"}, "{}", true
		return w
	}
	want := map[int64]Webhook{}
	note := func(w Webhook) {
		want[w.ID] = Webhook{URL: w.URL, Headers: w.Headers, Credentials: w.Credentials, Secrets: w.Secrets}
	}
	fill := func(s *Store, l *Leader, id int64) {
		t.Helper()
		own := secretly(Webhook{Name: fmt.Sprint("own", id), Tenant: "*"})
		if err := s.AddWebhook(ctx, &own); err != nil {
			t.Fatal(err)
		}
		note(own)
		theirs := []Webhook{secretly(Webhook{ID: id, Origin: OriginIAM, Key: fmt.Sprint(id)}), secretly(Webhook{ID: id + 1, Origin: OriginConfig, Key: fmt.Sprint(id)})}
		chunk := &Chunk{Webhooks: theirs}
		for i := range 2 * rotationPage { // more than one page
			row := cdc.Row{cdc.TextValue(fmt.Sprint(id, "-", i)), cdc.TextValue("https://sesame/"), cdc.TextValue("name")}
			chunk.upsert(hooks, cdc.Key(row[0].Text), row, nil, s.keys)
		}
		note(theirs[0])
		note(theirs[1])
		if err := l.Commit(ctx, chunk, 1, 0); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(when string, s *Store, l *Leader, rows int) {
		t.Helper()
		all, err := s.LoadWebhooks(ctx)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		got := map[int64]Webhook{}
		for _, w := range all {
			got[w.ID] = Webhook{URL: w.URL, Headers: w.Headers, Credentials: w.Credentials, Secrets: w.Secrets}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		m := l.NewMirror(nil)
		if err := m.EachRow(ctx, hooks, func(_ cdc.Key, row cdc.Row) error {
			if rows--; row[1].Text != "https://sesame/" || row[2].Text != "name" {
				t.Errorf("%s: mirrored as %v", when, row)
			}
			return nil
		}); err != nil || rows != 0 {
			t.Errorf("%s: %v, %d rows too few", when, err, rows)
		}
	}
	reencrypt := func(s *Store, want int) {
		t.Helper()
		if n, err := s.Reencrypt(ctx, []*cdc.Table{users, hooks}); err != nil || n != want {
			t.Errorf("%d rows were re-encrypted, want %d (%v)", n, want, err)
		}
	}
	leads := func(s *Store) *Leader {
		t.Helper()
		return &Leader{store: s, write: connection(ctx, t, s), epoch: epoch(ctx, t, s)}
	}

	first := leads(plain)
	fill(plain, first, 1)
	reencrypt(plain, 0)
	holds("plain", plain, first, 2*rotationPage)
	if !strings.Contains(dump(ctx, t, plain), "sesame") {
		t.Fatal("the test finds no plain text in the tables")
	}

	url := plain.config.ConnString()
	keyed := opened(t, url, keyOf(1))
	holds("plain, with a new key", keyed, leads(keyed), 2*rotationPage)
	reencrypt(keyed, 3+2*rotationPage)
	reencrypt(keyed, 0)
	fill(keyed, leads(keyed), 11)
	reencrypt(keyed, 0)
	holds("with a key", keyed, leads(keyed), 4*rotationPage)
	if _, err := keyed.ChangeWebhook(ctx, FirstRelayID, func(w *Webhook) error { w.Description = "changed"; return nil }); err != nil {
		t.Fatal(err)
	}
	if text := dump(ctx, t, keyed); strings.Contains(text, "sesame") {
		t.Errorf("a secret is in the tables:\n%.2000s", text[strings.Index(text, "sesame")-500:])
	}

	next := opened(t, url, keyOf(2), keyOf(1))
	reencrypt(next, 6+4*rotationPage)
	holds("with the next key", next, leads(next), 4*rotationPage)
	alone := opened(t, url, keyOf(2))
	holds("with the next key alone", alone, leads(alone), 4*rotationPage)

	_, err := keyed.LoadWebhooks(ctx)
	const lacks = "read webhooks: webhook iam:1 is encrypted with key "
	if err == nil || !strings.HasPrefix(err.Error(), lacks) || !strings.HasSuffix(err.Error(), "add that key again, below the first line") {
		t.Errorf("with the old key alone: %v", err)
	}
	if _, err := keyed.Reencrypt(ctx, nil); err == nil || !strings.HasPrefix(err.Error(), lacks) {
		t.Errorf("with the old key alone: %v", err)
	}
	if _, err := plain.LoadWebhooks(ctx); err == nil || !strings.HasSuffix(err.Error(), "outbox.key_file is not set: set it to the file with this key") {
		t.Errorf("without a key: %v", err)
	}
	err = leads(plain).NewMirror(nil).EachRow(ctx, hooks, func(cdc.Key, cdc.Row) error { return nil })
	if err == nil || !strings.HasPrefix(err.Error(), "mirrored row 1-0 of hooks is encrypted with key ") {
		t.Errorf("the mirror without a key: %v", err)
	}
	if ids := slices.Sorted(maps.Keys(want)); len(ids) != 6 {
		t.Errorf("webhooks %v", ids)
	}
}
