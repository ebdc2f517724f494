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
	// ErrNameTaken reports that another webhook of OriginRelay has the name.
	ErrNameTaken = errors.New("another webhook has that name; choose another one")
	// ErrWebhookGone reports that the webhook no longer exists.
	ErrWebhookGone = errors.New("the webhook was removed")
)

// manually is the beginning of DisabledReason if the webhook was disabled by command.
const manually = "manually"

// ManualReason returns the DisabledReason of a webhook that is disabled by command. The reason may be empty.
func ManualReason(reason string) string {
	if reason == "" {
		return manually
	}
	return manually + ": " + reason
}

// DisabledManually reports whether the webhook was disabled by command. Only a command enables it again.
func (w *Webhook) DisabledManually() bool { return strings.HasPrefix(w.DisabledReason, manually) }

// SwitchedOn reports whether the definition enables the webhook, even if it is disabled for another reason.
func (w *Webhook) SwitchedOn() bool { return w.Enabled || w.DisabledReason != "" }

// AddWebhook stores a new webhook of OriginRelay, and sets its ID, Key and the defaults of the row.
func (s *Store) AddWebhook(ctx context.Context, w *Webhook) error {
	return s.changeWebhooks(ctx, func(tx pgx.Tx) error {
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

// insert stores a webhook whose ID and Key are set.
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
		return fmt.Errorf("assign an id to the webhook: %w", err)
	}
	w.Origin, w.Key = OriginRelay, strconv.FormatInt(w.ID, 10)
	return nil
}

// ChangeWebhook passes the current webhook to change and stores the result: the definition if it is of OriginRelay, and for every origin
// Enabled and DisabledReason. A greater ResumeCount resets Health. If change moves a webhook of OriginRelay to another tenant, the webhook ends,
// its undelivered events are dropped, and a new one with another id is returned.
func (s *Store) ChangeWebhook(ctx context.Context, id int64, change func(*Webhook) error) (Webhook, error) {
	return s.changeWebhook(ctx, id, func(_ pgx.Tx, w *Webhook) error { return change(w) })
}

// RemoveWebhook removes a webhook of OriginRelay. Events up to now are still delivered.
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

// DropExpiredSecrets deletes expired secrets of webhooks of OriginRelay, and returns the number of webhooks changed.
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
	err := s.changeWebhooks(ctx, func(tx pgx.Tx) (err error) {
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
		if err := settle(ctx, tx, &w, w.ResumeCount > before.ResumeCount); err != nil {
			return err
		}
		w, err = s.lockWebhook(ctx, tx, w.ID)
		return err
	})
	return w, err
}

// redefine stores the definition of a webhook of OriginRelay.
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
		return fmt.Errorf("end the webhook of the old tenant: %w", err)
	}
	if err := numberWebhook(ctx, tx, now); err != nil {
		return err
	}
	return s.insert(ctx, tx, now)
}

// lockWebhook reads a webhook and locks it until tx ends.
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

// changeWebhooks runs a change in a transaction, one at a time, so that names stay unique and changes become visible in the order of their
// versions.
func (s *Store) changeWebhooks(ctx context.Context, change func(pgx.Tx) error) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to the outbox: %w", cdc.ExplainConnectError(err))
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
		return fmt.Errorf("check the webhook's name: %w", err)
	}
	if taken {
		return ErrNameTaken
	}
	// A removed webhook of that name may belong to another tenant and still have events for the same endpoint.
	if _, err := tx.Exec(ctx, `UPDATE webhook SET enabled = false, disabled_reason = '`+givenAway+`', version = nextval('webhook_version')
		WHERE origin = $1 AND name = $2 AND removed_after IS NOT NULL AND tenant <> $3 AND enabled`, w.Origin, w.Name, w.Tenant); err != nil {
		return fmt.Errorf("end the webhook that had the name: %w", err)
	}
	return nil
}

// define stores a webhook's definition.
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

// settle stores whether a webhook is enabled. Enabling or resuming it resets its Health. resume_count tells the other relays, which may not
// see that it was disabled in between.
func settle(ctx context.Context, tx pgx.Tx, w *Webhook, resume bool) error {
	if _, err := tx.Exec(ctx, `UPDATE webhook SET paused_until = NULL, pauses = 0, failing_since = NULL, failing_spans = 0, failed_at = NULL,
			resume_count = resume_count + 1 WHERE id = $1 AND ($3 OR $2 AND NOT enabled)`, w.ID, w.Enabled, resume); err != nil {
		return fmt.Errorf("store the webhook's state: %w", err)
	}
	if _, err := tx.Exec(ctx, `UPDATE webhook SET enabled = $2, disabled_reason = $3, changed = now(), version = nextval('webhook_version') WHERE id = $1`,
		w.ID, w.Enabled, w.DisabledReason); err != nil {
		return fmt.Errorf("store the webhook's state: %w", err)
	}
	return nil
}
