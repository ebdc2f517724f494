package integration_test

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/iam-relay/iam-relay/integration/cluster"
)

// run lets what is written for tests fail one run of the model, so that rapid knows which, and look for a shorter one.
type run struct {
	testing.TB
	run *rapid.T
}

func (t run) Context() context.Context     { return t.run.Context() }
func (t run) Cleanup(f func())             { t.run.Cleanup(f) }
func (t run) Error(a ...any)               { t.run.Error(a...) }
func (t run) Fatal(a ...any)               { t.run.Fatal(a...) }
func (t run) Fail()                        { t.run.Fail() }
func (t run) FailNow()                     { t.run.FailNow() }
func (t run) Failed() bool                 { return t.run.Failed() }
func (t run) Log(a ...any)                 { t.run.Log(a...) }
func (t run) Logf(format string, a ...any) { t.run.Logf(format, a...) }

func (t run) Errorf(format string, a ...any) {
	t.trace(format, a...)
	t.run.Errorf(format, a...)
}

func (t run) Fatalf(format string, a ...any) {
	t.trace(format, a...)
	t.run.Fatalf(format, a...)
}

// traceVariable shows every step and every failure at once, before rapid has found the shortest history that fails.
const traceVariable = "IAM_RELAY_TEST_TRACE"

func (t run) trace(format string, a ...any) {
	if os.Getenv(traceVariable) != "" {
		t.TB.Logf("%s "+format, append([]any{time.Now().Format("15:04:05.000")}, a...)...)
	}
}

// modelVariable asks for so many steps of the model's tests in all, however long they take.
const modelVariable = "IAM_RELAY_TEST_MODEL_STEPS"

// stepBudget is how many steps a test of random histories takes in all: as many as a variable says, or ordinarily fewer, and then
// only for a while.
func stepBudget(t *testing.T, variable string, ordinary int) (steps int, limited bool) {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return ordinary, true
	}
	steps, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return steps, false
}

// temporaryDatabase creates a database that is dropped when the run ends, and returns its URL.
func temporaryDatabase(t testing.TB, server *cluster.Cluster, name string) string {
	t.Helper()
	if err := server.CreateDatabase(within(t), name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.DropDatabase(ctx, name); err != nil {
			t.Error(err)
		}
	})
	return server.URL(name)
}
