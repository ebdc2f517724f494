package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
	"github.com/iam-relay/iam-relay/integration/receiver"
)

// demoReport prints the events that arrive and compares them with the expected ones.
type demoReport struct {
	out io.Writer

	mu       sync.Mutex
	expected []ferriskey.Expected
	got      []receiver.Delivery // of the configured webhook
	own      []receiver.Delivery // of the realm's webhook
	steps    int
}

func newDemoReport(out io.Writer) *demoReport { return &demoReport{out: out} }

const demoLine = "%-15s %-27s %-36s %-36s %9s  %s\n"

func (r *demoReport) header() {
	fmt.Fprintf(r.out, demoLine, "time", "event", "resource_id", "realm", "ms", "signature")
}

func (r *demoReport) step(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps++
	fmt.Fprintf(r.out, "· %s\n", name)
}

func (r *demoReport) expect(events []ferriskey.Expected) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expected = append(r.expected, events...)
}

// arrived prints a request, and accepts it.
func (r *demoReport) arrived(d *receiver.Delivery) receiver.Response {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.Path == realmPath {
		r.own = append(r.own, *d)
		return receiver.Response{}
	}
	r.got = append(r.got, *d)
	verified := "verified"
	if !sound(d) {
		verified = "NOT VERIFIED: " + strings.Join(d.Problems, "; ")
	}
	fmt.Fprintf(r.out, demoLine, d.At.Format("15:04:05.000000"), d.Event, d.Resource, d.Tenant, milliseconds(d.Latency()), verified)
	return receiver.Response{}
}

func sound(d *receiver.Delivery) bool { return d.Verified && len(d.Problems) == 0 }

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000) }

// arrival identifies an event of the story.
type arrival struct{ event, resource, realm string }

// summary prints the comparison, and returns an error unless exactly the expected events arrived.
func (r *demoReport) summary() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	want, held := map[arrival]int{}, map[arrival]bool{}
	for _, e := range r.expected {
		a := arrival{e.Event, e.Resource, e.Realm}
		want[a]++
		held[a] = e.Held > 0
	}
	seen := map[string]bool{}
	names := map[string]bool{}
	var missing, unexpected []arrival
	var latencies []time.Duration
	duplicated, unverified := 0, 0
	for i := range r.got {
		d := &r.got[i]
		a := arrival{d.Event, d.Resource, d.Tenant}
		if !sound(d) {
			unverified++
		}
		if seen[d.ID] {
			duplicated++
			continue
		}
		seen[d.ID] = true
		if want[a]--; want[a] < 0 {
			unexpected = append(unexpected, a)
			continue
		}
		names[d.Event] = true
		if !held[a] {
			latencies = append(latencies, d.Latency())
		}
	}
	for a, n := range want {
		for range n {
			missing = append(missing, a)
		}
	}
	documented := 0
	for _, name := range ferriskey.Documented {
		if names[name] {
			documented++
		}
	}
	own, strayed := r.ownSummary()
	unverified += own
	fmt.Fprintf(r.out, "\n%d steps. Events expected %d, received %d, missing %d, unexpected %d, duplicated %d, unverified %d.\n",
		r.steps, len(r.expected), len(r.got), len(missing), len(unexpected), duplicated, unverified)
	fmt.Fprintf(r.out, "Documented events seen: %d of %d. The realm's own webhook got %d events, %d of another realm.\n",
		documented, len(ferriskey.Documented), len(r.own), strayed)
	fmt.Fprintf(r.out, "Commit to arrival: p50 %s ms, p99 %s ms (without events that are delayed because another may replace them).\n",
		milliseconds(quantile(latencies, 0.50)), milliseconds(quantile(latencies, 0.99)))
	for _, a := range sortedArrivals(missing) {
		fmt.Fprintf(r.out, "  missing     %s %s of realm %s\n", a.event, a.resource, a.realm)
	}
	for _, a := range sortedArrivals(unexpected) {
		fmt.Fprintf(r.out, "  unexpected  %s %s of realm %s\n", a.event, a.resource, a.realm)
	}
	if len(missing)+len(unexpected)+duplicated+unverified+strayed > 0 || documented < len(ferriskey.Documented) {
		return fmt.Errorf("the events are not the expected ones; see the summary above")
	}
	return nil
}

// ownSummary counts requests to the realm's own webhook with a wrong signature, and other realms whose events it received.
func (r *demoReport) ownSummary() (unverified, strayed int) {
	realms := map[string]bool{}
	for i := range r.own {
		if !sound(&r.own[i]) {
			unverified++
		}
		realms[r.own[i].Tenant] = true
	}
	return unverified, max(len(realms)-1, 0)
}

func sortedArrivals(a []arrival) []arrival {
	slices.SortFunc(a, func(x, y arrival) int {
		return cmp.Or(strings.Compare(x.event, y.event), strings.Compare(x.resource, y.resource))
	})
	return a
}

// quantile returns a quantile of the durations; 0 if there are none.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[int(q*float64(len(d)-1))]
}
