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

// Erasure names whose payloads are erased.
type Erasure struct {
	// Resource is the id of the subject: of events about it, and of those whose body has it as a string, as the data of a role
	// assignment names its user.
	Resource string
	Tenant   string // the tenant's key; empty is any
}

// Erased is what an erasure found, or did.
type Erased struct {
	Days []ErasedDay // those with events to erase, in order
	// Delayed is the number of delayed events, which are not in the event log yet.
	Delayed int64
}

// Events is how many there are in all.
func (e *Erased) Events() int64 {
	n := e.Delayed
	for i := range e.Days {
		n += e.Days[i].Events
	}
	return n
}

// ErasedDay is a day's part of the log.
type ErasedDay struct {
	Day    time.Time
	Events int64 // with a payload to erase
	ids    []int64
}

// eraseBatch is how many events are erased in one transaction.
const eraseBatch = 1000

const (
	// subjects chooses events e by an Erasure: $1 its resource, $2 that as a JSON string, $3 the tenant. A member of that name, or a
	// text that ends with the id in quotes, counts too: rather too much is erased than too little.
	subjects = `(e.resource = $1 OR position($2::bytea IN e.body) > 0) AND ($3 = '' OR e.tenant = $3)`
	// payload is whether an event e has one. A string in JSON cannot have the bytes of the member's name, since its quotes are
	// escaped, and before it come three strings: the first place is the member of the body itself.
	payload = `position('\x2c2264617461223a'::bytea IN e.body) > 0 AND substr(e.body, position('\x2c2264617461223a'::bytea IN e.body) + 8) <> '\x6e756c6c7d'::bytea`
	// withoutPayload is the body with null for its data.
	withoutPayload = `substr(e.body, 1, position('\x2c2264617461223a'::bytea IN e.body) + 7) || '\x6e756c6c7d'::bytea`
)

// Erasable finds what Erase would do.
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
		return nil, fmt.Errorf("look for held events to erase: %w", err)
	}
	return found, nil
}

// parameters are those of subjects.
func (e *Erasure) parameters() []any {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // as bodies are made
	if err := encoder.Encode(e.Resource); err != nil {
		panic(err) // a string always encodes
	}
	return []any{e.Resource, bytes.TrimSpace(text.Bytes()), e.Tenant}
}

// Erase replaces the data of the subject's events by null, and forgets what receivers answered to them. Whatever is sent from
// the store afterwards has no data. What a relay has read before it still sends; the relays are told to look.
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
		return nil, fmt.Errorf("erase held events: %w", err)
	}
	if _, err := s.pool.Exec(ctx, `UPDATE webhook SET version = nextval('webhook_version')`); err != nil {
		return nil, fmt.Errorf("tell the relays: %w", err)
	}
	// The server may take its time to clear away what the rows were: few changes to an old day are no reason for it.
	for table := range tables {
		if _, err := s.pool.Exec(ctx, `VACUUM `+pgx.Identifier{table}.Sanitize()); err != nil {
			return nil, fmt.Errorf("erased; vacuum %s: %w", table, err)
		}
	}
	return found, nil
}

// eraseEvents erases some events of one day, and their attempts on it and later. It adds the partitions that were changed.
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
