package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

var (
	// ErrNameTaken says that another webhook made by hand has the name.
	ErrNameTaken = errors.New("another webhook that was made here has that name")
	// ErrWebhookGone says that there is no such webhook any more.
	ErrWebhookGone = errors.New("the webhook was removed")
)

// byHand begins the DisabledFor of a webhook that somebody stopped.
const byHand = "by hand"

// ByHand is the DisabledFor of a webhook that somebody stops, for a reason that may be empty.
func ByHand(reason string) string {
	if reason == "" {
		return byHand
	}
	return byHand + ": " + reason
}

// StoppedByHand reports whether somebody has stopped the webhook. It stays so until somebody enables it.
func (w *Webhook) StoppedByHand() bool { return strings.HasPrefix(w.DisabledFor, byHand) }

// SwitchedOn reports whether the definition wants the webhook to be delivered to, now or, where it is disabled, later.
func (w *Webhook) SwitchedOn() bool { return w.Enabled || w.DisabledFor != "" }

// AddWebhook stores a new webhook of OriginRelay, and gives it its ID, Key and whatever else the row has.
func (s *Store) AddWebhook(ctx context.Context, w *Webhook) error {
	return s.byHand(ctx, func(tx pgx.Tx) error {
		if err := numberWebhook(ctx, tx, w); err != nil {
			return err
		}
		if err := s.insert(ctx, tx, w); err != nil {
			return err
		}
		stored, err := s.lockWebhook(ctx, tx, w.ID)
		*w = stored
		return err
	})
}

// insert stores a webhook that has its id and key.
func (s *Store) insert(ctx context.Context, tx pgx.Tx, w *Webhook) error {
	if err := checkName(ctx, tx, w); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO webhook (id, origin, key, tenant, name, description, url, headers, secrets, events, enabled)
		VALUES ($1, $2, $3, '', '', '', '', '{}', '{}', '{}', true)`, w.ID, w.Origin, w.Key); err != nil {
		return fmt.Errorf("store the webhook: %w", err)
	}
	return s.define(ctx, tx, w)
}

func numberWebhook(ctx context.Context, tx pgx.Tx, w *Webhook) error {
	if err := tx.QueryRow(ctx, `SELECT nextval('webhook_relay_id')`).Scan(&w.ID); err != nil {
		return fmt.Errorf("number the webhook: %w", err)
	}
	w.Origin, w.Key = OriginRelay, strconv.FormatInt(w.ID, 10)
	return nil
}

// ChangeWebhook lets change have the webhook as it is now, and stores what it leaves: of one of OriginRelay its definition,
// and of any whether it is enabled, and why not. A greater Resumed forgives its failures. One of OriginRelay that change gives to
// another tenant ends, undelivered, and begins again as a webhook with another id, which is returned.
func (s *Store) ChangeWebhook(ctx context.Context, id int64, change func(*Webhook) error) (Webhook, error) {
	return s.changeWebhook(ctx, id, func(_ pgx.Tx, w *Webhook) error { return change(w) })
}

// RemoveWebhook ends a webhook of OriginRelay: what it was owed by now is still delivered.
func (s *Store) RemoveWebhook(ctx context.Context, id int64) (Webhook, error) {
	return s.changeWebhook(ctx, id, func(tx pgx.Tx, w *Webhook) error {
		last, err := lastEvent(ctx, tx)
		w.End(last)
		return err
	})
}

func lastEvent(ctx context.Context, tx pgx.Tx) (last int64, err error) {
	if err := tx.QueryRow(ctx, `SELECT last_event FROM position`).Scan(&last); err != nil {
		return 0, fmt.Errorf("read the last event: %w", err)
	}
	return last, nil
}

// DropExpiredSecrets forgets the secrets that sign no longer. It returns of how many webhooks it did; they have a new version.
func (s *Store) DropExpiredSecrets(ctx context.Context) (int, error) {
	now := s.ServerTime(time.Now())
	rows, err := s.pool.Query(ctx, `SELECT id FROM webhook WHERE origin = $1 AND removed_after IS NULL
		AND EXISTS (SELECT FROM unnest(secrets_expire) AS e(t) WHERE t <= $2) ORDER BY id`, OriginRelay, now)
	if err != nil {
		return 0, fmt.Errorf("look for expired secrets: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, fmt.Errorf("look for expired secrets: %w", err)
	}
	n := 0
	for _, id := range ids {
		_, err := s.ChangeWebhook(ctx, id, func(w *Webhook) error { w.dropExpired(now); return nil })
		if errors.Is(err, ErrWebhookGone) {
			continue
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func (s *Store) changeWebhook(ctx context.Context, id int64, change func(pgx.Tx, *Webhook) error) (Webhook, error) {
	var w Webhook
	err := s.byHand(ctx, func(tx pgx.Tx) (err error) {
		if w, err = s.lockWebhook(ctx, tx, id); err != nil {
			return err
		}
		if w.RemovedAfter != nil {
			return ErrWebhookGone
		}
		before := w
		if err := change(tx, &w); err != nil {
			return err
		}
		if err := s.redefine(ctx, tx, &before, &w); err != nil {
			return err
		}
		if err := settle(ctx, tx, &w, w.Resumed > before.Resumed); err != nil {
			return err
		}
		w, err = s.lockWebhook(ctx, tx, w.ID)
		return err
	})
	return w, err
}

// redefine writes the definition of a webhook of OriginRelay.
func (s *Store) redefine(ctx context.Context, tx pgx.Tx, before, now *Webhook) error {
	if now.Origin != OriginRelay {
		return nil
	}
	if now.Tenant == before.Tenant {
		if err := checkName(ctx, tx, now); err != nil {
			return err
		}
		return s.define(ctx, tx, now)
	}
	last, err := lastEvent(ctx, tx)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE webhook SET removed_after = $2, enabled = false, disabled_reason = '`+givenAway+`', changed = now(),
		version = nextval('webhook_version') WHERE id = $1`, before.ID, last); err != nil {
		return fmt.Errorf("end the webhook of the former tenant: %w", err)
	}
	if err := numberWebhook(ctx, tx, now); err != nil {
		return err
	}
	return s.insert(ctx, tx, now)
}

// lockWebhook reads a webhook that nobody else changes until tx ends.
func (s *Store) lockWebhook(ctx context.Context, tx pgx.Tx, id int64) (Webhook, error) {
	rows, err := tx.Query(ctx, `SELECT `+webhookColumns+` FROM webhook w WHERE id = $1 FOR UPDATE`, id)
	if err != nil {
		return Webhook{}, fmt.Errorf("read the webhook: %w", err)
	}
	found, err := pgx.CollectRows(rows, s.scanWebhook)
	if err != nil {
		return Webhook{}, fmt.Errorf("read the webhook: %w", err)
	}
	if len(found) == 0 {
		return Webhook{}, ErrWebhookGone
	}
	return found[0], nil
}

// byHand runs a change in a transaction. One at a time: names are unique, and the versions of such changes become visible in
// their order.
func (s *Store) byHand(ctx context.Context, change func(pgx.Tx) error) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to the outbox: %w", cdc.ConnectReason(err))
	}
	defer conn.Release()
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1, $2)`, lockWebhook, s.lockKey()); err != nil {
			return fmt.Errorf("wait for other changes of webhooks: %w", err)
		}
		return change(tx)
	})
}

func checkName(ctx context.Context, tx pgx.Tx, w *Webhook) error {
	var taken bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM webhook WHERE origin = $1 AND name = $2 AND id <> $3 AND removed_after IS NULL)`,
		w.Origin, w.Name, w.ID).Scan(&taken)
	if err != nil {
		return fmt.Errorf("look for the webhook's name: %w", err)
	}
	if taken {
		return ErrNameTaken
	}
	// One that had the name before it was removed, of another tenant, may still be owed something, and have the same endpoint.
	if _, err := tx.Exec(ctx, `UPDATE webhook SET enabled = false, disabled_reason = '`+givenAway+`', version = nextval('webhook_version')
		WHERE origin = $1 AND name = $2 AND removed_after IS NOT NULL AND tenant <> $3 AND enabled`, w.Origin, w.Name, w.Tenant); err != nil {
		return fmt.Errorf("end the webhook that had the name: %w", err)
	}
	return nil
}

// define writes a webhook's definition.
func (s *Store) define(ctx context.Context, tx pgx.Tx, plain *Webhook) error {
	w := s.keys.encryptedWebhook(plain)
	_, err := tx.Exec(ctx, `UPDATE webhook SET tenant = $2, name = $3, description = $4, url = $5, headers = $6::text::json, secrets = $7,
			secrets_created = $8, secrets_expire = $9, events = $10, options = $11, credentials = $12, exclusive = $13, removed_after = $14,
			changed = now(), version = nextval('webhook_version') WHERE id = $1`,
		w.ID, w.Tenant, w.Name, w.Description, w.URL, headersJSON(&w), orEmpty(w.Secrets), orNull(w.SecretsCreated), orNull(w.SecretsExpire),
		orEmpty(w.Events), cmp.Or(w.Options, "{}"), w.Credentials, w.Exclusive, w.RemovedAfter)
	if err != nil {
		return fmt.Errorf("store the webhook: %w", err)
	}
	return nil
}

// settle writes whether a webhook is enabled. One that is enabled now and was not, or is resumed, starts with a clean record.
// Relays learn of that by resumed: they may look only after it was disabled and enabled again.
func settle(ctx context.Context, tx pgx.Tx, w *Webhook, resume bool) error {
	if _, err := tx.Exec(ctx, `UPDATE webhook SET paused_until = NULL, pauses = 0, failing_since = NULL, failing_spans = 0, failed_at = NULL,
			resume_count = resume_count + 1 WHERE id = $1 AND ($3 OR $2 AND NOT enabled)`, w.ID, w.Enabled, resume); err != nil {
		return fmt.Errorf("store the webhook's state: %w", err)
	}
	if _, err := tx.Exec(ctx, `UPDATE webhook SET enabled = $2, disabled_reason = $3, changed = now(), version = nextval('webhook_version') WHERE id = $1`,
		w.ID, w.Enabled, w.DisabledFor); err != nil {
		return fmt.Errorf("store the webhook's state: %w", err)
	}
	return nil
}
