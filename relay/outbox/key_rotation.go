package outbox

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// rotationPage is how many mirror rows one transaction re-encrypts; ingestion may have to wait for their row locks.
const rotationPage = 500

// Reencrypt re-encrypts with the first key everything that is stored in plain text or under another key. It returns the number of rows
// changed. The tables are the mirrored ones.
func (s *Store) Reencrypt(ctx context.Context, tables []*cdc.Table) (int, error) {
	if s.keys == nil {
		return 0, nil
	}
	n := 0
	err := s.changeWebhooks(ctx, func(tx pgx.Tx) (err error) {
		n, err = s.rotateWebhooks(ctx, tx)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, t := range tables {
		if !hasSecrets(t) {
			continue
		}
		more, err := s.rotateMirror(ctx, t)
		if n += more; err != nil {
			return n, err
		}
	}
	return n, nil
}

func hasSecrets(t *cdc.Table) bool {
	for i := range t.Columns {
		if t.Columns[i].Secret {
			return true
		}
	}
	return false
}

func (s *Store) rotateWebhooks(ctx context.Context, tx pgx.Tx) (int, error) {
	rows, err := tx.Query(ctx, `SELECT `+webhookColumns+` FROM webhook w ORDER BY id FOR UPDATE`)
	if err != nil {
		return 0, fmt.Errorf("read webhooks: %w", err)
	}
	stored, err := pgx.CollectRows(rows, scanStored)
	if err != nil {
		return 0, fmt.Errorf("read webhooks: %w", err)
	}
	n := 0
	for i := range stored {
		w := &stored[i]
		if s.keys.webhookCurrent(w) {
			continue
		}
		plain, err := s.keys.decryptedWebhook(w)
		if err != nil {
			return 0, fmt.Errorf("read webhooks: %w", err)
		}
		encrypted := s.keys.encryptedWebhook(&plain)
		if _, err := tx.Exec(ctx, `UPDATE webhook SET url = $2, headers = $3::text::json, secrets = $4, credentials = $5 WHERE id = $1`,
			w.ID, encrypted.URL, headersJSON(&encrypted), orEmpty(encrypted.Secrets), encrypted.Credentials); err != nil {
			return 0, fmt.Errorf("encrypt webhook %d: %w", w.ID, err)
		}
		n++
	}
	return n, nil
}

// rotateMirror re-encrypts the mirrored rows of a table, one page per transaction.
func (s *Store) rotateMirror(ctx context.Context, t *cdc.Table) (int, error) {
	n := 0
	for after, more := "", true; more; {
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `SELECT key, fields::text FROM mirror WHERE table_name = $1 AND key > $2 COLLATE "C" ORDER BY key LIMIT $3 FOR UPDATE`,
				t.Name, after, rotationPage)
			if err != nil {
				return err
			}
			var keys, fields []string
			var key, field string
			read := 0
			if _, err = pgx.ForEachRow(rows, []any{&key, &field}, func() error {
				read, after = read+1, key
				encrypted, err := s.rotateRow(t, key, []byte(field))
				if encrypted != nil {
					keys, fields = append(keys, key), append(fields, string(encrypted))
				}
				return err
			}); err != nil {
				return err
			}
			n, more = n+len(keys), read == rotationPage
			_, err = tx.Exec(ctx, `UPDATE mirror m SET fields = w.fields::json FROM unnest($2::text[], $3::text[]) AS w(key, fields)
				WHERE m.table_name = $1 AND m.key = w.key COLLATE "C"`, t.Name, keys, fields)
			return err
		})
		if err != nil {
			return n, fmt.Errorf("encrypt the mirror of %s: %w", t.Name, err)
		}
	}
	return n, nil
}

// rotateRow returns a stored row re-encrypted with the first key, or nil if it already is.
func (s *Store) rotateRow(t *cdc.Table, key string, data []byte) ([]byte, error) {
	var values map[string]*string
	if err := json.Unmarshal(data, &values); err != nil {
		return nil, fmt.Errorf("mirrored row of %s: %w", t.Name, err)
	}
	current := true
	for i := range t.Columns {
		if v := values[t.Columns[i].Name]; t.Columns[i].Secret && v != nil {
			current = current && s.keys.current(*v)
		}
	}
	if current {
		return nil, nil
	}
	row, err := parseRow(t, key, data, s.keys)
	if err != nil {
		return nil, err
	}
	return storedFields(t, key, row, s.keys), nil
}
