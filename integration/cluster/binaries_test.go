package cluster_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/integration/cluster"
)

// program puts an executable script into dir.
func program(t *testing.T, dir, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestFindBinaries_PrefersTheVariableThenThePath(t *testing.T) {
	inPath, named, links := t.TempDir(), t.TempDir(), t.TempDir()
	for _, dir := range []string{inPath, named} {
		program(t, dir, "initdb", "true")
		program(t, dir, "postgres", "true")
	}
	if err := os.Symlink(filepath.Join(inPath, "postgres"), filepath.Join(links, "postgres")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", links)
	t.Setenv("IAM_RELAY_TEST_PG_BIN", "")
	if got, err := cluster.FindBinaries(); err != nil || got != inPath {
		t.Errorf("a link in PATH leads to %q, %v; want %s", got, err, inPath)
	}
	t.Setenv("IAM_RELAY_TEST_PG_BIN", named)
	if got, err := cluster.FindBinaries(); err != nil || got != named {
		t.Errorf("the variable leads to %q, %v; want %s", got, err, named)
	}
	t.Setenv("IAM_RELAY_TEST_PG_BIN", links)
	if _, err := cluster.FindBinaries(); err == nil || !strings.Contains(err.Error(), "IAM_RELAY_TEST_PG_BIN is "+links) {
		t.Errorf("a directory without initdb: %v", err)
	}
}

func TestFindBinaries_LooksInTheUsualPlaces(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("IAM_RELAY_TEST_PG_BIN", "")
	dir, err := cluster.FindBinaries()
	if errors.Is(err, cluster.ErrNoBinaries) {
		t.Skip("PostgreSQL is only in PATH here")
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		t.Error(err)
	}
}

func TestInstall_SaysWhatToDoWithoutApt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := cluster.Install(t.Context(), t.Output())
	if err == nil || !strings.Contains(err.Error(), "install the PostgreSQL server, version 14 or newer, manually") {
		t.Errorf("without apt-get: %v", err)
	}
}

func TestInstall_WithoutRootNeedsSudo(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("this is root, who needs no sudo")
	}
	bin := t.TempDir()
	program(t, bin, "apt-get", "false")
	t.Setenv("PATH", bin)
	err := cluster.Install(t.Context(), t.Output())
	if err == nil || !strings.Contains(err.Error(), "run `sudo apt-get install -y --no-install-recommends postgresql`") {
		t.Errorf("without sudo: %v", err)
	}
}
