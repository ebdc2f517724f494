package integration_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
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

// run lets what is written for tests fail one run of the model, so that rapid can tell which, and look for a shorter one.
type run struct {
	testing.TB
	run *rapid.T
}

func (t run) Context() context.Context     { return t.run.Context() }
func (t run) Cleanup(f func())             { t.run.Cleanup(f) }
func (t run) Error(a ...any)               { t.run.Error(a...) }
func (t run) Fatal(a ...any)               { t.run.Fatal(a...) }
func (t run) Fail()                        { t.run.Fail() }
func (t run) FailNow()                     { t.run.FailNow() }
func (t run) Failed() bool                 { return t.run.Failed() }
func (t run) Log(a ...any)                 { t.run.Log(a...) }
func (t run) Logf(format string, a ...any) { t.run.Logf(format, a...) }

func (t run) Errorf(format string, a ...any) {
	t.trace(format, a...)
	t.run.Errorf(format, a...)
}

func (t run) Fatalf(format string, a ...any) {
	t.trace(format, a...)
	t.run.Fatalf(format, a...)
}

// traceVariable shows every step and every failure at once, before rapid has found the shortest history that fails.
const traceVariable = "IAM_RELAY_TEST_TRACE"

func (t run) trace(format string, a ...any) {
	if os.Getenv(traceVariable) != "" {
		t.TB.Logf("%s "+format, append([]any{time.Now().Format("15:04:05.000")}, a...)...)
	}
}

// Whatever happens to the IAM's rows, to relays, endpoints, connections and the server: when all is well again, the events that
// the model knows have arrived, and no others.
//
// IAM_RELAY_TEST_MODEL_STEPS asks for so many steps in all, however long they take (100 runs at most, or as many as
// -rapid.checks says); CONTRIBUTING.md says how to repeat a failure.
func TestModel_RandomHistoriesAndFaults(t *testing.T) {
	t.Parallel()
	steps, limited := modelBudget(t)
	server := newServer(t)
	began, done, runs, failed := time.Now(), 0, 0, false
	rapid.Check(t, func(rt *rapid.T) {
		plan := modelSteps.Draw(rt, "steps")
		if !failed && (done >= steps || (limited && time.Since(began) > 30*time.Second)) {
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

func modelBudget(t *testing.T) (steps int, limited bool) {
	text := os.Getenv("IAM_RELAY_TEST_MODEL_STEPS")
	if text == "" {
		return 5000, true
	}
	steps, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("IAM_RELAY_TEST_MODEL_STEPS: %v", err)
	}
	return steps, false
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
	name := fmt.Sprint("model_", worlds.Load())
	if err := server.CreateDatabase(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.DropDatabase(ctx, name); err != nil {
			t.Error(err)
		}
	})
	w := inhabit(t, server.URL(name))
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

// heal ends what is open and mends what is broken.
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
