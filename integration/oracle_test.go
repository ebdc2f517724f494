package integration_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"pgregory.net/rapid"

	"github.com/iam-relay/iam-relay/integration/cluster"
	"github.com/iam-relay/iam-relay/integration/receiver"
	"github.com/iam-relay/iam-relay/integration/wire"
)

// oracleStep is one thing that happens. Choice decides what a step leaves open, in a way that depends on nothing but the steps
// before it.
type oracleStep struct {
	Kind            string
	Session, Choice int
}

// oracleKinds are what can happen, the frequent ones more often.
var oracleKinds = slices.Concat(
	slices.Repeat([]string{"act"}, 110), slices.Repeat([]string{"commit"}, 34), slices.Repeat([]string{"savepoint"}, 8), slices.Repeat([]string{"rollback"}, 4),
	slices.Repeat([]string{"together"}, 3), slices.Repeat([]string{"endpoint"}, 6), slices.Repeat([]string{"arrivals"}, 6), slices.Repeat([]string{"launch"}, 5),
	slices.Repeat([]string{"kill"}, 3), slices.Repeat([]string{"migrate"}, 7), slices.Repeat([]string{"clock"}, 4), slices.Repeat([]string{"configure"}, 2),
	slices.Repeat([]string{"operate"}, 2), slices.Repeat([]string{"repair"}, 3), slices.Repeat([]string{"thaw"}, 2), slices.Repeat([]string{"sender"}, 2),
	[]string{"stop", "freeze", "sessions", "server", "server", "network", "network", "pause", "pause"},
)

// oracleSteps spreads what rapid draws, which prefers small numbers, evenly over what can happen. Nothing is what a step that
// does not matter shrinks to.
var oracleSteps = rapid.SliceOfN(rapid.Map(rapid.Uint64(), func(drawn uint64) oracleStep {
	if drawn == 0 {
		return oracleStep{Kind: "nothing"}
	}
	random := rand.New(rand.NewPCG(drawn, 0))
	return oracleStep{Kind: oracleKinds[random.IntN(len(oracleKinds))], Session: random.IntN(oracleSessions), Choice: random.IntN(100000)}
}), 80, 240)

// oracleVariable asks for so many steps in all, however long they take (100 runs at most, or as many as -rapid.checks says), and for
// relays whose own clock is set as well, which takes a build of Go's library.
const oracleVariable = "IAM_RELAY_TEST_ORACLE_STEPS"

// An oracle keeps its own record of what was committed, statement by statement, and judges what receivers really got: whatever
// happens to rows, webhooks, tenants, the schema, relays, servers, networks, endpoints and clocks, every event arrives at every
// webhook that its tenant had at the commit, and at no other.
func TestOracle_RandomHistories(t *testing.T) {
	t.Parallel()
	steps, limited := stepBudget(t, oracleVariable, 600)
	servers := newOracleServers(t, !limited)
	began, total, failed := time.Now(), oracleTotal{}, false
	rapid.Check(t, func(rt *rapid.T) {
		plan := oracleSteps.Draw(rt, "steps")
		setting := rapid.IntRange(0, 5).Draw(rt, "setting")
		if !failed && (total.steps >= steps || limited && time.Since(began) > strength(20*time.Second, 20*time.Second, 12*time.Second)) {
			return
		}
		defer func() { failed = failed || rt.Failed() }()
		total.steps += len(plan)
		total.runs++
		o := newOracle(run{t, rt}, servers, setting)
		defer func() { total.add(o) }()
		o.follow(plan)
		if os.Getenv(oracleVariable) != "" {
			t.Logf("%s: %s", time.Since(began).Round(time.Second), total)
		}
	})
	t.Logf("%s", total)
}

// oracleTotal is what was done and found.
type oracleTotal struct{ steps, runs, commits, events, requests, lost, wrongTenant, falseEvents, disordered int }

func (n *oracleTotal) add(o *oracle) {
	n.commits, n.events, n.requests = n.commits+len(o.commits), n.events+len(o.deliveries.ids), n.requests+o.deliveries.taken
	n.lost, n.wrongTenant, n.falseEvents, n.disordered = n.lost+o.lost, n.wrongTenant+o.wrongTenant, n.falseEvents+o.falseEvents, n.disordered+o.disordered
}

func (n oracleTotal) String() string {
	return fmt.Sprintf("%d steps in %d runs: %d commits, %d events, %d requests; lost %d, wrong tenant %d, false %d, disordered %d",
		n.steps, n.runs, n.commits, n.events, n.requests, n.lost, n.wrongTenant, n.falseEvents, n.disordered)
}

// oracleServers are shared by all runs.
type oracleServers struct {
	source, outbox *cluster.Cluster
	program        string // the relay
	relay, server  *clockSetting
}

// clockSetting is a clock and by how much it is wrong.
type clockSetting struct {
	set     func(t testing.TB, by time.Duration)
	off     time.Duration
	forward bool // never set back
}

// oracle is one history: an IAM, what was done to it, and what must come of it.
type oracle struct {
	t              run
	source, outbox *cluster.Cluster
	url            string
	db             *pgxpool.Pool
	name           string // of slot, publication and outbox schema
	hook           *receiver.Receiver
	cfg            *config
	file, program  string
	wires          []*wire.Wire
	clocks         []*clockSetting

	relays   [2]*process // nil where none runs
	launched [2]time.Time
	frozen   [2]bool
	mayExit  bool

	named    int
	sessions [oracleSessions + 1]*oracleSession
	owner    map[string]int    // session by org
	retired  map[int][]string  // keys of deleted webhooks by session
	alias    map[string]string // what tables are called meanwhile
	state    oracleState       // committed
	badges   bool              // there is a table of them
	noteless bool              // there is no column of notes
	commits  []oracleCommit
	known    map[oracleEvent][]int // commits
	settled  int                   // all up to this commit have arrived
	gap      *oracleGap            // that lasts
	gaps     []*oracleGap

	lines                        []*oracleLine
	hooks                        map[string]*oracleLine // of the IAM, by key
	everything, made, configured []*oracleLine
	turning, ending              []*oracleLine
	disabled                     []string

	deliveries                                 oracleDeliveries
	lost, wrongTenant, falseEvents, disordered int
}

var oracles atomic.Int64

// newOracle makes a history. Its outbox is in the IAM's database, in another one, or on another server.
func newOracle(t run, servers *oracleServers, setting int) *oracle {
	t.Helper()
	o := &oracle{
		t: t, source: servers.source, outbox: servers.source, program: servers.program, name: fmt.Sprintf("oracle_%d", oracles.Add(1)), hook: startReceiver(t),
		owner: map[string]int{}, retired: map[int][]string{}, alias: map[string]string{}, state: emptyOracleState(), known: map[oracleEvent][]int{}, hooks: map[string]*oracleLine{},
		deliveries: newOracleDeliveries(),
	}
	o.url = temporaryDatabase(o.t, o.source, o.name)
	o.db = connect(t, o.url)
	outbox := o.url
	switch setting % 3 {
	case 1:
		outbox = temporaryDatabase(o.t, o.source, o.name+"_outbox")
	case 2:
		o.outbox = servers.outbox
		outbox = temporaryDatabase(o.t, o.outbox, o.name+"_outbox")
	}
	o.setClocks(servers)
	through, ways := []string{o.url, outbox}, []string{}
	for _, straight := range through {
		w, way := lead(t, straight)
		o.wires, ways = append(o.wires, w), append(ways, way)
	}
	o.exec(oracleSchema)
	if o.badges = setting < 3; o.badges {
		o.exec(oracleBadges)
	}
	for i := range o.sessions {
		o.sessions[i] = &oracleSession{o: o, n: i, conn: o.connect()}
	}
	for i := range 2 * oracleSessions {
		id := o.next("org")
		o.owner[id], o.state["orgs"][id] = i%oracleSessions, oracleRow{"id": id, "title": id}
		o.exec(`INSERT INTO orgs VALUES ($1, $1)`, id)
	}
	o.configuration(ways[0], ways[1])
	o.relays[0] = launchProgram(t, o.program, o.file, o.cfg.secrets)
	o.relays[0].waitFor(within(t), "streaming the WAL")
	o.populate()
	return o
}

// populate gives each session rows to work on.
func (o *oracle) populate() {
	for n, s := range o.sessions[:oracleSessions] {
		s.begin()
		for i := range 4 {
			s.createPerson(n + i)
			s.createTeam(i)
			s.addMember(i)
			s.giveBadge(i)
		}
		s.addHook(2*n + 1)
		s.addHook(2*n + 3)
		s.commit()
	}
}

func (o *oracle) configuration(source, outbox string) {
	o.t.Helper()
	mapping := filepath.Join(o.t.TempDir(), "oracle.toml")
	if err := os.WriteFile(mapping, []byte(oracleMapping+oracleEvents()), 0o600); err != nil {
		o.t.Fatal(err)
	}
	o.cfg = (&config{values: map[string]any{}}).set("source.url", source).set("source.slot", o.name).set("source.publication", o.name).set("source.memory_limit", "64KiB").
		set("outbox.url", outbox).set("outbox.schema", o.name).set("mapping.preset", "").set("mapping.file", mapping).
		set("admin.listen", "127.0.0.1:0").set("log.level", "debug").
		set("delivery.allow_http", true).set("delivery.allow_networks", []string{"127.0.0.0/8"}).set("delivery.queue", 20).set("delivery.schedule", hastily()).
		set("delivery.timeout", "1s").set("delivery.connect_timeout", "1s").set("delivery.pause", "100ms").set("delivery.pause_max", "200ms")
	for _, ordering := range []string{"", "resource", "strict"} {
		l := o.subscribe("config:all"+ordering, everyTenant, "/all"+ordering, o.secret(), "*", 0, 0)
		l.ordering = ordering
		o.everything = append(o.everything, l)
	}
	o.writeConfiguration()
}

// setClocks sets all clocks right, and says which of them are to be wrong.
func (o *oracle) setClocks(servers *oracleServers) {
	for _, c := range []*clockSetting{servers.relay, servers.server} {
		if c != nil {
			c.off = 0
			c.set(o.t, 0)
			c.forward = c == servers.server && o.outbox == o.source
			o.clocks = append(o.clocks, c)
		}
	}
}

// next is a name that nothing else has.
func (o *oracle) next(kind string) string {
	o.named++
	return fmt.Sprint(kind, o.named)
}

// exec runs a statement of the IAM's owner.
func (o *oracle) exec(sql string, arguments ...any) {
	o.t.Helper()
	if _, err := o.db.Exec(within(o.t), sql, arguments...); err != nil {
		o.t.Fatalf("%s: %v", sql, err)
	}
}

// committed takes what a transaction has done.
func (o *oracle) committed(before, after oracleState) {
	commit, c := len(o.commits)+1, oracleCommit{gap: o.gap}
	if o.gap != nil {
		o.gap.note(o, before, after, commit)
	} else {
		c.events = oracleBetween(before, after)
	}
	for _, e := range c.events {
		o.known[e] = append(o.known[e], commit)
	}
	o.commits = append(o.commits, c)
	for table, rows := range o.state {
		for key := range before[table] {
			delete(rows, key)
		}
		maps.Copy(rows, after[table])
	}
	o.followHooks(before["hooks"], after["hooks"], commit)
}

// follow does what a plan says, lets everything become well, and judges.
func (o *oracle) follow(plan []oracleStep) {
	o.t.Helper()
	for i, step := range plan {
		o.t.trace("%d: %s %d %d", i, step.Kind, step.Session, step.Choice)
		o.step(step)
	}
	o.close()
	o.healthy()
	o.enable()
	s := o.sessions[administrator]
	for _, org := range oracleKeys(o.state["orgs"]) {
		s.begin()
		s.insertTeam(org)
	}
	s.commit()
	o.settle()
	o.judge()
	o.stopAll()
}

func (o *oracle) step(step oracleStep) {
	o.t.Helper()
	s := o.sessions[step.Session]
	switch step.Kind {
	case "nothing":
	case "act":
		s.act(step.Choice)
	case "savepoint":
		s.savepoint(step.Choice)
	case "commit":
		s.commit()
	case "rollback":
		s.rollback()
	case "together":
		o.close()
	case "migrate":
		o.migrate(step.Choice)
	case "operate":
		o.enable()
		o.operate(step.Choice)
	case "configure":
		o.configure(step.Choice)
	case "pause":
		o.pauseHook(step.Choice)
	default:
		do := oracleFaults[step.Kind]
		if do == nil {
			o.t.Fatalf("no such step: %s", strings.TrimSpace(step.Kind))
		}
		do(o, step.Choice)
	}
}
