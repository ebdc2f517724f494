package ingest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// simState is the content of an outbox. A large transaction works on a copy until it commits.
type simState struct {
	position outbox.Position
	mirror   map[outbox.StoredKey]outbox.StoredRow
	before   map[outbox.StoredKey]outbox.StoredRow // table mirror_before
	events   []outbox.Event                        // event n has index n-1
	delayed  []outbox.DelayedEvent                 // by due time, commit and ordinal
	webhooks map[int64]outbox.Webhook
	notices  []outbox.OperationalEvent
}

func newSimState() *simState {
	return &simState{
		mirror: map[outbox.StoredKey]outbox.StoredRow{}, before: map[outbox.StoredKey]outbox.StoredRow{},
		webhooks: map[int64]outbox.Webhook{1: {ID: 1, Origin: outbox.OriginConfig, Key: "all", Tenant: "*", Events: []string{"*"}, Enabled: true}},
	}
}

func (s *simState) clone() *simState {
	c := *s
	c.mirror, c.before, c.webhooks = maps.Clone(s.mirror), maps.Clone(s.before), maps.Clone(s.webhooks)
	c.events, c.delayed, c.notices = slices.Clip(s.events), slices.Clone(s.delayed), slices.Clone(s.notices)
	return &c
}

// write does what the statements of a chunk do, in their order. It returns what is wrong with them.
func (s *simState) write(c *outbox.Chunk, fault func(format string, args ...any)) {
	for _, w := range c.Webhooks {
		s.webhooks[w.ID] = w
	}
	s.events = append(s.events, c.Events...)
	for _, key := range c.Deletes {
		delete(s.mirror, key)
	}
	twice := map[outbox.StoredKey]bool{}
	for _, row := range c.Upserts {
		if twice[row.StoredKey] {
			fault("a chunk writes row %v twice", row.StoredKey)
		}
		twice[row.StoredKey] = true
		s.mirror[row.StoredKey] = row
	}
	for _, row := range c.Before {
		if _, ok := s.before[row.StoredKey]; ok {
			fault("the old version of row %v is stored twice", row.StoredKey)
		}
		s.before[row.StoredKey] = row
	}
	s.writeDelayed(c, fault)
	for _, id := range c.OperationalEvents {
		s.notices = slices.DeleteFunc(s.notices, func(n outbox.OperationalEvent) bool { return n.ID == id })
	}
}

func (s *simState) writeDelayed(c *outbox.Chunk, fault func(format string, args ...any)) {
	for _, d := range c.Delayed {
		if s.findDelayed(&d) >= 0 {
			fault("delayed event %d of the transaction at %s is stored twice", d.Ordinal, d.LSN)
		}
		s.delayed = append(s.delayed, d)
	}
	slices.SortFunc(s.delayed, func(a, b outbox.DelayedEvent) int {
		return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.LSN, b.LSN), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	for _, by := range c.Cancel {
		before := len(s.delayed)
		s.delayed = slices.DeleteFunc(s.delayed, func(d outbox.DelayedEvent) bool {
			return slices.Contains(by.Keys, d.CancelKey) && d.LSN < by.By && !d.Due.Before(by.At)
		})
		c.Canceled += before - len(s.delayed)
	}
	for i := range c.DelayedDone {
		at := s.findDelayed(&c.DelayedDone[i])
		if at < 0 {
			fault("delayed event %d of the transaction at %s is released, and not stored", c.DelayedDone[i].Ordinal, c.DelayedDone[i].LSN)
			continue
		}
		s.delayed = slices.Delete(s.delayed, at, at+1)
	}
}

func (s *simState) findDelayed(d *outbox.DelayedEvent) int {
	return slices.IndexFunc(s.delayed, func(o outbox.DelayedEvent) bool { return o.LSN == d.LSN && o.Ordinal == d.Ordinal })
}

func (s *simState) due(now time.Time, limit int) []outbox.DelayedEvent {
	var due []outbox.DelayedEvent
	for i := range s.delayed {
		if s.delayed[i].Due.Before(now) && len(due) < limit {
			due = append(due, s.delayed[i])
		}
	}
	return due
}

func (s *simState) loadWebhooks() []outbox.Webhook {
	return slices.SortedFunc(maps.Values(s.webhooks), func(a, b outbox.Webhook) int { return cmp.Compare(a.ID, b.ID) })
}

// sorted returns the rows of the mirror for which wanted reports true, by table and key.
func sorted(rows map[outbox.StoredKey]outbox.StoredRow, wanted func(outbox.StoredRow) bool) []outbox.StoredRow {
	var all []outbox.StoredRow
	for _, row := range rows {
		if wanted(row) {
			all = append(all, row)
		}
	}
	slices.SortFunc(all, func(a, b outbox.StoredRow) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Key, b.Key))
	})
	return all
}

// Read is outbox.MirrorStore.
func (s *simState) Read(_ context.Context, wanted ...outbox.Wanted) error {
	for _, w := range wanted {
		var found []outbox.StoredRow
		ofParent := func(r outbox.StoredRow) bool {
			return r.Parent != nil && slices.Contains(w.Keys, outbox.StoredKey{Table: r.Table, Key: *r.Parent})
		}
		switch w.Kind {
		case outbox.WantRows:
			for _, key := range w.Keys {
				if row, ok := s.mirror[key]; ok {
					found = append(found, row)
				}
			}
		case outbox.WantChildren:
			found = sorted(s.mirror, ofParent)
		case outbox.WantChildrenBefore:
			then := maps.Clone(s.mirror)
			maps.Copy(then, s.before)
			found = sorted(then, ofParent)
		}
		for _, row := range found {
			if err := w.Row(row); err != nil {
				return err
			}
		}
		w.Done()
	}
	return nil
}

// Page is outbox.MirrorStore.
func (s *simState) Page(_ context.Context, p outbox.MirrorPage, each func(outbox.StoredRow) bool) error {
	rows := sorted(s.mirror, func(r outbox.StoredRow) bool { return r.Table == p.Table && (p.First || r.Key > p.After) })
	for _, row := range rows[:min(p.Limit, len(rows))] {
		if p.KeysOnly {
			row.Fields = nil
		}
		if !each(row) {
			break
		}
	}
	return nil
}

// deleted returns the mirrored rows of a table that are not among the keys.
func (s *simState) deleted(table *cdc.Table, keys map[cdc.Key]bool) []outbox.StoredRow {
	return sorted(s.mirror, func(r outbox.StoredRow) bool { return r.Table == table.Name && !keys[cdc.Key(r.Key)] })
}
