package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// ReconciliationState is the state of a reconciliation.
type ReconciliationState string

// States of a reconciliation.
const (
	ReconciliationRequested ReconciliationState = "requested" // by command; the leader has not started it
	ReconciliationRunning   ReconciliationState = "running"
	ReconciliationDone      ReconciliationState = "done"
	ReconciliationFailed    ReconciliationState = "failed"
	ReconciliationCanceled  ReconciliationState = "canceled"
)

// Ended reports whether the state is final.
func (s ReconciliationState) Ended() bool {
	return s != ReconciliationRequested && s != ReconciliationRunning
}

// Reconciliation is a comparison of the IAM's tables with the mirror, which emits the differences.
type Reconciliation struct {
	ID int64
	// Manual: an operator requested it.
	Manual bool
	// DryRun reports the differences and changes nothing. SkipWAL does not ingest the retained WAL first.
	DryRun, SkipWAL bool
	Reason          string
	State           ReconciliationState
	Error           string
	// LSN is that of the snapshot; empty before the start.
	LSN string
	// Started and Ended are zero before that.
	Requested, Started, Ended time.Time
	// Table is being compared. Rows were compared so far, of about Expected.
	Table          string
	Rows, Expected int64
	Result         *ReconciliationResult // nil until it has ended
}

// ReconciliationResult is the result of a reconciliation.
type ReconciliationResult struct {
	Tables []TableDifference `json:"tables"` // those with differences
	Events map[string]int64  `json:"events"` // counts by name, delayed events included
	Sample []EventRef        `json:"sample"` // the first events
}

// TableDifference counts the rows of a table that differ from the mirror.
type TableDifference struct {
	Table    string `json:"table"`
	Inserted int64  `json:"inserted"`
	Updated  int64  `json:"updated"`
	Deleted  int64  `json:"deleted"`
}

// EventRef identifies an event without its data.
type EventRef struct {
	Event    string `json:"event"`
	Tenant   string `json:"tenant"`
	Resource string `json:"resource"`
}

// RequestReconciliation stores a request for the leader, and returns its id.
func (s *Store) RequestReconciliation(ctx context.Context, dryRun, skipWAL bool) (int64, error) {
	var id int64
	err := s.pool.QueryRow(ctx, `INSERT INTO reconciliation (manual, dry_run, skip_wal, reason, state) VALUES (true, $1, $2, 'requested manually', 'requested') RETURNING id`,
		dryRun, skipWAL).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("request a reconciliation: %w", err)
	}
	return id, nil
}

// CancelReconciliation cancels a request that the leader has not started.
func (s *Store) CancelReconciliation(ctx context.Context, id int64) error {
	if _, err := s.pool.Exec(ctx, `UPDATE reconciliation SET state = 'canceled', ended = clock_timestamp() WHERE id = $1 AND state = 'requested'`, id); err != nil {
		return fmt.Errorf("cancel reconciliation %d: %w", id, err)
	}
	return nil
}

const reconciliationColumns = `id, manual, dry_run, skip_wal, reason, state, error, coalesce(lsn::text, ''), requested, coalesce(started, '0001-01-01Z'),
	coalesce(ended, '0001-01-01Z'), table_name, rows_compared, rows_expected, result`

func scanReconciliation(row pgx.CollectableRow) (Reconciliation, error) {
	var r Reconciliation
	var result []byte
	err := row.Scan(&r.ID, &r.Manual, &r.DryRun, &r.SkipWAL, &r.Reason, &r.State, &r.Error, &r.LSN, &r.Requested, &r.Started, &r.Ended, &r.Table, &r.Rows, &r.Expected, &result)
	if err == nil && result != nil {
		r.Result = &ReconciliationResult{}
		err = json.Unmarshal(result, r.Result)
	}
	r.Requested, r.Started, r.Ended = r.Requested.UTC(), r.Started.UTC(), r.Ended.UTC()
	return r, err
}

// RequestedReconciliation returns the oldest request that is not started, or nil.
func (s *Store) RequestedReconciliation(ctx context.Context) (*Reconciliation, error) {
	return s.reconciliation(ctx, `state = 'requested' ORDER BY id LIMIT 1`)
}

// Reconciliation returns a reconciliation by id, or nil.
func (s *Store) Reconciliation(ctx context.Context, id int64) (*Reconciliation, error) {
	return s.reconciliation(ctx, `id = $1`, id)
}

func (s *Store) reconciliation(ctx context.Context, where string, arguments ...any) (*Reconciliation, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+reconciliationColumns+` FROM reconciliation WHERE `+where, arguments...)
	if err != nil {
		return nil, fmt.Errorf("read reconciliations: %w", err)
	}
	r, err := pgx.CollectOneRow(rows, scanReconciliation)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // documented: nil if there is none
	}
	if err != nil {
		return nil, fmt.Errorf("read reconciliations: %w", err)
	}
	return &r, nil
}

// ResumeReconciliations handles what a former leader left running: requests become requests again; others fail, and start again if their
// cause persists.
func (l *Leader) ResumeReconciliations(ctx context.Context) error {
	batch := &pgx.Batch{}
	batch.Queue(`UPDATE reconciliation SET state = 'requested', rows_compared = 0 WHERE state = 'running' AND manual`)
	batch.Queue(`UPDATE reconciliation SET state = 'failed', error = 'interrupted', ended = clock_timestamp() WHERE state = 'running'`)
	l.queueFence(batch)
	if err := l.write.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("resume reconciliations: %w", fenced(err))
	}
	return nil
}

// BeginReconciliation records the start of r. It sets the ID unless r was requested.
func (s *Store) BeginReconciliation(ctx context.Context, r *Reconciliation) error {
	var err error
	if r.ID == 0 {
		err = s.pool.QueryRow(ctx, `INSERT INTO reconciliation (manual, dry_run, reason, state, lsn, started, rows_expected)
			VALUES (false, $1, $2, 'running', $3::text::pg_lsn, clock_timestamp(), $4) RETURNING id`, r.DryRun, r.Reason, r.LSN, r.Expected).Scan(&r.ID)
	} else {
		_, err = s.pool.Exec(ctx, `UPDATE reconciliation SET state = 'running', lsn = $2::text::pg_lsn, started = clock_timestamp(), rows_expected = $3, reason = $4 WHERE id = $1`,
			r.ID, r.LSN, r.Expected, r.Reason)
	}
	if err != nil {
		return fmt.Errorf("record the start of a reconciliation: %w", err)
	}
	r.State = ReconciliationRunning
	return nil
}

// UpdateReconciliation records the progress of a reconciliation.
func (s *Store) UpdateReconciliation(ctx context.Context, r *Reconciliation) error {
	if _, err := s.pool.Exec(ctx, `UPDATE reconciliation SET table_name = $2, rows_compared = $3 WHERE id = $1`, r.ID, r.Table, r.Rows); err != nil {
		return fmt.Errorf("record the progress of reconciliation %d: %w", r.ID, err)
	}
	return nil
}

const endReconciliation = `UPDATE reconciliation SET state = $2, error = $3, table_name = $4, rows_compared = $5, result = $6::text::json, ended = clock_timestamp() WHERE id = $1`

func (r *Reconciliation) end() ([]any, error) {
	var result *string
	if r.Result != nil {
		b, err := json.Marshal(r.Result)
		if err != nil {
			return nil, fmt.Errorf("write the result of reconciliation %d: %w", r.ID, err)
		}
		text := string(b)
		result = &text
	}
	return []any{r.ID, r.State, r.Error, r.Table, r.Rows, result}, nil
}

// EndReconciliation records the end of a reconciliation that changed nothing.
func (s *Store) EndReconciliation(ctx context.Context, r *Reconciliation) error {
	arguments, err := r.end()
	if err != nil {
		return err
	}
	if _, err := s.pool.Exec(ctx, endReconciliation, arguments...); err != nil {
		return fmt.Errorf("record the end of reconciliation %d: %w", r.ID, err)
	}
	return nil
}

// EndReconciliation records the end of a reconciliation, in the transaction with its events.
func (t *Large) EndReconciliation(ctx context.Context, r *Reconciliation) error {
	arguments, err := r.end()
	if err != nil {
		return err
	}
	if _, err := t.tx.Exec(ctx, endReconciliation, arguments...); err != nil {
		return fmt.Errorf("record the end of reconciliation %d: %w", r.ID, err)
	}
	return nil
}
