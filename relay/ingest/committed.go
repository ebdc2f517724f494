package ingest

import (
	"cmp"
	"slices"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// committed follows a durable commit: only now may the server remove the WAL, and may the events be delivered.
func (in *Ingester) committed(chunk *outbox.Chunk, end cdc.LSN, last int64, began time.Time) {
	in.stored, in.lastEvent, in.lastCommit, in.pendingMark = end, last, time.Now(), nil
	in.acknowledge(end)
	in.Dispatcher.Update(chunk.Webhooks)
	in.Dispatcher.Dispatch(chunk.Events)
	in.delayed.drop(chunk.Canceled)
	in.Monitor.Ingested(end, in.delayed.len())
	in.Metrics.OutboxCommit(time.Since(began))
	var bodiless withoutBody
	for i := range chunk.Events {
		e := &chunk.Events[i]
		in.Metrics.Event(e.Name, e.Tenant != "")
		if e.Tenant == "" {
			in.Warnings.unresolvedEvent(e.Name, "webhook_id", e.WebhookID, "resource", e.Resource)
		}
		bodiless.add(e)
	}
	in.reportWithoutBody(&bodiless)
}

// withoutBody counts the events of a commit whose bodies would be larger than outbox.max_body.
type withoutBody struct {
	n     int
	first outbox.Event
}

func (w *withoutBody) add(e *outbox.Event) {
	if e.Body != nil {
		return
	}
	if w.n == 0 {
		w.first = *e
	}
	w.n++
}

func (in *Ingester) reportWithoutBody(w *withoutBody) {
	if w.n == 0 {
		return
	}
	in.Metrics.WithoutBody(w.n)
	in.Log.Error("events stored without a body, which would be larger than outbox.max_body; they will not be delivered; raise outbox.max_body or remove large columns from the mapping",
		"events", w.n, "lsn", w.first.LSN.String(), "first", w.first.Name, "webhook_id", w.first.WebhookID)
}

// changeKind is what the metric of changes distinguishes.
type changeKind struct {
	table string
	op    cdc.Op
}

func tally(parts ...[]cdc.Change) map[changeKind]int {
	n := map[changeKind]int{}
	for _, changes := range parts {
		for i := range changes {
			n[changeKind{changes[i].Relation.Name, changes[i].Op}]++
		}
	}
	return n
}

// count adds tallied changes to the metrics.
func (in *Ingester) count(counts map[changeKind]int) {
	for k, n := range counts {
		in.Metrics.Changes(k.table, k.op, n)
	}
}

// number assigns ids after last to the events of one transaction, in the order of their positions in it. It returns the last id.
func number(events []outbox.Event, last int64) int64 {
	slices.SortFunc(events, func(a, b outbox.Event) int { return cmp.Compare(a.Ordinal, b.Ordinal) })
	for i := range events {
		last++
		events[i].ID = last
	}
	return last
}

// emit adds an event, with its webhook id and its receivers, to the chunk. The caller numbers it; a delayed event is numbered at release.
func (in *Ingester) emit(e *mapping.Event, tx *cdc.Transaction, chunk *outbox.Chunk) {
	entry := outbox.Event{
		WebhookID: webhookID(in.Server.SystemID, in.Server.Timeline, tx.Commit, e.Index), Name: e.Name, Tenant: string(e.Tenant), Resource: e.Resource,
		Occurred: tx.Time, LSN: tx.Commit, Ordinal: e.Index, Body: e.Body, Webhooks: in.subs.match(e),
		Reconciled: in.reconciling,
	}
	if e.Delay != nil {
		d := outbox.DelayedEvent{Event: entry, CancelKey: e.Delay.Match, Due: tx.Time.Add(e.Delay.Within)}
		in.delayed.add(d)
		chunk.AddDelayed(d)
		return
	}
	chunk.Add(entry)
}

// acknowledge lets the server remove the WAL before the position. It does nothing before the stream starts.
func (in *Ingester) acknowledge(lsn cdc.LSN) {
	if in.stream != nil {
		in.stream.Acknowledge(lsn)
	}
}
