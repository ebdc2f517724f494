package ingest

import (
	"context"
	"errors"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// parents indexes the rows between the IAM's webhooks and their tenants. If such a row moves to another tenant, its webhooks do.
type parents struct {
	of    map[cdc.Key][]mapping.Ref        // the rows of a webhook
	below map[mapping.Ref]map[cdc.Key]bool // the webhooks below a row
}

func newParents() parents {
	return parents{of: map[cdc.Key][]mapping.Ref{}, below: map[mapping.Ref]map[cdc.Key]bool{}}
}

// set replaces the rows of one webhook.
func (p parents) set(webhook cdc.Key, rows []mapping.Ref) {
	for _, row := range p.of[webhook] {
		if delete(p.below[row], webhook); len(p.below[row]) == 0 {
			delete(p.below, row)
		}
	}
	delete(p.of, webhook)
	if len(rows) > 0 {
		p.of[webhook] = rows
	}
	for _, row := range rows {
		if p.below[row] == nil {
			p.below[row] = map[cdc.Key]bool{}
		}
		p.below[row][webhook] = true
	}
}

// follow updates the subscriptions of the IAM after the transaction's changes have been applied to the mirror. It returns the webhooks to
// store. lastEvent is the id of the transaction's last event.
func (s *subscriptions) follow(m *mapping.Mapper, changes []cdc.Change, mirror *outbox.Mirror, lastEvent int64) []outbox.Webhook {
	changed := s.followNames(m, changes)
	if !s.fromIAM {
		return changed
	}
	var keys []cdc.Key
	seen := map[cdc.Key]bool{}
	note := func(key cdc.Key) {
		if !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	for i := range changes {
		c := &changes[i]
		for _, key := range m.AffectedWebhooks(c) {
			note(key)
		}
		if len(s.parents.below) > 0 {
			for _, row := range []cdc.Key{c.Key, c.OldKey} {
				for key := range s.parents.below[mapping.Ref{Table: c.Relation.Table, Key: row}] {
					note(key)
				}
			}
		}
	}
	if len(keys) == 0 {
		return changed
	}
	table, _ := m.WebhookTables()
	for _, key := range keys {
		mirror.Want(mapping.Ref{Table: table, Key: key})
	}
	if !s.prefetch(m, mirror) {
		return changed // the mirror keeps the error
	}
	for _, key := range keys {
		if row := mirror.Row(table, key); row != nil {
			m.SubscriptionRefs(row, mirror.Want)
		}
	}
	if !s.prefetch(m, mirror) {
		return changed
	}
	for _, key := range keys {
		changed = append(changed, s.refresh(m, mirror, key, mirror.Row(table, key), lastEvent)...)
	}
	return changed
}

// prefetch loads the requested rows, and those that they refer to in turn. Rows that do not fit into memory are fetched on demand. It reports
// false after an error, which the mirror keeps.
func (s *subscriptions) prefetch(m *mapping.Mapper, mirror *outbox.Mirror) bool {
	for mirror.Wanting() {
		err := mirror.Load(func(t *cdc.Table, row cdc.Row) { m.RefsOf(t, row, mirror.Want) })
		if errors.Is(err, outbox.ErrFull) {
			return true
		}
		if err != nil {
			mirror.Fail(err)
			return false
		}
	}
	return true
}

// refresh updates the subscription from its row, which is nil if it was deleted. A row that is not a usable webhook is logged and ignored: a
// tenant that writes webhooks must not be able to stop the relay.
func (s *subscriptions) refresh(m *mapping.Mapper, mirror *outbox.Mirror, key cdc.Key, row cdc.Row, lastEvent int64) []outbox.Webhook {
	var rows []mapping.Ref
	if row != nil {
		m.SubscriptionParents(row, mirror, func(r mapping.Ref) { rows = append(rows, r) })
		sub, err := m.Subscription(row, mirror)
		var dropped error
		if err == nil {
			dropped, err = usable(&sub)
		}
		if err == nil {
			s.parents.set(key, rows)
			changed := s.put(sub, lastEvent)
			if dropped != nil && len(changed) > 0 {
				s.log.Warn("ignored headers of a webhook that the IAM defines", "webhook", string(key), "why", dropped)
			}
			return changed
		}
		if !errors.Is(err, mapping.ErrSoftDeleted) {
			s.log.Warn("ignored a webhook that the IAM defines; correct it there", "webhook", string(key), "err", err)
		}
	}
	s.parents.set(key, rows) // a change of these rows may make it usable
	old := s.live[originKey{outbox.OriginIAM, string(key)}]
	if old == nil {
		return nil
	}
	return []outbox.Webhook{*s.remove(old, lastEvent)}
}

// readPage and readPageBytes bound the webhooks that are read at a time; a single larger one is still read.
const (
	readPage      = 500
	readPageBytes = 2 << 20
)

// read updates all subscriptions from the mirror, as a first copy, a reconciliation or another mapping may have changed them. It returns the
// webhooks to store.
func (s *subscriptions) read(ctx context.Context, m *mapping.Mapper, mirror *outbox.Mirror, lastEvent int64) ([]outbox.Webhook, error) {
	mirror.Begin(ctx)
	clear(s.roots)
	s.names.begin(s.others)
	if tenants := m.Tenant(); tenants != nil {
		err := mirror.EachRow(ctx, tenants, func(key cdc.Key, row cdc.Row) error {
			if m.IsRootTenant(row) {
				s.roots[key] = true
			}
			s.names.add(m.TenantName(row), key)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	changed := s.renamed(s.names.all())
	gone := map[cdc.Key]*outbox.Webhook{}
	for origin, w := range s.live {
		if origin.origin == outbox.OriginIAM {
			gone[cdc.Key(w.Key)] = w
		}
	}
	if table, _ := m.WebhookTables(); table != nil && s.fromIAM {
		page, size := make([]cdc.Row, 0, readPage), 0
		flush := func() error {
			more, err := s.readPage(ctx, m, mirror, table, page, lastEvent)
			clear(page)
			changed, page, size = append(changed, more...), page[:0], 0
			return err
		}
		err := mirror.EachRow(ctx, table, func(key cdc.Key, row cdc.Row) error {
			delete(gone, key)
			for i := range row {
				size += len(row[i].Text)
			}
			if page = append(page, row); len(page) < readPage && size < readPageBytes {
				return nil
			}
			return flush()
		})
		if err := errors.Join(err, flush()); err != nil {
			return nil, err
		}
	}
	for key, w := range gone {
		s.parents.set(key, nil)
		changed = append(changed, *s.remove(w, lastEvent))
	}
	return changed, nil
}

func (s *subscriptions) readPage(ctx context.Context, m *mapping.Mapper, mirror *outbox.Mirror, table *cdc.Table, page []cdc.Row, lastEvent int64) ([]outbox.Webhook, error) {
	mirror.Begin(ctx)
	for _, row := range page {
		m.SubscriptionRefs(row, mirror.Want)
	}
	s.prefetch(m, mirror)
	var changed []outbox.Webhook
	for _, row := range page {
		key, err := table.KeyOf(row)
		if err != nil {
			return nil, err
		}
		if mirror.Err() != nil {
			break
		}
		changed = append(changed, s.refresh(m, mirror, key, row, lastEvent)...)
	}
	return changed, mirror.Err()
}

// followRoots updates the set of root tenants.
func (s *subscriptions) followRoots(m *mapping.Mapper, changes []cdc.Change) {
	for i := range changes {
		c := &changes[i]
		if c.Relation.Table != m.Tenant() {
			continue
		}
		delete(s.roots, c.Key)
		if c.Op != cdc.Delete && m.IsRootTenant(c.New) {
			s.roots[c.Key] = true
		}
	}
}
