package loop

import (
	"context"
	"time"
)

// Every calls step at once, then once per interval and whenever wake receives, until a step fails or ctx ends. The end of ctx is not an
// error. wake may be nil.
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

// OnClose returns a channel for the wake parameter of Every: it receives once, when closed is closed.
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
