package loop

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestEvery_StepsAtOnceAndWhenWokenUntilTheContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	wake := make(chan struct{}, 1)
	steps := 0
	err := Every(ctx, time.Hour, wake, func(context.Context) error {
		if steps++; steps == 3 {
			cancel()
			return ctx.Err() // a step's error after the end of ctx is not returned
		}
		wake <- struct{}{}
		return nil
	})
	if err != nil || steps != 3 {
		t.Errorf("%d steps, error %v", steps, err)
	}
}

func TestEvery_EndsWithAStepsError(t *testing.T) {
	t.Parallel()
	failure := errors.New("no")
	steps := 0
	err := Every(t.Context(), time.Millisecond, nil, func(context.Context) error {
		if steps++; steps == 2 {
			return failure
		}
		return nil
	})
	if !errors.Is(err, failure) || steps != 2 {
		t.Errorf("%d steps, error %v", steps, err)
	}
}
