package cdc

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Server describes the server that the relay reads from.
type Server struct {
	Version    int // server_version_num, such as 150018
	SystemID   string
	Timeline   int
	Database   string
	WALLevel   string // wal_level: minimal, replica or logical
	Current    LSN    // current end of the WAL; on a standby, the last replayed position
	InRecovery bool   // the server is a standby
}

const inspectServer = `
SELECT current_setting('server_version_num')::int, current_setting('wal_level'), current_database(), in_recovery,
       (SELECT system_identifier::text FROM pg_control_system()),
       CASE WHEN in_recovery THEN (SELECT timeline_id FROM pg_control_checkpoint())
            -- The control file shows a promotion only after the next checkpoint.
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END,
       (CASE WHEN in_recovery THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text
FROM pg_is_in_recovery() AS in_recovery`

// InspectServer reads the properties of the server.
func InspectServer(ctx context.Context, conn *pgx.Conn) (Server, error) {
	var s Server
	var current string
	err := conn.QueryRow(ctx, inspectServer).Scan(&s.Version, &s.WALLevel, &s.Database, &s.InRecovery, &s.SystemID, &s.Timeline, &current)
	if err != nil {
		return Server{}, fmt.Errorf("inspect the server: %w", err)
	}
	if s.Current, err = ParseLSN(current); err != nil {
		return Server{}, fmt.Errorf("inspect the server: %w", err)
	}
	return s, nil
}
