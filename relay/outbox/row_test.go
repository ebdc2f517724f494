package outbox

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/iam-relay/iam-relay/cdc"
)

var users = &cdc.Table{Schema: "public", Name: "users", KeyColumns: 1, Columns: []cdc.Column{{Name: "id"}, {Name: `na"me`}, {Name: "email"}}}

// A stored row is the old row of the next change, so it must survive storage unchanged.
func TestRow_RoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		row := make(cdc.Row, len(users.Columns))
		for i := range row {
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0: // absent
			case 1:
				row[i] = cdc.NullValue
			case 2:
				row[i] = cdc.TextValue(rapid.String().Draw(t, "text"))
			}
		}
		got, err := parseRow(users, "7", storedFields(users, "7", row, nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(row, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestRow_IsReadByName(t *testing.T) {
	t.Parallel()
	got, err := parseRow(users, "7", []byte(`{"email":null,"gone":"x","id":"7"}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cdc.Row{cdc.TextValue("7"), {}, cdc.NullValue}, got); diff != "" {
		t.Error(diff)
	}
	if _, err := parseRow(users, "7", []byte(`["7"]`), nil); err == nil {
		t.Error("a row that is no object was read")
	}
}

func TestRowCache_EvictsUnusedRows(t *testing.T) {
	t.Parallel()
	row := cdc.Row{cdc.TextValue("7"), cdc.NullValue, cdc.NullValue}
	c := rowCache{limit: 50 * entryBytes("h", row)}
	hot := rowID{users, "h"}
	c.put(hot, row)
	for i := range 1000 {
		c.put(rowID{users, cdc.Key(rune('0' + i))}, row)
		if _, ok := c.get(hot); !ok {
			t.Fatalf("the row that is asked for all the time was forgotten after %d others", i)
		}
	}
	if n := len(c.young) + len(c.old); n > 102 {
		t.Errorf("the cache holds %d rows, its two generations were to hold some 100", n)
	}
	c.drop(hot)
	if _, ok := c.get(hot); ok {
		t.Error("a dropped row came back")
	}
}
