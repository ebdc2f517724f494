package integration_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/integration/receiver"
)

// oracleCommit is a transaction, by what must come of it. Those of a gap are judged together.
type oracleCommit struct {
	events []oracleEvent
	gap    *oracleGap
}

// oracleArrival is what has arrived of one event on one path.
type oracleArrival struct {
	event      oracleEvent
	id         string
	path       string
	first      time.Time
	accepted   int // as which of all that were accepted; 0 for none
	reconciled bool
	delivery   *receiver.Delivery // the first attempt
}

// oracleDeliveries is everything that has arrived.
type oracleDeliveries struct {
	taken    int // deliveries
	accepted int
	arrivals []*oracleArrival
	byKey    map[[2]string]*oracleArrival    // by path and webhook-id
	ids      map[string][32]byte             // body by webhook-id
	on       map[string]map[oracleEvent]int  // accepted webhook-ids, by path and event
	where    map[oracleEvent]map[string]bool // webhook-ids
}

func newOracleDeliveries() oracleDeliveries {
	return oracleDeliveries{byKey: map[[2]string]*oracleArrival{}, ids: map[string][32]byte{}, on: map[string]map[oracleEvent]int{}, where: map[oracleEvent]map[string]bool{}}
}

// take reads what has arrived since it was last called.
func (o *oracle) take() {
	o.t.Helper()
	s := o.hook.Snapshot()
	for i := o.deliveries.taken; i < len(s.Deliveries); i++ {
		o.takeOne(&s.Deliveries[i])
	}
	o.deliveries.taken = len(s.Deliveries)
}

func (o *oracle) takeOne(d *receiver.Delivery) {
	o.t.Helper()
	l := &o.deliveries
	var body struct{ Data any }
	decoder := json.NewDecoder(strings.NewReader(string(d.Body)))
	decoder.UseNumber()
	if err := decoder.Decode(&body); err != nil {
		o.t.Fatalf("%s %s: %v", d.Path, d.ID, err)
	}
	event := oracleEvent{d.Event, d.Tenant, d.Resource, spell(body.Data)}
	sum := sha256.Sum256(d.Body)
	if other, known := l.ids[d.ID]; known && other != sum {
		o.t.Errorf("webhook-id %s has come with two bodies, the second one %s", d.ID, event)
	}
	l.ids[d.ID] = sum
	key := [2]string{d.Path, d.ID}
	a := l.byKey[key]
	if a == nil {
		a = &oracleArrival{event: event, id: d.ID, path: d.Path, first: d.At, reconciled: d.Header.Get(reconciledHeader) != "", delivery: d}
		l.byKey[key], l.arrivals = a, append(l.arrivals, a)
	}
	if d.Status/100 == 2 && a.accepted == 0 {
		l.accepted++
		a.accepted = l.accepted
		if l.on[d.Path] == nil {
			l.on[d.Path] = map[oracleEvent]int{}
		}
		l.on[d.Path][event]++
		if l.where[event] == nil {
			l.where[event] = map[string]bool{}
		}
		l.where[event][d.ID] = true
	}
}

// judgeArrival judges what can be said of one request: that the event is one that was committed, that the path belonged to a
// webhook of its tenant at that commit, and that its secret has signed.
func (o *oracle) judgeArrival(a *oracleArrival) {
	o.t.Helper()
	commits := o.known[a.event]
	if len(commits) == 0 {
		o.falseEvents++
		o.t.Errorf("%s: %s (%s) is not of any commit", a.path, a.event, a.id)
		return
	}
	if a.reconciled && !slices.ContainsFunc(commits, func(n int) bool { return o.commits[n-1].gap != nil }) {
		o.falseEvents++
		o.t.Errorf("%s: %s (%s) is marked as reconciled, and nothing was lost at commits %v", a.path, a.event, a.id, commits)
	}
	sameTenant, signed := false, false
	for _, line := range o.lines {
		if line.tenant != a.event.tenant && line.tenant != everyTenant {
			continue
		}
		for _, p := range line.paths {
			sameTenant = sameTenant || p.path == a.path
			signed = signed || p.path == a.path && signedWith(a.delivery, p.secret)
		}
		for _, n := range commits {
			if may, _ := line.hears(&a.event, n); may && line.leads(a.path, n) {
				if !signed {
					o.wrongTenant++
					o.t.Errorf("%s: %s (%s) is not signed with the webhook's secret", a.path, a.event, a.id)
				}
				return
			}
		}
	}
	o.wrongTenant++
	what := "a webhook that did not belong to it at commits"
	if !sameTenant {
		what = "A WEBHOOK OF ANOTHER TENANT at commits"
	}
	o.t.Errorf("%s: %s (%s, first attempt %s) came to %s %v; %s", a.path, a.event, a.id, a.first.Format(time.StampMilli), what, commits, o.describePath(a.path))
}

func (o *oracle) describePath(path string) string {
	var texts []string
	for _, l := range o.lines {
		if slices.ContainsFunc(l.paths, func(p oraclePath) bool { return p.path == path }) {
			texts = append(texts, l.String())
		}
	}
	return "the path is of " + strings.Join(texts, "; ")
}

func (l *oracleLine) String() string {
	return fmt.Sprintf("%s of %s (after %d/%d to %d/%d, %v, %v)", l.name, l.tenant, l.after, l.mustAfter, l.mustTo, l.to, l.paths, l.wants)
}

// signedWith leaves the age of the signature aside: the clocks are not right here.
func signedWith(d *receiver.Delivery, secret string) bool {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s.%s", d.ID, d.Header.Get("webhook-timestamp"), d.Body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return slices.Contains(strings.Fields(d.Header.Get("webhook-signature")), want)
}

// missing are the events that must have arrived and have not, at most some of them.
func (o *oracle) missing(most int) []string {
	var missing []string
	for _, line := range o.lines {
		owed := map[oracleEvent]int{}
		for i, c := range o.commits {
			if c.gap != nil || i+1 <= line.mustAfter || i+1 > line.mustTo {
				continue
			}
			for j := range c.events {
				e := &c.events[j]
				if _, must := line.hears(e, i+1); !must {
					continue
				}
				if owed[*e]++; owed[*e] > o.deliveries.count(line, *e) {
					if missing = append(missing, fmt.Sprintf("%s of commit %d at %s", e, i+1, line)); len(missing) >= most {
						return missing
					}
				}
			}
		}
	}
	for _, gap := range o.gaps {
		if missing = append(missing, gap.unexplained(o, most-len(missing))...); len(missing) >= most {
			return missing
		}
	}
	return missing
}

// count is how often an event was accepted at any of a line's paths, each webhook-id once.
func (l *oracleDeliveries) count(line *oracleLine, e oracleEvent) int {
	if len(line.paths) == 1 {
		return l.on[line.paths[0].path][e]
	}
	ids := 0
	for id := range l.where[e] {
		if slices.ContainsFunc(line.paths, func(p oraclePath) bool {
			a := l.byKey[[2]string{p.path, id}]
			return a != nil && a.accepted > 0
		}) {
			ids++
		}
	}
	return ids
}

// judge looks at everything at the end.
func (o *oracle) judge() {
	o.t.Helper()
	o.take()
	for _, a := range o.deliveries.arrivals {
		o.judgeArrival(a)
	}
	for e, ids := range o.deliveries.where {
		commits := o.known[e]
		if len(ids) > len(commits) {
			o.falseEvents++
			o.t.Errorf("%s was committed at %v, and has come under %v", e, commits, slices.Sorted(maps.Keys(ids)))
		}
	}
	for _, line := range o.lines {
		if line.ordering != "" {
			o.judgeOrder(line)
		}
	}
}

// judgeOrder compares the first arrivals with the order of the commits. Of an event that has occurred more than once, and of
// what a comparison has found, that is not known.
func (o *oracle) judgeOrder(line *oracleLine) {
	o.t.Helper()
	last := map[string]*oracleArrival{}
	accepted := slices.DeleteFunc(slices.Clone(o.deliveries.arrivals), func(a *oracleArrival) bool {
		return a.accepted == 0 || a.path != line.paths[0].path || a.reconciled || len(o.known[a.event]) != 1
	})
	slices.SortFunc(accepted, func(a, b *oracleArrival) int { return a.accepted - b.accepted })
	for _, a := range accepted {
		key := a.event.resource
		if line.ordering == "strict" {
			key = ""
		}
		if before := last[key]; before != nil && o.known[a.event][0] < o.known[before.event][0] {
			o.disordered++
			o.t.Errorf("%s: %s of commit %d came after %s of commit %d", line, a.event, o.known[a.event][0], before.event, o.known[before.event][0])
			return
		}
		last[key] = a
	}
}
