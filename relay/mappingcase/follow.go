package mappingcase

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
)

// Follow explains the transactions of a database as they are committed, until ctx ends. It reads them through a temporary slot,
// which it drops, as it drops the publication if it has created it. The mapped rows are kept in memory. ready is called once
// transactions are seen.
func Follow(ctx context.Context, url, publication string, rules *mapping.Rules, ready func(), each func(Explanation)) (err error) {
	name := "iam_relay_explain_" + strings.ToLower(rand.Text())
	r := &run{url: url, name: name, publication: publication, rules: rules, mirror: mirror{}, delayed: map[string]string{}, explain: each}
	if publication == "" {
		r.publication = name
	}
	defer func() { err = errors.Join(err, r.dropAll(context.WithoutCancel(ctx), publication == "")) }()
	from, err := r.prepare(ctx)
	if err != nil {
		return err
	}
	ready()
	return r.read(ctx, from, func(_ *cdc.Source, messages <-chan cdc.Message) error {
		for m := range messages {
			if m.Transaction == nil {
				continue
			}
			_, err := r.transaction(m.Transaction, "")
			if err = errors.Join(err, m.Transaction.Close()); err != nil {
				return err
			}
		}
		return nil
	})
}

// dropAll drops the slot, and the publication too if it is Follow's.
func (r *run) dropAll(ctx context.Context, publication bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := cdc.Connect(ctx, r.url)
	if err != nil {
		return fmt.Errorf("drop slot %s: %w; drop it with SELECT pg_drop_replication_slot('%s'), because it retains WAL", r.name, err, r.name)
	}
	defer conn.Close(ctx)
	if err := dropSlot(ctx, conn, r.name); err != nil {
		return err
	}
	if !publication {
		return nil
	}
	if _, err := conn.Exec(ctx, "DROP PUBLICATION IF EXISTS "+pgx.Identifier{r.publication}.Sanitize()); err != nil {
		return fmt.Errorf("drop publication %s: %w", r.publication, err)
	}
	return nil
}

// dropSlot drops a slot once its walsender has released it, which it does shortly after its connection has ended.
func dropSlot(ctx context.Context, conn *pgx.Conn, name string) error {
	for {
		err := cdc.DropSlot(ctx, conn, name)
		if !errors.Is(err, cdc.ErrSlotActive) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
