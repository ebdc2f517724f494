// Package ferriskey changes a database as FerrisKey 0.7 does: the same tables, and for each administrative act the same
// statements in the same order, each in a transaction of its own. Nothing here knows of webhooks being sent.
package ferriskey

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// DB is a connection, or a pool of them, whose search_path leads to FerrisKey's tables.
type DB interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
}

// IAM plays FerrisKey on a database. Ids are UUIDs in text. It is as safe for concurrent use as its DB, once Bootstrap has
// returned.
type IAM struct {
	// Master is the realm that Bootstrap made, and Admin the user in it who does everything.
	Master Realm
	Admin  string

	db DB
}

// New returns an IAM on a database that Create has prepared.
func New(db DB) *IAM { return &IAM{db: db} }

var errNothingChanged = errors.New("no such row")

// exec runs one statement in a transaction of its own.
func (i *IAM) exec(ctx context.Context, what, sql string, arguments ...any) error {
	if _, err := i.db.Exec(ctx, sql, arguments...); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// change is exec for a statement that names an existing row.
func (i *IAM) change(ctx context.Context, what, sql string, arguments ...any) error {
	tag, err := i.db.Exec(ctx, sql, arguments...)
	if err == nil && tag.RowsAffected() == 0 {
		err = errNothingChanged
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// audit is what a row of security_events says. FerrisKey writes one right after most acts, and never changes it.
type audit struct {
	realm, event string
	status       string // empty means success
	user         string // the target, where it is a user
	resource     string
	details      string // JSON
}

func (i *IAM) record(ctx context.Context, a audit) error {
	if a.status == "" {
		a.status = "success"
	}
	var targetType any
	if a.user != "" {
		targetType = "user"
	}
	return i.exec(ctx, "record security event "+a.event,
		`INSERT INTO security_events (id, realm_id, actor_id, actor_type, event_type, status, target_type, target_id, resource, "timestamp", ip_address, details, created_at)
		VALUES ($1, $2, $3, 'user', $4, $5, $6, $7, $8, $9, '192.0.2.7', $10, $9)`,
		NewID(), a.realm, orNull(i.Admin), a.event, a.status, targetType, orNull(a.user), orNull(a.resource), now(), orNull(a.details))
}

// now is what FerrisKey writes into columns without a time zone: UTC.
func now() time.Time { return time.Now().UTC() }

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
