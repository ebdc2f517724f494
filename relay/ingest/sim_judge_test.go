package ingest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// simServer is the source of the event ids.
var simServer = cdc.Server{SystemID: "7000000000000000001", Timeline: 1, Database: "iam"}

// simJudge compares what is committed to the outbox with what the IAM has committed. The caller holds the mutex of the outbox.
type simJudge struct {
	iam     *simIAM
	delayed []simDelayed    // by due time and commit
	seen    map[string]bool // ids of all events
	faults  []string
	commits int
}

func (j *simJudge) fault(format string, args ...any) {
	if len(j.faults) < 20 {
		j.faults = append(j.faults, fmt.Sprintf(format, args...))
	}
}

// committed judges a commit: it must contain exactly the events, the mirror and the subscriptions of the transactions up to its position.
func (j *simJudge) committed(old, now *simState) {
	j.commits++
	if now.position.LSN < old.position.LSN {
		j.fault("the position moves from %s back to %s", old.position.LSN, now.position.LSN)
	}
	fresh := slices.Clone(now.events[len(old.events):])
	slices.SortFunc(fresh, func(a, b outbox.Event) int { return cmp.Compare(a.ID, b.ID) })
	copy(now.events[len(old.events):], fresh)
	for i := range fresh {
		e := &fresh[i]
		if want := int64(len(old.events) + i + 1); e.ID != want {
			j.fault("an event has id %d, want %d", e.ID, want)
		}
		if j.seen[e.WebhookID] {
			j.fault("event %s enters the outbox twice: %s of %s", e.WebhookID, e.Name, e.LSN)
		}
		j.seen[e.WebhookID] = true
	}
	if now.position.LastEvent != int64(len(now.events)) {
		j.fault("the newest event is %d, and the position says %d", len(now.events), now.position.LastEvent)
	}
	fresh = slices.DeleteFunc(fresh, func(e outbox.Event) bool { return strings.HasPrefix(e.Name, "endpoint.") })
	state := simRows{}
	for _, tx := range j.iam.wal {
		if tx.end > now.position.LSN {
			break
		}
		state = tx.after
		if tx.end > old.position.LSN {
			fresh = j.released(fresh, now, tx.at)
			fresh = j.transaction(tx, fresh, now)
		}
	}
	if len(fresh) > 0 { // what is due may be released before the next transaction
		fresh = j.released(fresh, now, j.iam.now)
	}
	for i := range fresh {
		j.fault("unexpected event %s of %s, resource %s, at position %s", fresh[i].Name, fresh[i].LSN, fresh[i].Resource, now.position.LSN)
	}
	j.checkDelayed(now)
	j.checkMirror(now, state)
	j.checkSubscriptions(now, state)
}

// released judges the delayed events that are due at the time, and returns the events after them. Without a transaction, some may be missing.
func (j *simJudge) released(fresh []outbox.Event, now *simState, at time.Time) []outbox.Event {
	for len(j.delayed) > 0 && j.delayed[0].due.Before(at) && len(fresh) > 0 {
		// Events of one transaction have the same due time.
		found := slices.IndexFunc(j.delayed, func(d simDelayed) bool {
			return d.commit == j.delayed[0].commit && d.resource == fresh[0].Resource && d.tenant == fresh[0].Tenant
		})
		if found < 0 || fresh[0].LSN != j.delayed[0].commit {
			j.fault("event %s of %s was committed, and %s of %s was due before", fresh[0].Name, fresh[0].LSN, j.delayed[0].name, j.delayed[0].commit)
			break
		}
		j.checkEvent(&fresh[0], &j.delayed[found].simEvent, now)
		j.checkReceivers(&fresh[0], now, j.delayed[found].must, j.delayed[found].may)
		j.delayed = slices.Delete(j.delayed, found, found+1)
		fresh = fresh[1:]
	}
	return fresh
}

// transaction judges the events of a transaction, and returns those after them.
func (j *simJudge) transaction(tx *simTransaction, fresh []outbox.Event, now *simState) []outbox.Event {
	if len(j.delayed) > 0 && j.delayed[0].due.Before(tx.at) {
		j.fault("%s of %s was due before the transaction at %s, and was not released", j.delayed[0].name, j.delayed[0].commit, tx.commit)
	}
	d := simDifference{before: tx.before, after: tx.after, grouped: !tx.reconciled}
	canceled := d.cancelKeys()
	j.delayed = slices.DeleteFunc(j.delayed, func(e simDelayed) bool { return slices.Contains(canceled, e.cancelKey) })
	var want []simEvent
	for _, e := range d.events() {
		if e.cancelKey == "" {
			want = append(want, e)
			continue
		}
		must, may := tx.receivers(&e)
		j.delayed = append(j.delayed, simDelayed{simEvent: e, commit: tx.commit, due: tx.at.Add(5 * time.Second), must: must, may: may})
	}
	got := fresh[:min(len(want), len(fresh))]
	if len(got) < len(want) {
		j.fault("the transaction at %s has %d events, and %d were committed", tx.commit, len(want), len(got))
	}
	for i := range got {
		e := &got[i]
		if e.LSN != tx.commit || !e.Occurred.Equal(tx.at) || e.Reconciled != tx.reconciled || i > 0 && e.Ordinal <= got[i-1].Ordinal {
			j.fault("event %d is %s of %s at %s, number %d, reconciled: %t; want one of the transaction at %s", e.ID, e.Name, e.LSN, e.Occurred, e.Ordinal, e.Reconciled, tx.commit)
			return nil
		}
		s, err := simulated(e)
		if err != nil {
			j.fault("%v", err)
		}
		found := slices.Index(want, s)
		if found < 0 {
			j.fault("event %d is %+v, which the transaction at %s did not cause; it caused also %+v", e.ID, s, tx.commit, want)
			return nil
		}
		j.checkEvent(e, &want[found], now)
		must, may := tx.receivers(&s)
		j.checkReceivers(e, now, must, may)
		want = slices.Delete(want, found, found+1)
	}
	return fresh[len(got):]
}

func (j *simJudge) checkEvent(e *outbox.Event, want *simEvent, now *simState) {
	if e.Name != want.name || e.Tenant != want.tenant || e.Resource != want.resource {
		j.fault("event %d is %s of tenant %s, resource %s; want %+v", e.ID, e.Name, e.Tenant, e.Resource, *want)
	}
	if id := webhookID(simServer.SystemID, simServer.Timeline, e.LSN, e.Ordinal); e.WebhookID != id {
		j.fault("event %d has id %s, want %s", e.ID, e.WebhookID, id)
	}
	for _, id := range e.Webhooks {
		w, ok := now.webhooks[id]
		ofRoot := e.Name == "realm.created" || e.Name == "realm.deleted"
		if !ok || w.Tenant != "*" && w.Tenant != e.Tenant && !ofRoot {
			j.fault("event %d of tenant %s goes to webhook %d of tenant %s", e.ID, e.Tenant, id, w.Tenant)
		}
	}
}

func (j *simJudge) checkReceivers(e *outbox.Event, now *simState, must, may []string) {
	var got []string
	all := false
	for _, id := range e.Webhooks {
		if w := now.webhooks[id]; w.Origin == outbox.OriginIAM {
			got = append(got, w.Key)
		} else {
			all = true
		}
	}
	missing := slices.ContainsFunc(must, func(key string) bool { return !slices.Contains(got, key) })
	if stranger := slices.ContainsFunc(got, func(key string) bool { return !slices.Contains(may, key) }); stranger || missing || !all {
		j.fault("event %d, %s of tenant %s, goes to %v; it must go to %v, may go to %v, and must go to the webhook of all tenants", e.ID, e.Name, e.Tenant, got, must, may)
	}
}

// checkDelayed compares the delayed events that are stored with those that are expected.
func (j *simJudge) checkDelayed(now *simState) {
	var want, got []string
	for _, d := range j.delayed {
		want = append(want, fmt.Sprint(d.commit, d.due, d.tenant, d.resource))
	}
	for _, d := range now.delayed {
		got = append(got, fmt.Sprint(d.LSN, d.Due, d.Tenant, d.Resource))
	}
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(want, got) {
		j.fault("at position %s, these events are delayed: %v; want %v", now.position.LSN, got, want)
	}
}

func (j *simJudge) checkMirror(now *simState, state simRows) {
	n := 0
	for table, rows := range state {
		for id, row := range rows {
			n++
			stored := now.mirror[outbox.StoredKey{Table: table, Key: id}]
			var fields simRow
			if err := json.Unmarshal(stored.Fields, &fields); err != nil || !maps.Equal(fields, row) {
				j.fault("at position %s, row %s of %s is %s in the mirror; want %v", now.position.LSN, id, table, stored.Fields, row)
			}
		}
	}
	if n != len(now.mirror) {
		j.fault("at position %s, the mirror has %d rows, want %d", now.position.LSN, len(now.mirror), n)
	}
}

func (j *simJudge) checkSubscriptions(now *simState, state simRows) {
	got := map[string]simHook{}
	for _, w := range now.webhooks {
		if w.Origin == outbox.OriginIAM && w.RemovedAfter == nil {
			if _, twice := got[w.Key]; twice {
				j.fault("at position %s, webhook %s is stored twice", now.position.LSN, w.Key)
			}
			got[w.Key] = simHook{w.Tenant, w.URL, strings.Join(w.Events, " ")}
		}
	}
	if want := state.hooks(); !maps.Equal(want, got) {
		j.fault("at position %s, the webhooks are %v; want %v", now.position.LSN, got, want)
	}
}
