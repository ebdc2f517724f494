package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ErrNoBinaries says that the machine has no PostgreSQL server; Install may bring one.
var ErrNoBinaries = errors.New("no PostgreSQL server found: install one (Debian and Ubuntu: apt-get install postgresql), or name the directory of its initdb and postgres in IAM_RELAY_TEST_PG_BIN")

// places are where packagers put versions of PostgreSQL that are not in PATH.
var places = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/usr/libexec/postgresql*",
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"/usr/local/pgsql/bin",
}

// FindBinaries returns the directory that holds initdb and postgres: IAM_RELAY_TEST_PG_BIN, else the PostgreSQL in PATH,
// else the newest one in the usual places. Without any, the error is ErrNoBinaries.
func FindBinaries() (string, error) {
	if dir := os.Getenv("IAM_RELAY_TEST_PG_BIN"); dir != "" {
		if !holdsServer(dir) {
			return "", fmt.Errorf("IAM_RELAY_TEST_PG_BIN is %s, which does not hold both initdb and postgres", dir)
		}
		return dir, nil
	}
	for _, name := range []string{"postgres", "initdb"} {
		// The link is resolved because a link to postgres alone may be in PATH, and because both programs look for the
		// rest of the installation beside themselves.
		if path, err := exec.LookPath(name); err == nil {
			if path, err = filepath.EvalSymlinks(path); err == nil && holdsServer(filepath.Dir(path)) {
				return filepath.Dir(path), nil
			}
		}
	}
	if output, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		if dir := strings.TrimSpace(string(output)); holdsServer(dir) {
			return dir, nil
		}
	}
	var found []string
	for _, place := range places {
		dirs, err := filepath.Glob(place)
		if err != nil {
			return "", fmt.Errorf("look for PostgreSQL in %s: %w", place, err)
		}
		found = append(found, slices.DeleteFunc(dirs, func(dir string) bool { return !holdsServer(dir) })...)
	}
	if len(found) == 0 {
		return "", ErrNoBinaries
	}
	return slices.MaxFunc(found, func(a, b string) int { return pathVersion(a) - pathVersion(b) }), nil
}

func holdsServer(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.IsDir() || info.Mode().Perm()&0o111 == 0 {
			return false
		}
	}
	return true
}

var number = regexp.MustCompile(`[0-9]+`)

// pathVersion is the major version in a path such as /usr/lib/postgresql/15/bin, or 0.
func pathVersion(path string) int {
	version, _ := strconv.Atoi(number.FindString(path)) // No number is version 0.
	return version
}

var versionText = regexp.MustCompile(`PostgreSQL\) (([0-9]+)\S*)`)

func binaryVersion(ctx context.Context, binDir string) (version string, major int, err error) {
	path := filepath.Join(binDir, "postgres")
	output, err := exec.CommandContext(ctx, path, "--version").Output()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return "", 0, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	match := versionText.FindSubmatch(output)
	if match == nil {
		return "", 0, fmt.Errorf("ask %s for its version: it says %q", path, output)
	}
	if major, err = strconv.Atoi(string(match[2])); err != nil {
		return "", 0, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	return string(match[1]), major, nil
}
