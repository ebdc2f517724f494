// Package cluster runs a private PostgreSQL server: its own data directory, its own port, wal_level=logical, and nobody
// else's data in reach. The demo and the integration tests run against it.
//
// The server is a direct child of the process, so it can be killed as a crash would kill it, and on Linux it ends with
// the process whatever ends that.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/iam-relay/iam-relay/integration/subprocess"
)

// Superuser is the role that owns everything in the cluster. It needs no password.
const Superuser = "postgres"

// Options are all optional.
type Options struct {
	// Dir holds the data, the log and the socket. A directory that holds a cluster already is used as it is. Empty means a
	// new temporary directory, which Close removes.
	Dir string
	// Settings are put into postgresql.conf after the package's own, so they win.
	Settings map[string]string
	// HBA are records for pg_hba.conf, before the ones that trust every local connection.
	HBA []string
	// BinDir holds the initdb and postgres to use. Empty means FindBinaries.
	BinDir string
	// Template is copied instead of running initdb.
	Template *Template
	// Log gets a line for each thing that is done. The server's own log is the file LogFile.
	Log io.Writer
}

// Cluster is one PostgreSQL server. Its methods may be called from several goroutines, but who stops and who restarts it
// must agree among themselves.
type Cluster struct {
	// Version is as PostgreSQL reports it, such as "15.18"; Major is its first number.
	Version string
	Major   int

	binDir    string
	dir       string
	socketDir string
	temporary []*tempDir // removed by Close
	port      int
	account   *account
	log       io.Writer
	settings  map[string]string // as in Options
	hba       []string

	mu     sync.Mutex
	server *subprocess.Process // nil before the first start
}

// Start makes a cluster, starts its server and returns when that accepts connections. ctx bounds only the start.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	c, err := newCluster(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if err := c.makeDirectories(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(c.dataPath("PG_VERSION")); errors.Is(err, os.ErrNotExist) {
		makeData := c.initialise
		if o.Template != nil {
			makeData = func(ctx context.Context) error { return o.Template.copyTo(ctx, c) }
		}
		if err := makeData(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.startOnFreePort(ctx, o); err != nil {
		return nil, err
	}
	fmt.Fprintf(c.log, "PostgreSQL %s accepts connections on 127.0.0.1:%d\n", c.Version, c.port)
	return c, nil
}

// newCluster finds out with which programs and as whom the server runs, and touches nothing.
func newCluster(ctx context.Context, o Options) (_ *Cluster, err error) {
	c := &Cluster{binDir: o.BinDir, dir: o.Dir, log: o.Log, settings: o.Settings, hba: o.HBA}
	if c.log == nil {
		c.log = io.Discard
	}
	if c.binDir == "" {
		if c.binDir, err = FindBinaries(); err != nil {
			return nil, err
		}
	}
	if c.Version, c.Major, err = binaryVersion(ctx, c.binDir); err != nil {
		return nil, err
	}
	if c.account, err = serverAccount(); err != nil {
		return nil, err
	}
	return c, nil
}

// startOnFreePort tries other ports when the one that was free a moment ago has been taken by another process.
func (c *Cluster) startOnFreePort(ctx context.Context, o Options) error {
	const tries = 10
	var err error
	for range tries {
		if c.port, err = subprocess.FreePort(); err != nil {
			return err
		}
		if err = c.configure(o); err != nil {
			return err
		}
		if err = c.Restart(ctx); !errors.Is(err, errPortTaken) {
			return err
		}
	}
	return err
}

func (c *Cluster) makeDirectories() error {
	if c.dir == "" {
		dir, err := c.account.tempDir()
		if err != nil {
			return err
		}
		c.dir, c.temporary = dir.path, append(c.temporary, dir)
	}
	dir, err := filepath.Abs(c.dir)
	if err != nil {
		return fmt.Errorf("resolve directory %s: %w", c.dir, err)
	}
	c.dir, c.socketDir = dir, dir
	if err := c.account.makeDir(c.dir); err != nil {
		return err
	}
	// The address of a Unix socket, ".s.PGSQL.12345" included, must fit into 104 (macOS) or 108 (Linux) bytes.
	if len(c.dir) > 80 {
		dir, err := c.account.tempDir()
		if err != nil {
			return err
		}
		c.socketDir, c.temporary = dir.path, append(c.temporary, dir)
	}
	return nil
}

func (c *Cluster) initialise(ctx context.Context) error {
	fmt.Fprintf(c.log, "making a PostgreSQL %s cluster in %s\n", c.Version, c.dir)
	// --no-sync spares the flush of a few thousand template files; a crash of the machine ends the cluster anyway.
	cmd := exec.CommandContext(ctx, filepath.Join(c.binDir, "initdb"),
		"--pgdata", c.dataPath(), "--username", Superuser, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	cmd.Dir, cmd.Env, cmd.SysProcAttr = c.dir, c.environment(), c.account.attributes()
	output, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil: // the program was killed, which says less
		return fmt.Errorf("make a cluster in %s: %w", c.dir, context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("make a cluster in %s: initdb: %w\n%s", c.dir, err, strings.TrimSpace(string(output)))
	}
	return nil
}

// configure writes the whole of postgresql.conf and pg_hba.conf; what tests change with ALTER SYSTEM stays in
// postgresql.auto.conf.
func (c *Cluster) configure(o Options) error {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    fmt.Sprint(c.port),
		"unix_socket_directories": c.socketDir,
		"wal_level":               "logical",
		"max_replication_slots":   "20",
		"max_wal_senders":         "20",
		"max_connections":         "100",
		"logging_collector":       "off",
		"log_line_prefix":         "%m [%p] %a ",
		"log_timezone":            "UTC",
		"timezone":                "UTC",
	}
	maps.Copy(settings, o.Settings)
	var conf strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&conf, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	if err := c.account.writeFile(c.dataPath("postgresql.conf"), conf.String()); err != nil {
		return err
	}
	hba := append(slices.Clone(o.HBA),
		"local all all trust", "host all all 127.0.0.1/32 trust",
		"local replication all trust", "host replication all 127.0.0.1/32 trust", "")
	return c.account.writeFile(c.dataPath("pg_hba.conf"), strings.Join(hba, "\n"))
}

// environment is free of the caller's PG* variables and of its locale.
func (c *Cluster) environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, "LC_ALL=C"}
}

func (c *Cluster) dataPath(name ...string) string {
	return filepath.Join(append([]string{c.dir, "data"}, name...)...)
}

// Close stops the server at once and removes the directories that Start made. It may be called twice.
func (c *Cluster) Close() error {
	err := c.Stop("immediate")
	for _, dir := range c.temporary {
		err = errors.Join(err, dir.remove())
	}
	return err
}
