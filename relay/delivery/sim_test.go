package delivery

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// simulation is delivery by several relays in virtual time: real dispatchers, an outbox and receivers in memory.
type simulation struct {
	outbox   *simOutbox
	sender   *webhook.Sender // for targets
	relays   []*simRelay
	leader   *simRelay // nil while none leads
	seed     uint64
	crashes  int
	stretch  int // of the relays' periodic work
	lastHook int64
}

// step is one thing that happens. What a and b mean depends on it.
type step struct {
	Do   string
	A, B int
}

func (s step) String() string { return fmt.Sprintf("%s %d %d", s.Do, s.A, s.B) }

var simTenants = []string{"acme", "globex"}

var simWaits = []time.Duration{
	10 * time.Millisecond, time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 24 * time.Hour, 5 * 24 * time.Hour,
}

func (s *simulation) do(st step) error {
	switch st.Do {
	case "commit":
		s.commit(1+st.A%20, st.B)
	case "large":
		s.commit(1+st.A, st.B)
	case "wait":
		time.Sleep(simWaits[st.A%len(simWaits)]) // virtual
	case "behave":
		s.outbox.mu.Lock()
		s.hook(st.A).behavior = behavior(st.B) % behaviors
		s.outbox.mu.Unlock()
	case "webhook":
		s.add(simTenants[st.A%2], []webhook.Ordering{"", "", webhook.OrderingResource, webhook.OrderingStrict}[st.B%4])
	case "remove":
		s.remove(s.hook(st.A), st.B%2 == 0)
	case "enable":
		s.change(s.hook(st.A), st.B%2 == 0)
	case "enable all":
		for _, w := range s.outbox.webhooks {
			if !w.Enabled {
				s.change(w, true)
			}
		}
	case "clock":
		s.outbox.setClock(time.Duration(st.A-50) * simWaits[st.B%len(simWaits)])
	case "start":
		if len(s.relays) < 3 {
			s.relays = append(s.relays, s.startRelay())
		}
	case "stop", "crash":
		if len(s.relays) == 0 {
			break
		}
		r := s.relays[st.A%len(s.relays)]
		if st.Do == "stop" {
			if err := s.stop(r); err != nil {
				return fmt.Errorf("stop: %w", err)
			}
			break
		}
		s.crashes++
		s.crash(r)
	}
	if s.leader == nil && len(s.relays) > 0 {
		if err := s.lead(s.relays[st.B%len(s.relays)]); err != nil {
			return fmt.Errorf("lead: %w", err)
		}
	}
	synctest.Wait()
	return s.verdict()
}

// commit appends events, which belong to the webhooks of their tenants, and hands them to the leader. Only a leader ingests.
func (s *simulation) commit(n, resources int) {
	if s.leader == nil {
		return
	}
	o := s.outbox
	o.mu.Lock()
	var fresh []outbox.Event
	for i := range n {
		id := o.last() + 1
		e := outbox.Event{
			ID: id, WebhookID: strconv.FormatInt(id, 10), Name: "user.created", Tenant: simTenants[i%2], Resource: fmt.Sprintf("r%d", i%(1+resources%5)),
			Occurred: o.now(), Body: []byte("{}"),
		}
		for _, w := range o.webhooks {
			if w.Tenant == e.Tenant && w.RemovedAfter == nil {
				e.Webhooks = append(e.Webhooks, w.ID)
			}
		}
		o.events = append(o.events, e)
		fresh = append(fresh, e)
	}
	head := o.last()
	o.mu.Unlock()
	if n <= 20 {
		s.leader.dispatcher.Dispatch(fresh)
		return
	}
	concerned := map[int64]bool{}
	for i := range fresh {
		for _, id := range fresh[i].Webhooks {
			concerned[id] = true
		}
	}
	s.leader.dispatcher.Skip(head, concerned)
}

func (s *simulation) hook(n int) *simWebhook { return s.outbox.webhooks[1+int64(n)%s.lastHook] }

func (s *simulation) add(tenant string, ordering webhook.Ordering) {
	if s.lastHook >= 8 {
		return
	}
	o := s.outbox
	o.mu.Lock()
	s.lastHook++
	o.version++
	w := &simWebhook{checked: o.last(), Webhook: outbox.Webhook{
		ID: s.lastHook, Origin: outbox.OriginRelay, Key: strconv.FormatInt(s.lastHook, 10), Tenant: tenant, URL: fmt.Sprintf("https://host%d.example/", s.lastHook%3),
		Enabled: true, Events: []string{"*"}, Options: simOptions(ordering), Exclusive: ordering != "", Version: o.version,
	}}
	if s.leader == nil { // as the outbox has it that is not led
		cursor := o.last()
		w.Cursor = &cursor
	}
	o.webhooks[w.ID] = w
	c := o.copyOf(w)
	o.mu.Unlock()
	if s.leader != nil {
		s.leader.dispatcher.Update([]outbox.Webhook{c})
	}
}

// remove removes a webhook; one that is given away gets nothing of what it was owed.
func (s *simulation) remove(w *simWebhook, giveAway bool) {
	if s.leader == nil || w.RemovedAfter != nil {
		return
	}
	o := s.outbox
	o.mu.Lock()
	o.change(w, func(w *outbox.Webhook) {
		if w.End(o.last()); giveAway {
			w.MoveAway(o.last())
		}
	})
	c := o.copyOf(w)
	o.mu.Unlock()
	s.leader.dispatcher.Update([]outbox.Webhook{c})
}

// change disables a webhook, or enables it and forgives its failures.
func (s *simulation) change(w *simWebhook, enable bool) {
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	if w.RemovedAfter != nil {
		return
	}
	s.outbox.change(w, func(w *outbox.Webhook) {
		if w.Enabled = enable; enable {
			w.Health, w.DisabledReason = outbox.Health{}, ""
			w.ResumeCount++
		}
	})
}

// verdict reports broken invariants.
func (s *simulation) verdict() error {
	for _, r := range s.relays {
		select {
		case <-r.ended:
			return fmt.Errorf("a relay has ended: %w", r.err)
		default:
		}
	}
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	for key, n := range s.outbox.accepted {
		if n > 1+s.crashes {
			s.outbox.fault("event %d was accepted %d times by webhook %d, after %d crashes", key.Event, n, key.Webhook, s.crashes)
		}
	}
	if len(s.outbox.faults) > 0 {
		return fmt.Errorf("%s", strings.Join(s.outbox.faults, "\n"))
	}
	return nil
}

// settle lets everything work, waits for long, and checks that each webhook has accepted each event that was for it, unless it was given up
// after all attempts.
func (s *simulation) settle() error {
	s.outbox.mu.Lock()
	for _, w := range s.outbox.webhooks {
		w.behavior = accepts
	}
	s.outbox.mu.Unlock()
	// Webhooks are enabled once it is recorded that they were disabled.
	for _, st := range []step{{Do: "start"}, {Do: "wait", A: 5}, {Do: "enable all"}, {Do: "wait", A: 6}, {Do: "wait", A: 6}, {Do: "commit", A: 5}, {Do: "wait", A: 6}} {
		if err := s.do(st); err != nil {
			return err
		}
	}
	o := s.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	stuck := map[int64]bool{} // strict webhooks with a dead delivery, which wait for an operator
	for key, r := range o.retries {
		if r.due.IsZero() && r.key == outbox.StrictKey {
			stuck[key.Webhook] = true
		}
	}
	for i := range o.events {
		e := &o.events[i]
		for _, id := range e.Webhooks {
			w, key := o.webhooks[id], outbox.DeliveryKey{Event: e.ID, Webhook: id}
			r := o.retries[key]
			dead := r != nil && r.due.IsZero()
			if o.accepted[key] == 0 && !dead && !o.refused[key] && !stuck[id] && (w.RemovedAfter == nil || w.Enabled) {
				o.fault("event %d never reached webhook %d (%+v, position %d, retry %+v)", e.ID, id, w.Webhook, o.position(w), r)
			}
		}
	}
	if len(o.faults) > 0 {
		return fmt.Errorf("%s", strings.Join(o.faults, "\n"))
	}
	return nil
}

// run makes a simulation of the steps, in a bubble of virtual time.
func run(t *testing.T, seed uint64, steps []step) (failed error) {
	synctest.Test(t, func(t *testing.T) {
		sender, err := webhook.NewSender(webhook.SenderConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer sender.Close()
		s := &simulation{outbox: newSimOutbox(), sender: sender, seed: seed, stretch: []int{50, 500, 3000}[seed%3]}
		s.add("acme", "")
		s.add("globex", webhook.OrderingResource)
		defer func() {
			for len(s.relays) > 0 {
				s.crash(s.relays[0])
			}
		}()
		for i, st := range append([]step{{Do: "start"}, {Do: "commit", A: 3}}, steps...) {
			if err := s.do(st); err != nil {
				failed = fmt.Errorf("step %d (%s): %w", i, st, err)
				return
			}
		}
		if err := s.settle(); err != nil {
			failed = fmt.Errorf("in the end: %w", err)
		}
	})
	return failed
}

// Random histories of webhooks, receivers, relays and clocks lose nothing, keep order and tenants, and end with everything delivered.
func TestSimulation_RandomHistories(t *testing.T) {
	// Each history takes a second with the race detector. With -rapid.checks there are as many as it says.
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := checks.Value.Set("25"); err != nil {
			t.Fatal(err)
		}
	}
	kinds := []string{"commit", "commit", "commit", "large", "wait", "wait", "wait", "behave", "behave", "webhook", "remove", "enable", "clock", "start", "stop", "crash"}
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{Do: rapid.SampledFrom(kinds).Draw(rt, "do"), A: rapid.IntRange(0, 100).Draw(rt, "a"), B: rapid.IntRange(0, 100).Draw(rt, "b")}
		}), 5, 50).Draw(rt, "steps")
		if err := run(t, rapid.Uint64().Draw(rt, "seed"), steps); err != nil {
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
		// Events were sent past older ones of other resources when the endpoint was disabled, and again when it was enabled.
		"disabled while later events were sent first": {135, []step{
			{"wait", 85, 34}, {"commit", 51, 63}, {"commit", 62, 100}, {"behave", 79, 22}, {"wait", 39, 63},
		}},
	} {
		if err := run(t, history.seed, history.steps); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
