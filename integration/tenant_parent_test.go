package integration_test

import (
	"slices"
	"testing"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
	"github.com/iam-relay/iam-relay/integration/receiver"
)

// parentMapping makes webhooks belong to their realm through a client.
const parentMapping = `
[tables.webhooks]
parents = { client = "clients" }
tenant  = "client"
`

// A webhook whose tenant changes because a row between it and the tenant moves is sent nothing that it was owed of the former
// tenant; no row of the webhook itself changes.
func TestTenantMove_ThroughAParent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`ALTER TABLE webhooks ADD COLUMN client uuid REFERENCES clients`)
	globex, err := w.iam.CreateRealm(t.Context(), "globex", "Globex")
	if err != nil {
		t.Fatal(err)
	}
	client := ferriskey.NewID()
	w.exec(`INSERT INTO clients (id, realm_id, name, client_id, protocol, client_type) VALUES ($1, $2, 'app', 'app', 'openid-connect', 'confidential')`, client, w.acme.ID)
	hook, secret := w.subscribe("/moved", "user.created")
	w.exec(`UPDATE webhooks SET client = $2 WHERE id = $1`, hook, client)
	cfg := w.config().set("mapping.file", mappingFile(t, parentMapping)).set("mapping.preset", "").
		set("delivery.schedule", slices.Repeat([]string{"300ms"}, 200)).set("delivery.pause_after", 10000).
		webhook(w.hook, "/control", map[string]any{"events": []string{"user.created"}})
	cfg.secrets = append(cfg.secrets, secret)
	w.hook.Respond(func(d *receiver.Delivery) receiver.Response {
		if d.Tenant == w.acme.ID {
			return receiver.Response{Status: 500}
		}
		return receiver.Response{}
	})
	start(t, cfg)
	var former, second account
	w.createUser(&former, 1)
	w.until("the webhook is owed an event of its realm", `SELECT count(*) = 2 FROM relay.retry`)

	w.exec(`UPDATE clients SET realm_id = $2 WHERE id = $1`, client, globex.ID)
	user, err := w.iam.CreateUser(t.Context(), globex.ID, ferriskey.User{Username: "first of globex", Enabled: true})
	if err != nil {
		t.Fatal(err)
	}
	second.add(expect("user.created", user, globex.ID))
	second.arrives(t, w.hook, "/moved")
	w.until("the former realm's webhook has ended", `SELECT count(*) FILTER (WHERE tenant = $1 AND NOT enabled AND removed_after IS NOT NULL) = 1
		AND count(*) FILTER (WHERE tenant = $2 AND enabled) = 1 FROM relay.webhook WHERE origin = 'iam'`, w.acme.ID, globex.ID)
	attempts := func(s *receiver.Snapshot, path string) (n int) {
		for i := range s.Deliveries {
			if d := &s.Deliveries[i]; d.Path == path && d.Tenant == w.acme.ID {
				n++
			}
		}
		return n
	}
	s := w.hook.Snapshot()
	before := s
	s, err = w.hook.Wait(within(t), func(s *receiver.Snapshot) bool { return attempts(s, "/control") >= attempts(&before, "/control")+10 })
	if err != nil {
		t.Fatal(err)
	}
	// The attempt that was on its way when the realm's webhook ended may still arrive.
	if n := attempts(&s, "/moved") - attempts(&before, "/moved"); n > 1 {
		t.Errorf("the webhook was sent %d events of the realm that it does not belong to any more", n)
	}
}
