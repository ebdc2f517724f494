package command

import (
	"context"
	"fmt"

	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// session is a command's work on the outbox of its configuration.
type session struct {
	*environment
	path  string // of the configuration file
	cfg   *config.Config
	store *outbox.Store
}

// withOutbox runs work on the outbox that the configuration names, which must exist.
func (env *environment) withOutbox(ctx context.Context, work func(context.Context, *session) error) error {
	path, err := env.configPath()
	if err != nil {
		return err
	}
	cfg, err := config.Load(path, env.environ)
	if err != nil {
		return err
	}
	store, err := openOutbox(ctx, cfg)
	if err != nil {
		return err
	}
	defer store.Close()
	return work(ctx, &session{env, path, cfg, store})
}

// openOutbox opens an outbox whose schema has the version of this program.
func openOutbox(ctx context.Context, cfg *config.Config) (*outbox.Store, error) {
	store, err := outbox.Open(string(cfg.OutboxURL()), cfg.Outbox.Schema, cfg.Outbox.EncryptionKeys())
	if err != nil {
		return nil, err
	}
	if err := checkMigration(ctx, store); err != nil {
		store.Close()
		return nil, err
	}
	return store, nil
}

func checkMigration(ctx context.Context, store *outbox.Store) error {
	setting, err := store.Setting(ctx)
	switch {
	case err != nil:
		return err
	case setting.Migration == 0:
		return fmt.Errorf("database %s has no outbox in schema %s that role %s can read; create it with iam-relay run or iam-relay setup, and see iam-relay check",
			setting.Database, store.Schema(), setting.Role)
	case setting.Migration < setting.Known:
		return fmt.Errorf("schema %s was created by an older iam-relay (migration %d, this version has %d); upgrade it with iam-relay run or iam-relay setup",
			store.Schema(), setting.Migration, setting.Known)
	case setting.Migration > setting.Known:
		return fmt.Errorf("schema %s was created by a newer iam-relay (migration %d, this version has %d); use that version",
			store.Schema(), setting.Migration, setting.Known)
	}
	return nil
}
