package relay

import (
	"context"
	"time"

	"github.com/iam-relay/iam-relay/relay/loop"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// replayPoll is how often replays are looked for, and how often one goes on that may not do more at once.
const replayPoll = time.Second

// replay works the replays off, step by step, until ctx ends. All of their state is in the store: whoever leads next goes on.
func (t *leadership) replay(ctx context.Context) error {
	table, column := t.rules.TenantNameColumn()
	names := outbox.TenantNames{Table: table.Name, Column: column}
	return loop.Every(ctx, replayPoll, nil, func(ctx context.Context) error {
		for more := true; more; {
			var err error
			if more, err = t.leader.AdvanceReplays(ctx, names); err != nil {
				return err
			}
		}
		return nil
	})
}
