package loop

import (
	"context"
	"time"
)

// Every calls step at once, then once per interval and whenever wake receives (a nil wake never does), until ctx ends, which is
// not an error, or a step fails.
func Every(ctx context.Context, interval time.Duration, wake <-chan struct{}, step func(context.Context) error) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := step(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-tick.C:
		}
	}
}

// OnClose returns a channel that receives once, when closed is closed.
func OnClose(ctx context.Context, closed <-chan struct{}) <-chan struct{} {
	wake := make(chan struct{}, 1)
	go func() {
		select {
		case <-closed:
			wake <- struct{}{}
		case <-ctx.Done():
		}
	}()
	return wake
}
