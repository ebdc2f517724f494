package cdc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// EnsurePublication runs the statements of SQL in one transaction and returns the status after that. The error is a
// *PermissionError if the role is not allowed to.
//
// It waits for locks in short attempts only: while it holds locks on some tables and waits for another one, migrations wait for
// it, and the application's statements wait for the migrations. Another relay may do the same at the same time.
func EnsurePublication(ctx context.Context, conn *pgx.Conn, name string, tables []*Table) (Publication, error) {
	action := fmt.Sprintf("create or alter publication %s", name)
	for attempt := 1; ; attempt++ {
		p, err := PublicationStatus(ctx, conn, name, tables)
		if err != nil {
			return Publication{}, err
		}
		statements := p.SQL()
		if len(statements) == 0 {
			return p, nil
		}
		err = execAll(ctx, conn, statements)
		if err == nil {
			return PublicationStatus(ctx, conn, name, tables)
		}
		pgErr, ok := errors.AsType[*pgconn.PgError](err)
		switch {
		case ok && pgErr.Code == codeNoPrivilege:
			return Publication{}, &PermissionError{Action: action, RunAs: p.RunAs(), SQL: statements, Err: err}
		case !ok || !isTransientDDL(pgErr) || attempt == publicationAttempts:
			return Publication{}, fmt.Errorf("%s: %w", action, err)
		}
		if err := sleep(ctx, publicationRetryDelay); err != nil {
			return Publication{}, err
		}
	}
}

// publicationLockTimeout is shorter than the default of deadlock_timeout (1 s), so that the server never cancels a transaction
// of the application in favor of this one.
const (
	publicationLockTimeout = "300ms"
	publicationRetryDelay  = 200 * time.Millisecond
	publicationAttempts    = 50
)

func execAll(ctx context.Context, conn *pgx.Conn, statements []string) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, sql := range append([]string{"SET LOCAL lock_timeout = '" + publicationLockTimeout + "'"}, statements...) {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
}

// isTransientDDL reports whether a change of a publication failed only because of concurrent changes.
func isTransientDDL(err *pgconn.PgError) bool {
	switch err.Code {
	case codeLockNotAvailable, codeDuplicateObject, codeUniqueViolation, codeDeadlock:
		return true
	}
	return err.Code == codeInternal && strings.Contains(err.File, "heapam") // tuple concurrently updated
}

// sleep waits for d, or until ctx ends, and then returns the cause.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
