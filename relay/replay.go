package relay

import (
	"context"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// replayPoll is how often replays are looked for, and how often one goes on that may not do more at once.
const replayPoll = time.Second

// replay works the replays off, step by step, until ctx ends. All of their state is in the store: whoever leads next goes on.
func (t *term) replay(ctx context.Context) error {
	table, column := t.rules.TenantName()
	names := outbox.TenantNames{Table: table.Name, Column: column}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		more, err := t.leader.AdvanceReplays(ctx, names)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if more {
			timer.Reset(0)
		} else {
			timer.Reset(replayPoll)
		}
	}
}
