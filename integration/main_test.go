// Package integration_test runs the relay as its users do, the real binary, against real PostgreSQL servers and real HTTP
// receivers, and does to each of them what happens to such things.
package integration_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
	"github.com/iam-relay/iam-relay/relay/command"
)

// binary is the relay, built once.
var binary string

// raceDetector says whether the relay is built with the race detector: where the tests are, and where the variable is set.
var raceDetector = raceBuild || os.Getenv("IAM_RELAY_TEST_RACE") != ""

// program is never called. It is linked in, so that go test knows the code that a cached result depends on.
var program = command.Main

func TestMain(m *testing.M) {
	runtime.KeepAlive(program)
	dir, err := os.MkdirTemp("", "iam-relay-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := 1
	if err := build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = clustertest.Run(m)
	}
	if path := os.Getenv(reportVariable); path != "" {
		if err := writeReport(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func build(dir string) error {
	binary = filepath.Join(dir, "iam-relay")
	arguments := []string{"build", "-o", binary}
	if raceDetector {
		arguments = append(arguments, "-race")
	}
	output, err := exec.Command("go", append(arguments, "github.com/iam-relay/iam-relay")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the relay: %w\n%s", err, output)
	}
	return nil
}
