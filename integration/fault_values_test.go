package integration_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
	"github.com/iam-relay/iam-relay/integration/receiver"
)

// awkward are texts that have broken others: escapes of JSON, of COPY and of PostgreSQL's arrays, what looks like JSON and is
// none, what looks like null, every control character that PostgreSQL takes, and what scripts stumble over.
func awkward() []string {
	var control strings.Builder
	for c := rune(1); c < 0x20; c++ {
		control.WriteRune(c)
	}
	return []string{
		"", " ", "null", "NULL", `\N`, `\.`, "NaN", `\u0000`, `\x00`, `\\`, `"`, `'`, `''`, `{"a":`, `{"a":1}`, `[1,2`, `{}`, `{"\u0000":"\ud800"}`,
		control.String(), "\x7f\u0080\u009f", "\u2028\u2029\ufeff\ufffd\uffff", "é̀ \U0001F600\U0010FFFF", "</script><!--", "%s%n%v{{.}}", "a\tb\nc\r\nd",
	}
}

// What is at the limits of a value arrives as it was stored: megabytes that the WAL leaves out of later changes, and texts
// that are escaped on their way.
func TestFault_Values(t *testing.T) {
	t.Parallel()
	tr := newOwnWorld(t).try("source: values at the limits: megabytes out of line, unchanged and changed; escapes; broken JSON in text")
	tr.cfg.set("delivery.max_payload", "64MiB").set("delivery.timeout", "15s")
	p := tr.start()
	tr.begin()
	texts := awkward()
	for _, size := range []int{2 << 10, 64 << 10, strength(3, 3, 1) << 20} {
		noise := make([]byte, size)
		for i := range noise {
			noise[i] = 'a' + byte(rand.IntN(26)) // does not shrink to fit into the row
		}
		texts = append(texts, string(noise), strings.Repeat("\\\"\n", size/3))
	}
	stored := map[string]string{}
	n := 0
	tr.inject(strength(5, 1, 1), func() {
		for _, text := range texts {
			n++
			role := ferriskey.NewID()
			stored[role] = text
			tr.exec(`INSERT INTO roles (id, realm_id, name, description) VALUES ($1, $2, $3, $4)`, role, tr.acme.ID, fmt.Sprintf("role-%d", n), text)
			tr.exec(`UPDATE roles SET name = name || '-renamed' WHERE id = $1`, role) // the WAL leaves out what is out of line
			tr.load.add(expect("role.created", role, tr.acme.ID), expect("role.updated", role, tr.acme.ID))
		}
	})
	tr.end(p)
	s := tr.hook.Snapshot()
	for _, d := range arrived(&s, all) {
		if want, ok := stored[d.Resource]; ok {
			if got := description(t, &d); got != want {
				t.Errorf("%s: %.60q of %d bytes has arrived as %.60q of %d", d.Event, want, len(want), got, len(got))
			}
		}
	}
}

// description is the text in a role's event.
func description(t *testing.T, d *receiver.Delivery) string {
	t.Helper()
	var payload struct {
		Data struct {
			Description *string `json:"description"`
		} `json:"data"`
	}
	if err := json.Unmarshal(d.Body, &payload); err != nil {
		t.Fatal(err)
	}
	if payload.Data.Description == nil {
		return "no description"
	}
	return *payload.Data.Description
}
