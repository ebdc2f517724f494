package ingest

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// simulation is ingestion in virtual time: real Ingesters and a real mapping, an IAM and an outbox in memory.
type simulation struct {
	rules    *mapping.Rules
	tables   []*cdc.Table
	iam      *simIAM
	outbox   *simOutbox
	judge    *simJudge
	sessions []*simSession // the last one leads
	limits   simLimits
	dir      string
	seed     uint64
}

// simLimits are the limits of memory, which must not matter.
type simLimits struct {
	limits
	mirror    outbox.MirrorLimits
	spill     int
	batchRows int
}

var (
	simDefaultLimits = simLimits{limits: defaultLimits, mirror: outbox.DefaultMirrorLimits, batchRows: 1000}
	simTinyLimits    = simLimits{
		limits: limits{commitBytes: 3000, largeChunk: 3, largeBytes: 1000, pageRows: 2, pageBytes: 500, releaseChunk: 1},
		mirror: outbox.MirrorLimits{Cache: 2000, Batch: 2000}, spill: 2000, batchRows: 7,
	}
)

func newSimulation(rules *mapping.Rules, catalog simCatalog, l simLimits, seed uint64, dir string) *simulation {
	iam := newSimIAM(catalog)
	j := &simJudge{iam: iam, seen: map[string]bool{}}
	o := &simOutbox{state: newSimState(), limits: l.mirror, judge: j}
	o.state.position.LSN = iam.lsn
	return &simulation{rules: rules, tables: rules.Tables(), iam: iam, outbox: o, judge: j, limits: l, dir: dir, seed: seed}
}

// step is one thing that happens. What a and b mean depends on it.
type step struct {
	Do   string
	A, B int
}

func (s step) String() string { return fmt.Sprintf("{%q, %d, %d}", s.Do, s.A, s.B) }

var simWaits = []time.Duration{
	time.Millisecond, time.Second, 3 * time.Second, 6 * time.Second, time.Minute, time.Hour, 24 * time.Hour, 365 * 24 * time.Hour,
}

func (s *simulation) do(n int, st step) error {
	random := rand.New(rand.NewPCG(s.seed, uint64(n)))
	switch st.Do {
	case "commit":
		s.commit(st.A%8, random)
	case "burst":
		for range 1 + st.B%10 {
			s.commit(st.A%8, random)
		}
	case "large":
		s.commit(2*st.A, random)
	case "wait": // of the IAM's clock; this machine's clock runs for ten minutes at most
		wait := simWaits[st.A%len(simWaits)]
		s.setClock(wait)
		time.Sleep(min(wait, 10*time.Minute))
	case "clock": // of the IAM is set back
		if err := s.settle(); err != nil {
			return err
		}
		s.setClock(-time.Duration(st.A) * time.Minute)
	case "trouble":
		s.outbox.arm(1+simTrouble(st.A)%(troubles-1), st.B%20)
	case "usurp": // the former leader has not noticed yet
		s.start(false)
	case "stop":
		s.stop()
	case "reconcile":
		s.stop()
		s.start(true)
	case "lose":
		return s.lose(st.A%6, random)
	case "notice":
		if ids := slices.Sorted(maps.Keys(s.outbox.state.webhooks)); len(ids) > 0 {
			s.outbox.notice(ids[st.A%len(ids)])
		}
	}
	return s.proceed()
}

func (s *simulation) commit(statements int, random *rand.Rand) {
	s.outbox.mu.Lock()
	s.iam.now = s.iam.now.Add(time.Duration(random.IntN(1000)) * time.Millisecond)
	s.iam.commit(statements, random)
	s.outbox.mu.Unlock()
	for _, session := range s.sessions {
		select {
		case session.stream.wake <- struct{}{}:
		default:
		}
	}
}

func (s *simulation) setClock(by time.Duration) {
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	s.iam.now = s.iam.now.Add(by)
}

// stop ends all sessions as SIGTERM does.
func (s *simulation) stop() {
	for _, session := range s.sessions {
		session.cancel()
		<-session.ended
	}
}

// lose loses the slot while no relay runs and the IAM goes on: the WAL since the position is gone.
func (s *simulation) lose(transactions int, random *rand.Rand) error {
	if err := s.settle(); err != nil {
		return err
	}
	s.stop()
	for range transactions {
		s.commit(random.IntN(30), random)
	}
	o := s.outbox
	o.mu.Lock()
	s.iam.lsn += 10
	gap := &simTransaction{commit: s.iam.lsn - 1, end: s.iam.lsn, at: s.iam.now, after: s.iam.rows, before: s.iam.rows, reconciled: true}
	for i, tx := range s.iam.wal {
		if tx.end > o.state.position.LSN {
			gap.before = tx.before
			s.iam.wal = s.iam.wal[:i]
			break
		}
	}
	s.iam.wal = append(s.iam.wal, gap)
	o.mu.Unlock()
	return s.settle()
}

// proceed waits until nothing moves, judges, and lets another relay take over if the leader has ended.
func (s *simulation) proceed() error {
	for {
		synctest.Wait()
		running := s.sessions[:0]
		for _, session := range s.sessions {
			select {
			case <-session.ended:
				if session.err != nil && !errors.Is(session.err, errLost) && !errors.Is(session.err, outbox.ErrFenced) {
					return fmt.Errorf("a session has ended: %w", session.err)
				}
			default:
				running = append(running, session)
			}
		}
		s.sessions = running
		s.outbox.mu.Lock()
		faults, epoch := s.judge.faults, s.outbox.epoch
		s.outbox.mu.Unlock()
		if len(faults) > 0 {
			return errors.New(strings.Join(faults, "\n"))
		}
		if len(running) > 0 && running[len(running)-1].leader.epoch == epoch {
			return nil
		}
		s.start(false)
	}
}

// settle waits until the outbox has everything, and all delayed events are released.
func (s *simulation) settle() error {
	s.outbox.arm(noTrouble, 0)
	s.setClock(10 * time.Second)
	for range 100 {
		if err := s.proceed(); err != nil {
			return err
		}
		s.outbox.mu.Lock()
		done := s.outbox.state.position.LSN == s.iam.lsn && len(s.judge.delayed) == 0 && len(s.outbox.state.notices) == 0
		s.outbox.mu.Unlock()
		if done {
			return nil
		}
		time.Sleep(5 * time.Second)
	}
	return fmt.Errorf("the outbox stays at %s, the IAM is at %s; %d delayed events", s.outbox.state.position.LSN, s.iam.lsn, len(s.judge.delayed))
}

// simResult is what must not depend on the limits of memory.
type simResult struct {
	Events []outbox.Event
	Mirror map[outbox.StoredKey]string
}

func (s *simulation) result() simResult {
	r := simResult{Mirror: map[outbox.StoredKey]string{}}
	state := s.outbox.state
	for _, e := range state.events {
		if strings.HasPrefix(e.Name, "endpoint.") {
			continue // they come when a timer fires
		}
		e.ID, e.Webhooks = 0, nil // the judge has compared them with the subscriptions
		r.Events = append(r.Events, e)
	}
	for key, row := range state.mirror {
		r.Mirror[key] = string(row.Fields)
	}
	return r
}

// run makes a simulation of the steps, in a bubble of virtual time.
func run(t *testing.T, l simLimits, seed uint64, steps []step) (result simResult, failed error) {
	rules, catalog := loadSimMapping(t)
	synctest.Test(t, func(t *testing.T) {
		s := newSimulation(rules, catalog, l, seed, t.TempDir())
		defer s.stop()
		for n, st := range append([]step{{Do: "commit", A: 5}}, steps...) {
			if err := s.do(n, st); err != nil {
				failed = fmt.Errorf("step %d (%s): %w", n, st, err)
				return
			}
		}
		if err := s.settle(); err != nil {
			failed = fmt.Errorf("in the end: %w", err)
		}
		s.stop()
		result = s.result()
	})
	return result, failed
}

// runTwice makes the simulation with all memory, and with very little of it, and compares the results.
func runTwice(t *testing.T, seed uint64, steps []step) error {
	result, err := run(t, simDefaultLimits, seed, steps)
	if err != nil {
		return fmt.Errorf("with the default limits: %w", err)
	}
	tiny, err := run(t, simTinyLimits, seed, steps)
	if err != nil {
		return fmt.Errorf("with tiny limits: %w", err)
	}
	if diff := cmp.Diff(result, tiny); diff != "" {
		return fmt.Errorf("the result depends on the limits of memory (-default +tiny):\n%s", diff)
	}
	return nil
}

// Random histories of transactions, failures, leaders and clocks: each transaction's events enter the outbox exactly once, in commit order,
// with mirror, subscriptions and position.
func TestSimulation_RandomHistories(t *testing.T) {
	// With -rapid.checks there are as many as it says.
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := checks.Value.Set("30"); err != nil {
			t.Fatal(err)
		}
	}
	kinds := []string{
		"commit", "commit", "commit", "commit", "burst", "burst", "large", "large", "wait", "wait", "wait",
		"trouble", "trouble", "trouble", "usurp", "stop", "reconcile", "lose", "clock", "notice",
	}
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{Do: rapid.SampledFrom(kinds).Draw(rt, "do"), A: rapid.IntRange(0, 100).Draw(rt, "a"), B: rapid.IntRange(0, 100).Draw(rt, "b")}
		}), 5, 60).Draw(rt, "steps")
		if err := runTwice(t, rapid.Uint64().Draw(rt, "seed"), steps); err != nil {
			rt.Fatal(err)
		}
	})
}

// Histories that have failed once.
func TestSimulation_KnownHistories(t *testing.T) {
	for name, history := range map[string]struct {
		seed  uint64
		steps []step
	}{
		// A webhook whose rows did not fit into memory together stopped ingestion.
		"webhooks larger than a batch": {0x84010fbbdfff, []step{{"lose", 1, 0}, {"commit", 0, 0}, {"commit", 4, 0}}},
		// While this machine's clock was behind the IAM's, the timer of delayed events was postponed again and again.
		"delayed event, and a clock that is behind": {0x28ea9, []step{
			{"commit", 0, 0}, {"commit", 1, 0}, {"commit", 0, 0}, {"commit", 7, 0}, {"burst", 0, 0}, {"commit", 5, 0},
		}},
	} {
		if err := runTwice(t, history.seed, history.steps); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
