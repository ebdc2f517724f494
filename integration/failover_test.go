package integration_test

import (
	"fmt"
	"testing"

	"github.com/iam-relay/iam-relay/integration/cluster"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// pair is a primary with a standby; the outbox is on another server, so that it survives both.
type pair struct {
	*world
	primary, standby *cluster.Cluster
	outbox           string
	cfg              *config
}

func newPair(t *testing.T) *pair {
	t.Helper()
	primary := newServer(t)
	p := &pair{world: inhabit(t, primary.URL("postgres")), primary: primary, outbox: clustertest.Database(t)}
	var err error
	if p.standby, err = primary.Standby(within(t), cluster.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.standby.Close(); err != nil {
			t.Error(err)
		}
	})
	both := fmt.Sprintf("postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/postgres?sslmode=disable&target_session_attrs=read-write", primary.Port(), p.standby.Port())
	p.cfg = p.config().webhook(p.hook, "/all").set("source.url", both).set("outbox.url", p.outbox)
	p.db.Reset() // making the standby has restarted the primary
	return p
}

// slots reports whether the standby has the primary's slots.
func (p *pair) slots() bool { return p.primary.Major >= 17 }

// synchronise waits until the standby has everything, and the slot where there is such a thing.
func (p *pair) synchronise() {
	p.t.Helper()
	ctx := within(p.t)
	if p.slots() {
		if err := p.standby.SyncSlot(ctx, p.primary, p.name); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := p.standby.CatchUp(ctx, p.primary); err != nil {
		p.t.Fatal(err)
	}
}

// failOver has the primary die, and the standby take its place.
func (p *pair) failOver(t *testing.T) {
	t.Helper()
	if err := p.primary.Stop("immediate"); err != nil {
		t.Fatal(err)
	}
	p.promote(t)
}

func (p *pair) promote(t *testing.T) {
	t.Helper()
	if err := p.standby.Promote(within(t)); err != nil {
		t.Fatal(err)
	}
	p.url = p.standby.URL("postgres")
	p.db = connect(t, p.url)
	p.iam = ferriskey.New(p.db)
}

// What the standby has, and the relay had not read, arrives after the promotion: from the WAL, where the standby has the
// slot (PostgreSQL 17 and newer), else by a comparison.
func TestFailover_StreamingGoesOn(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	relay := start(t, p.cfg)
	var a account
	p.createUser(&a, 1)
	a.arrives(t, p.hook, "/all")
	p.synchronise()
	relay.stop()
	p.createUser(&a, 2)
	if err := p.standby.CatchUp(within(t), p.primary); err != nil {
		t.Fatal(err)
	}
	p.failOver(t)
	p.createUser(&a, 3)
	relay = start(t, p.cfg)
	got := a.arrives(t, p.hook, "/all")
	reconciled, _ := reconciledOf(got)
	if want := map[bool]int{true: 0, false: 2}[p.slots()]; len(reconciled) != want {
		t.Errorf("%d events are marked as reconciled, want %d", len(reconciled), want)
	}
	p.createUser(&a, 4)
	a.arrives(t, p.hook, "/all")
	relay.stop()
	p.auditIn(connect(t, p.outbox))
}

// A relay that runs follows the promotion by itself.
func TestFailover_WhileTheRelayRuns(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	relay := start(t, p.cfg)
	var a account
	p.createUser(&a, 1)
	a.arrives(t, p.hook, "/all")
	p.synchronise()
	p.failOver(t)
	p.createUser(&a, 2)
	a.arrives(t, p.hook, "/all")
	relay.stop()
	p.auditIn(connect(t, p.outbox))
}

// What the relay has emitted, and the promoted standby never had, did not happen: that is emitted, too.
func TestFailover_TheRelayIsAheadOfTheStandby(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	relay := start(t, p.cfg)
	var a account
	p.createUser(&a, 1)
	a.arrives(t, p.hook, "/all")
	p.synchronise()
	if err := p.standby.Stop("fast"); err != nil {
		t.Fatal(err)
	}
	lost := p.createUser(&a, 2)
	a.arrives(t, p.hook, "/all")
	relay.stop()
	if err := p.primary.Stop("immediate"); err != nil {
		t.Fatal(err)
	}
	if err := p.standby.Restart(within(t)); err != nil {
		t.Fatal(err)
	}
	p.promote(t)
	p.createUser(&a, 3)
	a.add(expect("user.deleted", lost, p.acme.ID))
	relay = start(t, p.cfg)
	reconciled, _ := reconciledOf(a.arrives(t, p.hook, "/all"))
	if len(reconciled) != 2 {
		t.Errorf("%d events are marked as reconciled, want 2", len(reconciled))
	}
	p.createUser(&a, 4)
	a.arrives(t, p.hook, "/all")
	relay.stop()
	p.auditIn(connect(t, p.outbox))
}
