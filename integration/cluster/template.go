package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Template is a data directory that initdb has made. Copying it takes a tenth of the time that initdb takes.
type Template struct {
	c *Cluster // never started
}

// NewTemplate runs initdb. An empty binDir means FindBinaries.
func NewTemplate(ctx context.Context, binDir string) (_ *Template, err error) {
	c, err := newCluster(ctx, Options{BinDir: binDir})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(c.makeDirectories(), c.initialise(ctx)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &Template{c}, nil
}

// Close removes the template. Clusters that were made of it stay.
func (t *Template) Close() error { return t.c.Close() }

// copyTo makes a cluster's data directory, with a system identifier of its own.
func (t *Template) copyTo(ctx context.Context, c *Cluster) error {
	if t.c.Version != c.Version {
		return fmt.Errorf("the template is of PostgreSQL %s, and the cluster of %s", t.c.Version, c.Version)
	}
	if err := c.account.copyDir(ctx, t.c.dataPath(), c.dataPath()); err != nil {
		return err
	}
	return setSystemIdentifier(c.dataPath(), rand.Uint64()>>1)
}

// copyDir copies a directory as the server's own user, who owns what it copies. to does not exist yet.
func (a *account) copyDir(ctx context.Context, from, to string) error {
	cmd := exec.CommandContext(ctx, "cp", "-a", from, to)
	cmd.Dir, cmd.SysProcAttr = filepath.Dir(to), a.attributes()
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("copy the data directory: %w: %s", err, strings.TrimSpace(string(output)))
	}
	return nil
}

// setSystemIdentifier changes the identity of a cluster that was shut down in order. The identifier is at the beginning of
// pg_control, which ends with a checksum, and in the header of each WAL segment.
// https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/catalog/pg_control.h (ControlFileData)
// https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/access/xlog_internal.h (XLogLongPageHeaderData)
func setSystemIdentifier(data string, identifier uint64) error {
	const inSegment = 24
	control := filepath.Join(data, "global", "pg_control")
	file, err := os.ReadFile(control)
	if err != nil {
		return fmt.Errorf("read pg_control: %w", err)
	}
	at := checksumAt(file)
	if at < 0 {
		return fmt.Errorf("change the system identifier: %s has no checksum that fits", control)
	}
	binary.NativeEndian.PutUint64(file, identifier)
	binary.NativeEndian.PutUint32(file[at:], crc32.Checksum(file[:at], castagnoli))
	segments, err := filepath.Glob(filepath.Join(data, "pg_wal", strings.Repeat("[0-9A-F]", 24)))
	if err != nil {
		return err
	}
	err = writeAt(control, 0, file)
	for _, segment := range segments {
		err = errors.Join(err, writeAt(segment, inSegment, file[:8]))
	}
	return err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksumAt finds the checksum in pg_control: it follows the fields, whose number depends on the version.
func checksumAt(control []byte) int {
	sum := make([]byte, 4)
	for at := 64; at+4 <= min(len(control), 512); at += 4 {
		binary.NativeEndian.PutUint32(sum, crc32.Checksum(control[:at], castagnoli))
		if bytes.Equal(control[at:at+4], sum) {
			return at
		}
	}
	return -1
}

func writeAt(path string, offset int64, bytes []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(bytes, offset)
	return errors.Join(err, file.Close())
}
