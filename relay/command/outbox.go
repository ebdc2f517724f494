package command

import (
	"context"
	"fmt"

	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// openOutbox opens an outbox whose tables are those that this program knows.
func openOutbox(ctx context.Context, cfg *config.Config) (*outbox.Store, error) {
	store, err := outbox.Open(string(cfg.OutboxURL()), cfg.Outbox.Schema, cfg.Outbox.SealingKeys())
	if err != nil {
		return nil, err
	}
	if err := migrated(ctx, store); err != nil {
		store.Close()
		return nil, err
	}
	return store, nil
}

func migrated(ctx context.Context, store *outbox.Store) error {
	setting, err := store.Setting(ctx)
	switch {
	case err != nil:
		return err
	case setting.Migration == 0:
		return fmt.Errorf("database %s has no outbox in schema %s that role %s can read; run or setup makes it, check tells what is missing",
			setting.Database, store.Schema(), setting.Role)
	case setting.Migration < setting.Known:
		return fmt.Errorf("schema %s is of an older iam-relay (migration %d, this one knows %d); run or setup brings it up to date",
			store.Schema(), setting.Migration, setting.Known)
	case setting.Migration > setting.Known:
		return fmt.Errorf("schema %s is of a newer iam-relay (migration %d, this one knows %d); run that version",
			store.Schema(), setting.Migration, setting.Known)
	}
	return nil
}
