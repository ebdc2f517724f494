package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
)

const savedData = "saved"

// Save keeps a copy of the data directory, as a snapshot of the disk does.
func (c *Cluster) Save(ctx context.Context) error {
	if err := c.Stop("fast"); err != nil {
		return err
	}
	err := c.account.copyDir(ctx, c.dataPath(), c.dataPath()+savedData)
	return errors.Join(err, c.Restart(ctx))
}

// PutBack replaces the data directory by what Save has kept: the server has the same identity and timeline, and has forgotten what came
// after.
func (c *Cluster) PutBack(ctx context.Context) error {
	if err := c.Stop("immediate"); err != nil {
		return err
	}
	if err := os.RemoveAll(c.dataPath()); err != nil {
		return fmt.Errorf("remove the data directory: %w", err)
	}
	if err := os.Rename(c.dataPath()+savedData, c.dataPath()); err != nil {
		return fmt.Errorf("put the data directory back: %w", err)
	}
	return c.Restart(ctx)
}
