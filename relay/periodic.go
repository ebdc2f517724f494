package relay

import (
	"context"
	"time"
)

// every calls step at once, then once per interval and whenever wake has something (nil never has), until ctx ends, which is
// not an error, or a step fails.
func every(ctx context.Context, interval time.Duration, wake <-chan struct{}, step func(context.Context) error) error {
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

// once makes of a channel that is closed one that has something a single time.
func once(ctx context.Context, closed <-chan struct{}) <-chan struct{} {
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
