package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Standby makes a hot standby that streams from this server by a physical slot of its own, and returns when it accepts
// connections. From PostgreSQL 17 on it keeps copies of the failover slots as well. Settings and HBA of the primary hold
// for it too; those given win.
//
// The server is stopped and started again meanwhile, because its data directory is copied: pg_basebackup is not everywhere.
func (c *Cluster) Standby(ctx context.Context, o Options) (_ *Cluster, err error) {
	s := &Cluster{
		Version: c.Version, Major: c.Major, binDir: c.binDir, dir: o.Dir, account: c.account, log: o.Log,
		settings: map[string]string{}, hba: append(slices.Clone(o.HBA), c.hba...),
	}
	maps.Copy(s.settings, c.settings)
	maps.Copy(s.settings, o.Settings)
	if s.log == nil {
		s.log = c.log
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("make a standby: %w", errors.Join(err, s.Close()))
		}
	}()
	if err := s.makeDirectories(); err != nil {
		return nil, err
	}
	slot, err := c.createStandbySlot(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.copyData(ctx, s); err != nil {
		return nil, err
	}
	if err := s.startOnFreePort(ctx, s.follow(c, slot)); err != nil {
		return nil, err
	}
	fmt.Fprintf(s.log, "a standby of the server on port %d accepts connections on 127.0.0.1:%d\n", c.port, s.port)
	return s, nil
}

// createStandbySlot makes the slot that retains the WAL from now on for one more standby.
func (c *Cluster) createStandbySlot(ctx context.Context) (name string, err error) {
	conn, err := c.Connect(ctx, "postgres")
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, `SELECT slot_name FROM pg_create_physical_replication_slot(
		(SELECT 'standby_' || count(*) + 1 FROM pg_replication_slots WHERE slot_type = 'physical'), true)`).Scan(&name)
	if err != nil {
		return "", fmt.Errorf("create its slot: %w", err)
	}
	return name, nil
}

// copyData copies the data directory while the server is stopped.
func (c *Cluster) copyData(ctx context.Context, to *Cluster) error {
	if err := c.Stop("fast"); err != nil {
		return err
	}
	err := c.account.copyDir(ctx, c.dataPath(), to.dataPath())
	if err := errors.Join(err, c.Restart(ctx)); err != nil {
		return err
	}
	// The slots are the primary's: as copies they would retain WAL here, and stand in the way of synchronised ones.
	slots, err := filepath.Glob(to.dataPath("pg_replslot", "*"))
	if err != nil {
		return fmt.Errorf("look for copied slots: %w", err)
	}
	for _, slot := range slots {
		if err := os.RemoveAll(slot); err != nil {
			return fmt.Errorf("remove a copied slot: %w", err)
		}
	}
	return to.account.writeFile(to.dataPath("standby.signal"), "")
}

// follow makes the settings of a standby of another server.
func (c *Cluster) follow(primary *Cluster, slot string) Options {
	settings := map[string]string{
		// The worker that synchronises slots needs a database to connect to.
		"primary_conninfo":     fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=postgres", primary.port, Superuser),
		"primary_slot_name":    slot,
		"hot_standby_feedback": "on",
		// By default a standby looks for a primary that was away only every 5 s.
		"wal_retrieve_retry_interval": "100ms",
	}
	if c.Major >= 17 {
		settings["sync_replication_slots"] = "on"
	}
	maps.Copy(settings, c.settings)
	return Options{Settings: settings, HBA: c.hba}
}

// Promote makes a standby a primary of a new timeline, and returns when it accepts writes. The old primary does not notice.
func (c *Cluster) Promote(ctx context.Context) error {
	conn, err := c.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var promoted bool
	if err := conn.QueryRow(ctx, "SELECT pg_promote()").Scan(&promoted); err != nil {
		return fmt.Errorf("promote the standby in %s: %w", c.dir, err)
	}
	if !promoted {
		return fmt.Errorf("promote the standby in %s: it is still one after a minute; see %s", c.dir, c.LogFile())
	}
	return nil
}

// CatchUp waits until the standby has replayed everything that the primary has committed by now.
func (c *Cluster) CatchUp(ctx context.Context, primary *Cluster) error {
	conn, err := primary.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var end string
	if err := conn.QueryRow(ctx, "SELECT pg_current_wal_flush_lsn()::text").Scan(&end); err != nil {
		return fmt.Errorf("read the end of the primary's log: %w", err)
	}
	return c.await(ctx, "replay "+end, "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", end)
}

// SyncSlot waits until a standby (PostgreSQL 17 and newer) has a lasting copy of a failover slot, which a promotion keeps, that is
// as far as the primary's slot is now. A slot gets one only at a moment when the standby still has all that the slot needs: if
// transactions have come since the slot's position, not before its consumer has acknowledged them and the server has logged
// its running transactions once more. The standby's log says so.
// https://www.postgresql.org/docs/current/logicaldecoding-explanation.html#LOGICALDECODING-REPLICATION-SLOTS-SYNCHRONIZATION
func (c *Cluster) SyncSlot(ctx context.Context, primary *Cluster, slot string) error {
	conn, err := primary.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var confirmed string
	if err := conn.QueryRow(ctx, "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1", slot).Scan(&confirmed); err != nil {
		return fmt.Errorf("read the state of slot %s: %w", slot, err)
	}
	// The worker naps for up to 30 s; a reload of its configuration wakes it.
	return c.await(ctx, "synchronise slot "+slot, `SELECT EXISTS (SELECT FROM pg_replication_slots
		WHERE slot_name = $1 AND synced AND NOT temporary AND invalidation_reason IS NULL AND confirmed_flush_lsn >= $2::pg_lsn)
		OR (SELECT false FROM pg_reload_conf(), pg_sleep(0.05))`, slot, confirmed)
}

// await asks a question until the answer is yes.
func (c *Cluster) await(ctx context.Context, what, question string, args ...any) error {
	conn, err := c.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for {
		var yes bool
		if err := conn.QueryRow(ctx, question, args...).Scan(&yes); err != nil {
			return fmt.Errorf("wait for the server in %s to %s: %w", c.dir, what, err)
		}
		if yes {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("wait for the server in %s to %s: %w", c.dir, what, err)
		}
	}
}
