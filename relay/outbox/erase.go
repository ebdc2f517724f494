package outbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Erasure selects the events whose payloads are erased.
type Erasure struct {
	// Resource is the id of the subject. It selects events about it, and events whose body contains it as a string, as the data of a role
	// assignment contains the user's id.
	Resource string
	Tenant   string // the tenant's key; empty for any
}

// Erased is the result of an erasure, or of its dry run.
type Erased struct {
	Days []ErasedDay // days with events to erase, in order
	// Delayed is the number of delayed events, which are not in the event log yet.
	Delayed int64
}

// Events is the total number of events.
func (e *Erased) Events() int64 {
	n := e.Delayed
	for i := range e.Days {
		n += e.Days[i].Events
	}
	return n
}

// ErasedDay are the selected events of a day.
type ErasedDay struct {
	Day    time.Time
	Events int64 // number with a payload
	ids    []int64
}

// eraseBatch is the number of events erased in a transaction.
const eraseBatch = 1000

const (
	// subjects selects events e by an Erasure: $1 is the resource, $2 the resource as a JSON string, $3 the tenant. It also matches an object
	// key, or a string that ends with the quoted id: it may erase too much, but never too little.
	subjects = `(e.resource = $1 OR position($2::bytea IN e.body) > 0) AND ($3 = '' OR e.tenant = $3)`
	// payload is true if the body of an event e has data. The bytes are ,"data": and null}. They cannot occur in a JSON string, whose quotes are
	// escaped, so the first occurrence is the field of the body itself.
	payload = `position('\x2c2264617461223a'::bytea IN e.body) > 0 AND substr(e.body, position('\x2c2264617461223a'::bytea IN e.body) + 8) <> '\x6e756c6c7d'::bytea`
	// withoutPayload is the body with null as data.
	withoutPayload = `substr(e.body, 1, position('\x2c2264617461223a'::bytea IN e.body) + 7) || '\x6e756c6c7d'::bytea`
)

// Erasable returns what Erase would do.
func (s *Store) Erasable(ctx context.Context, e Erasure) (*Erased, error) {
	subject := e.parameters()
	rows, err := s.pool.Query(ctx, `SELECT day, count(*) FILTER (WHERE `+payload+`), array_agg(id ORDER BY id) FROM event e WHERE `+subjects+`
		GROUP BY day ORDER BY day`, subject...)
	if err != nil {
		return nil, fmt.Errorf("look for events to erase: %w", err)
	}
	found := &Erased{}
	found.Days, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (ErasedDay, error) {
		var d ErasedDay
		err := row.Scan(&d.Day, &d.Events, &d.ids)
		return d, err
	})
	if err != nil {
		return nil, fmt.Errorf("look for events to erase: %w", err)
	}
	if err := s.pool.QueryRow(ctx, `SELECT count(*) FROM delayed_event e WHERE `+subjects+` AND `+payload, subject...).Scan(&found.Delayed); err != nil {
		return nil, fmt.Errorf("look for delayed events to erase: %w", err)
	}
	return found, nil
}

// parameters returns the parameters of subjects.
func (e *Erasure) parameters() []any {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // as in bodies
	if err := encoder.Encode(e.Resource); err != nil {
		panic(err) // a string always encodes
	}
	return []any{e.Resource, bytes.TrimSpace(text.Bytes()), e.Tenant}
}

// Erase replaces the data of the selected events with null and deletes the responses to them. Deliveries read from the outbox afterwards have no
// data; those that a relay has already read are still sent. Erase notifies the relays.
func (s *Store) Erase(ctx context.Context, e Erasure) (*Erased, error) {
	found, err := s.Erasable(ctx, e)
	if err != nil {
		return nil, err
	}
	tables := map[string]bool{}
	for i := range found.Days {
		day := &found.Days[i]
		for ids := range slices.Chunk(day.ids, eraseBatch) {
			if err := s.eraseEvents(ctx, day.Day, ids, tables); err != nil {
				return nil, err
			}
		}
	}
	if _, err := s.pool.Exec(ctx, `UPDATE delayed_event e SET body = `+withoutPayload+` WHERE `+subjects+` AND `+payload, e.parameters()...); err != nil {
		return nil, fmt.Errorf("erase delayed events: %w", err)
	}
	if _, err := s.pool.Exec(ctx, `UPDATE webhook SET version = nextval('webhook_version')`); err != nil {
		return nil, fmt.Errorf("notify the relays: %w", err)
	}
	// Autovacuum may not run soon for a few changes to an old partition, and the old row versions would stay on disk.
	for table := range tables {
		if _, err := s.pool.Exec(ctx, `VACUUM `+pgx.Identifier{table}.Sanitize()); err != nil {
			return nil, fmt.Errorf("erased, but vacuum %s: %w", table, err)
		}
	}
	return found, nil
}

// eraseEvents erases events of a day and their attempts. It adds the changed partitions to tables.
func (s *Store) eraseEvents(ctx context.Context, day time.Time, ids []int64, tables map[string]bool) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE event e SET body = `+withoutPayload+` WHERE e.day = $1 AND e.id = ANY ($2) AND `+payload, day, ids)
		if err != nil {
			return err
		}
		if tag.RowsAffected() > 0 {
			tables["event_"+day.Format(dayFormat)] = true
		}
		rows, err := tx.Query(ctx, `WITH erased AS (
				UPDATE attempt SET response = NULL, error = NULL WHERE day >= $1 AND event BETWEEN $2 AND $3 AND event = ANY ($4)
					AND (response IS NOT NULL OR error IS NOT NULL) RETURNING day
			) SELECT DISTINCT day FROM erased`, day, ids[0], ids[len(ids)-1], ids)
		if err != nil {
			return err
		}
		days, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
		for _, d := range days {
			tables["attempt_"+d.Format(dayFormat)] = true
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("erase events of %s: %w", day.Format(time.DateOnly), err)
	}
	return nil
}
