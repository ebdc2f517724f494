package integration_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/iam-relay/iam-relay/integration/cluster"
	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// modelStep is one thing that happens. Choice decides what a step leaves open, in a way that depends on nothing but the steps
// before it.
type modelStep struct {
	Kind    string
	Session int
	Choice  int
}

// modelKinds are what can happen, the frequent ones more often.
var modelKinds = slices.Concat(
	slices.Repeat([]string{"act"}, 100), slices.Repeat([]string{"commit"}, 30), slices.Repeat([]string{"savepoint"}, 12), slices.Repeat([]string{"rollback"}, 4),
	slices.Repeat([]string{"endpoint"}, 8), slices.Repeat([]string{"arrivals"}, 8), slices.Repeat([]string{"kill"}, 3), slices.Repeat([]string{"launch"}, 5),
	[]string{"stop", "walsender", "walsender", "sessions", "server"},
)

// modelSteps spreads what rapid draws, which prefers small numbers, evenly over what can happen. Nothing is what a step that
// does not matter shrinks to.
var modelSteps = rapid.SliceOfN(rapid.Map(rapid.Uint64(), func(drawn uint64) modelStep {
	if drawn == 0 {
		return modelStep{Kind: "nothing"}
	}
	random := rand.New(rand.NewPCG(drawn, 0))
	return modelStep{Kind: modelKinds[random.IntN(len(modelKinds))], Session: random.IntN(2), Choice: random.IntN(10000)}
}), 150, 400)

// Whatever happens to the IAM's rows, to relays, endpoints, connections and the server: when all is well again, the events that
// the model knows have arrived, and no others.
//
// IAM_RELAY_TEST_MODEL_STEPS asks for so many steps in all, however long they take (100 runs at most, or as many as
// -rapid.checks says); CONTRIBUTING.md says how to repeat a failure.
func TestModel_RandomHistoriesAndFaults(t *testing.T) {
	t.Parallel()
	steps, limited := stepBudget(t, modelVariable, 5000)
	server := newServer(t)
	began, done, runs, failed := time.Now(), 0, 0, false
	rapid.Check(t, func(rt *rapid.T) {
		plan := modelSteps.Draw(rt, "steps")
		if !failed && (done >= steps || (limited && time.Since(began) > strength(30*time.Second, 30*time.Second, 12*time.Second))) {
			return
		}
		runs, done = runs+1, done+len(plan)
		defer func() { failed = failed || rt.Failed() }()
		m := newModelRun(run{t, rt}, server)
		for _, step := range plan {
			m.step(step)
		}
		m.heal()
		m.judge()
	})
	t.Logf("%d steps in %d runs", done, runs)
}

// modelCommit is a transaction that is to make events.
type modelCommit struct {
	realm  string
	events []modelEvent
}

// modelRun is one history: a database, its relays and their endpoints, and what must come of it.
type modelRun struct {
	t        run
	w        *world
	server   *cluster.Cluster
	cfg      *config
	paths    map[string]string // of the receiver, with the realm whose events it gets; empty for all
	relays   [2]*process       // nil where none runs
	sessions [2]*modelSession
	named    int
	// commits are all that were committed, in their order.
	commits []modelCommit
}

func newModelRun(t run, server *cluster.Cluster) *modelRun {
	w := inhabit(t, temporaryDatabase(t, server, fmt.Sprint("model_", worlds.Load())))
	m := &modelRun{t: t, w: w, server: server, paths: map[string]string{"/none": "", "/resource": "", "/strict": ""}}
	other, err := w.iam.CreateRealm(t.Context(), "other", "Other")
	if err != nil {
		t.Fatal(err)
	}
	for i, realm := range []ferriskey.Realm{w.acme, other} {
		m.sessions[i] = &modelSession{m: m, realm: realm, conn: m.connect(), committed: emptyRealm()}
		path := "/of-" + realm.Name
		m.paths[path] = realm.ID
		w.subscribeIn(realm, path, modelEvents...)
	}
	m.cfg = w.config().set("delivery.queue", 20).set("delivery.schedule", hastily()).set("delivery.timeout", "1s").set("delivery.connect_timeout", "1s").set("source.memory_limit", "64KiB").
		set("delivery.pause", "100ms").set("delivery.pause_max", "200ms").
		webhook(w.hook, "/none").
		webhook(w.hook, "/resource", map[string]any{"ordering": "resource"}).
		webhook(w.hook, "/strict", map[string]any{"ordering": "strict"})
	m.relays[0] = start(t, m.cfg)
	return m
}

// modelEvents are the events that the model knows: the realms' own webhooks subscribe to these.
var modelEvents = []string{
	"user.created", "user.updated", "user.email_verified", "user.deleted", "user.bulk_deleted", "user.role.assigned", "user.role.unassigned",
	"role.created", "role.updated", "role.permission.updated", "role.deleted", "client.role.created", "client.role.updated",
	"client.created", "client.updated", "client.deleted", "client.maintenance.enabled", "client.maintenance.disabled",
	"redirect_uri.created", "redirect_uri.updated", "redirect_uri.deleted",
}

func (m *modelRun) connect() *pgx.Conn {
	conn, err := pgx.Connect(m.t.Context(), m.w.url)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func (m *modelRun) step(step modelStep) {
	m.t.Helper()
	s := m.sessions[step.Session]
	switch step.Kind {
	case "nothing":
	case "act":
		s.begin()
		acts[step.Choice%len(acts)](s, step.Choice/len(acts))
	case "savepoint":
		s.savepoint(step.Choice)
	case "commit":
		s.commit()
	case "rollback":
		s.rollback()
	default:
		m.fault(step.Kind, step.Session, step.Choice)
	}
}

// heal ends what is open and repairs what is broken.
func (m *modelRun) heal() {
	m.t.Helper()
	for _, s := range m.sessions {
		s.commit()
	}
	m.w.hook.Respond(wellBehaved)
	if m.relays[0] == nil && m.relays[1] == nil {
		m.launch(0)
	}
	eventually(m.t, "the relays have begun", func() (bool, error) {
		for which := range m.relays {
			if p := m.running(which); p != nil && !p.hasBegun() {
				return false, nil
			}
		}
		return true, nil
	})
}
